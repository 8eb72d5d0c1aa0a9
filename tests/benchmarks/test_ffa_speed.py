"""FFA on all attributes of the quick MOON, against a plain loop and against the bare passes that it makes.

The bare passes are the limit: see docs/speed.md.

pytest tests/benchmarks/test_ffa_speed.py --benchmark-enable
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import FlipAttribute
from harness.judge.trial import attempt
from harness.model import Model
from harness.specs import Compute
from harness.threat import Minimal
from harness.training import Context, Task
from harness_attacks.ffa import ffa
from harness_attributes import moon
from harness_faces import synthetic

BAR = 1.1  # times the bare passes
COMPUTE: tuple[Compute, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Sizes:
    """How much MOON learns, and how much is attacked."""

    faces: int
    epochs: int
    images: int
    attributes: int
    batch: int  # a multiple of the images
    plain_cases: int  # of the plain loop


FULL = Sizes(faces=1000, epochs=3, images=16, attributes=40, batch=64, plain_cases=40)
TINY = Sizes(faces=40, epochs=1, images=1, attributes=2, batch=2, plain_cases=2)


@pytest.fixture(scope="module")
def model(sizes: Sizes) -> Model:
    """MOON's quick preset, trained until it is right about most attributes: ten seconds."""
    faces = synthetic.load(size=(88, 72), count=sizes.faces)
    torch.manual_seed(0)
    module = moon.build(Task.of(faces))
    context = Context(0, torch.device("cpu"), lambda share, word: None, lambda identity, make: make())
    moon.train(module, faces, context, recipe=replace(moon.QUICK, epochs=sizes.epochs))
    return harness.wrap_model(module.eval().requires_grad_(False), "attributes")


