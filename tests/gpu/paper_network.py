"""MOON as published, on images of CelebA's size: what attacks cost, beside the passes that they make."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import harness
from harness.goals import FlipAttribute
from harness.model import Model, exact
from harness.threat import Linf
from harness.training import Task
from harness_attributes import PAPER, moon
from tests.gpu.report import Row

ATTRIBUTES = tuple(f"attribute {number}" for number in range(40))


@dataclass(frozen=True)
class Sizes:
    """How large the network, the images and the attacks are."""

    size: tuple[int, int] = (218, 178)
    width: int = PAPER["width"]  # type: ignore[assignment]
    cases: int = 32
    steps: int = 40
    """Of PGD, and of each ascent of the eyeglasses."""
    iterations: int = 60
    """Of each search of CW-L2."""


def attacks(sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Return the attacks with their parameters; none ends early, so that all make the passes they may."""
    return {
        "pgd": {"threat": Linf(8 / 255), "steps": sizes.steps, "early_stop": False},
        "cw-l2": {
            "searches": 2,
            "iterations": sizes.iterations,
            "abort_early": False,
            "rescues": 0,
            "polish": 4,
        },
        "ffa": {},
        "eyeglasses": {"iterations": sizes.steps, "restarts": 1, "early_stop": False},
    }


def network(sizes: Sizes, device: torch.device) -> Model:
    """Return MOON's published architecture with random weights: its passes cost the same as trained ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        design = {name: PAPER[name] for name in ("architecture", "depth", "dropout")}
        module = moon.build(Task((3, *sizes.size), ATTRIBUTES), **design, width=sizes.width)
    return harness.wrap_model(module.to(device).eval().requires_grad_(False), "attributes")


def images(sizes: Sizes) -> Tensor:
    """Return noise (N, 3, H, W) on the 8-bit grid."""
    draws = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (sizes.cases, 3, *sizes.size), generator=draws).float() / 255


def bare_seconds(model: Model, x: Tensor, rounds: int = 3) -> tuple[float, float]:
    """Return the seconds of a forward pass, and of a forward and a backward pass, of the batch."""

    def forward() -> None:
        with torch.no_grad():
            model.module(x)

    def both() -> None:
        start = x.detach().requires_grad_()
        torch.autograd.grad(model.module(start).sum(), start)

    with exact(x.device):
        return _timed(forward, x.device, rounds), _timed(both, x.device, rounds)


def measured(name: str, given: dict[str, Any], model: Model, x: Tensor, bare: tuple[float, float]) -> Row:
    """Run an attack, and say what share of its time its passes alone would take."""
    columns = torch.arange(len(x)) % len(ATTRIBUTES)
    _forget(x.device)
    outcome = harness.attack(name, model, x, goal=FlipAttribute(columns), **given)
    forwards, backwards = outcome.forwards.float().mean().item(), outcome.backwards.float().mean().item()
    # A pass of a part of the batch is counted as that part of the whole batch's time.
    passes = (forwards - backwards) * bare[0] + backwards * bare[1]
    faults = [text for text in (*outcome.faults, *outcome.errors) if text]
    figures = {
        "success": f"{int(outcome.success.sum())} of {len(x)}",
        "attack_seconds": outcome.seconds,
        "ms_per_case": outcome.seconds / len(x) * 1000,
        "forwards": forwards,
        "backwards": backwards,
        "share_of_bare_passes": passes / outcome.seconds,
        "memory_mb": _memory(x.device),
    }
    if faults:
        return Row("moon paper", name, "failed", f"not valid: {faults[0]} ({len(faults)} cases)", figures)
    return Row("moon paper", name, "measured", "", figures)


def passes(sizes: Sizes, device: torch.device) -> tuple[Model, Tensor, tuple[float, float], Row]:
    """Return the network, the images, the seconds of its bare passes, and the row that tells them."""
    model, x = network(sizes, device), images(sizes).to(device)
    _forget(device)
    bare = bare_seconds(model, x)
    figures = {
        "images": len(x),
        "size": f"{sizes.size[1]}x{sizes.size[0]}",
        "parameters": sum(parameter.numel() for parameter in model.module.parameters()),
        "forward_ms": bare[0] * 1000,
        "forward_and_backward_ms": bare[1] * 1000,
        "memory_mb": _memory(device),
    }
    return model, x, bare, Row("moon paper", "bare passes", "measured", "", figures)


def _timed(work: Callable[[], None], device: torch.device, rounds: int) -> float:
    """Return the least of some times, after one that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _memory(device: torch.device) -> float | None:
    """Return the most megabytes that were in use at once; unknown on a CPU."""
    return round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else None