@pytest.fixture(scope="module")
def cases(model: Model, sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Images, attributes and truths (N, …) attribute by attribute, as a suite orders them."""
    faces = synthetic.load(size=(88, 72), count=sizes.faces)
    rows = faces.rows("test")[: sizes.images]
    assert faces.attributes is not None
    columns = torch.arange(len(model.names))[: sizes.attributes].repeat_interleave(sizes.images)
    x = torch.from_numpy(faces.images(rows)).float() / 255
    return x, columns, torch.from_numpy(faces.attributes[rows]).T[: sizes.attributes].reshape(-1)


@pytest.fixture(scope="module")
def seen() -> dict[str, float]:
    """Milliseconds a case, and passes a case."""
    return {}


def plain_case(module: nn.Module, x: Tensor, column: int) -> Tensor | None:
    """FFA by line search on one image (3, H, W): the published steps, and nothing beside them."""

    def score(image: Tensor) -> float:
        with torch.no_grad():
            return module(image[None])[0, column].item()

    start = x.clone().requires_grad_()
    f = module(start[None])[0, column]
    (slope,) = torch.autograd.grad(f.square() / 2, start)
    if not slope.any():
        return None
    direction = -slope / slope.abs().max()
    before = f.item() > 0

    def at(eps: float) -> Tensor:
        return ((x + eps / 255 * direction).clamp(0, 1) * 255).round() / 255

    low, high, step = 0.0, 1.0, 1.0
    for _ in range(20):
        if (score(at(high)) > 0) != before:
            break
        step *= 2
        low, high = high, high + step
    else:
        return None
    for _ in range(24):
        if (at(high) - at(low)).abs().sum() * 255 < 1.5:
            break
        middle = (low + high) / 2
        low, high = (low, middle) if (score(at(middle)) > 0) != before else (middle, high)
    return at(high)


@pytest.mark.benchmark(group="FFA on MOON")
def test_plain_loop(timed: Any, report: Any, model: Model, cases: Any, seen: Any, sizes: Sizes) -> None:
    x, columns, _ = cases
    sample = np.random.default_rng(0).choice(len(columns), sizes.plain_cases, replace=False).tolist()

    def work() -> list[Tensor | None]:
        return [plain_case(model.module, x[case % sizes.images], int(columns[case])) for case in sample]

    found, seconds = timed(work, rounds=3, warmup_rounds=1)
    seen["plain"] = median(seconds) / len(sample) * 1e3
    flipped = sum(image is not None for image in found) / len(sample)
    report("FFA, plain loop", seen["plain"], f"ms a case, {flipped:.0%} flip")


@pytest.mark.benchmark(group="FFA on MOON")
@pytest.mark.parametrize("compute", COMPUTE)
def test_ours(
    timed: Any, report: Any, model: Model, cases: Any, seen: Any, sizes: Sizes, compute: Compute
) -> None:
    x, columns, present = cases
    batches = torch.arange(len(columns)).split(sizes.batch)

    images = {True: 0, False: 0}  # that pass forward, in reduced precision and in float32

    def count(module: nn.Module, given: tuple[Tensor]) -> None:
        images[torch.is_autocast_enabled("cpu")] += len(given[0])

    def work() -> list[Tensor]:
        totals = []
        clean = model.scores(x)  # as in a suite: once for all attributes
        for rows in batches:
            trial = attempt(
                model,
                ffa,
                x[rows % sizes.images],
                FlipAttribute(columns[rows], present[rows]),
                Minimal("linf"),
                seed=0,
                keys=[str(row) for row in rows.tolist()],
                parameters={},
                compute=compute,
                clean=clean[rows % sizes.images],
            )
            passes = trial.forwards.sum(), trial.backwards.sum(), trial.verdict.success.sum()
            totals.append(torch.stack(passes))
        return totals

    counting = model.module.register_forward_pre_hook(count)
    work()
    counting.remove()
    seen |= {f"{compute} coarse": images[True], f"{compute} exact": images[False]}
    totals, seconds = timed(work)
    forwards, backwards, flipped = (torch.stack(totals).sum(0) / len(columns)).tolist()
    seen |= {compute: median(seconds) / len(columns) * 1e3}
    seen |= {f"{compute} forwards": forwards, f"{compute} backwards": backwards}
    report(f"FFA in {compute}", seen[compute], f"ms a case, {flipped:.0%} flip")
    report(f"FFA in {compute}, forward passes", forwards, "a case")
    report(f"FFA in {compute}, backward passes", backwards, "a case")


def test_memory_does_not_grow_with_the_number_of_cases(
    report: Any, model: Model, cases: Any, sizes: Sizes
) -> None:
    x, columns, present = cases
    rows = torch.arange(sizes.batch)
    peaks = []  # MiB
    for _ in range(6):
        goal = FlipAttribute(columns[rows], present[rows])
        keys = [str(row) for row in rows.tolist()]
        attempt(
            model,
            ffa,
            x[rows % sizes.images],
            goal,
            Minimal("linf"),
            seed=0,
            keys=keys,
            parameters={"max_steps": 6},
        )
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    # One image's activations are 2 MiB: a graph or a copy that is kept would add 100 MiB a batch.
    report("FFA, memory that three equal batches add", peaks[-1] - peaks[2], "MiB", at_most=20)


@pytest.mark.benchmark(group="FFA on MOON")
@pytest.mark.parametrize("compute", COMPUTE)
def test_little_is_done_beside_the_passes(
    timed: Any, report: Any, model: Model, cases: Any, seen: Any, sizes: Sizes, compute: Compute
) -> None:
    """The same passes, those of the clean answers and of the judge among them, in full batches."""
    if compute not in seen:
        pytest.skip("needs the counts of test_ours")
    x, columns, _ = cases
    module, batch = model.module, x.repeat(sizes.batch // sizes.images, 1, 1, 1)
    slopes = round(seen[f"{compute} backwards"] * len(columns) / sizes.batch)
    exact = round(seen[f"{compute} exact"] / sizes.batch) - slopes
    coarse = round(seen[f"{compute} coarse"] / sizes.batch)

    def work() -> None:
        for _ in range(slopes):
            start = batch.clone().requires_grad_()
            torch.autograd.grad(module(start)[:, 0].square().sum(), start)
        with torch.no_grad():
            for _ in range(exact):
                module(batch)
            with torch.autocast("cpu", torch.bfloat16):
                for _ in range(coarse):
                    module(batch)

    _, seconds = timed(work)
    bare = median(seconds) / len(columns) * 1e3
    shares = f"ms a case: {exact} batches, {coarse} in bfloat16, {slopes} gradients"
    report(f"FFA in {compute}, bare passes", bare, shares)
    report(f"FFA in {compute} / its bare passes", seen[compute] / bare, "times the time", at_most=BAR)


@pytest.mark.parametrize("compute", COMPUTE)
def test_the_plain_loop_takes_longer(report: Any, seen: Any, compute: Compute) -> None:
    if "plain" not in seen or compute not in seen:
        pytest.skip("needs the times of test_plain_loop and test_ours")
    report(f"FFA in {compute} / the plain loop", seen["plain"] / seen[compute], "times as fast", at_least=2)
