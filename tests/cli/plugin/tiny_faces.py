"""A plugin of small things: random images with visible attributes, a linear model, and simple attacks."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import harness
from harness.training import Task

NAMES = ("Bright", "Red")
SHAPE = (3, 24, 20)


def drawn(*, count: int = 48, seed: int = 0, size: tuple[int, int] = SHAPE[1:]) -> harness.Dataset:
    """Noise; the upper half is lighter where an image is Bright, the lower half redder where it is Red."""
    shape, half = (3, *size), size[0] // 2
    generator = np.random.default_rng(seed)
    present = generator.random((count, len(NAMES))) < 0.5
    noise = generator.integers(90, 130, (count, *shape))
    noise[:, :, :half] += np.where(present[:, 0], 20, -20)[:, None, None, None]
    noise[:, 0, half:] += np.where(present[:, 1], 20, -20)[:, None, None]
    images = noise.astype(np.uint8)
    return harness.Dataset(
        name="tiny",
        ids=[f"{number:04d}.png" for number in range(count)],
        shape=shape,
        read=lambda rows: images[rows],
        fingerprint=f"tiny {count} {seed} {shape}",
        attribute_names=NAMES,
        attributes=present,
        partitions=np.array(["train", "test"])[np.arange(count) % 2],
    )


def filed(*, root: str, count: int = 48) -> harness.Dataset:
    """The same, where the folder holds a file called faces."""
    if not (Path(root) / "faces").is_file():
        raise harness.HarnessError(f"{root}: no file called faces")
    return drawn(count=count)


def unreadable(*, stage: str = "open") -> harness.Dataset:
    """A data set whose author did not foresee something."""
    if stage == "open":
        raise KeyError("annotations")

    def read(rows: object) -> np.ndarray:
        raise OSError(5, "Input/output error")

    dataset = drawn()
    return harness.Dataset("unreadable", dataset.ids, SHAPE, read, "unreadable", NAMES, dataset.attributes)


class Linear(nn.Module):
    """(B, 3, H, W) to (B, 2)."""

    def __init__(self, width: int, components: int) -> None:
        super().__init__()
        self.scores = nn.Linear(components, len(NAMES))
        self.unused = nn.Parameter(torch.zeros(width))
        self.broken = ""

    def forward(self, x: Tensor) -> Tensor:
        if self.broken == "answer":
            raise RuntimeError("the model cannot answer")
        return self.scores((x - 0.43).flatten(1))


def build(task: Task, *, width: int = 1, broken: str = "") -> nn.Module:
    """An untrained one."""
    if width < 1:
        raise ValueError(f"width {width} is below one")
    module = Linear(width, math.prod(task.shape))
    module.broken = broken
    return module


class Watching(Linear):
    """One that says of each image which of its rows is brightest, and which output it was asked about."""

    def observe(self, x: Tensor, columns: Tensor) -> Tensor:
        return torch.stack([x.mean((1, 3)).argmax(1).float(), columns.float()], 1)


def build_watching(task: Task) -> nn.Module:
    """An untrained one."""
    return Watching(1, math.prod(task.shape))


def train(
    module: Linear, dataset: harness.Dataset, context: object, *, strength: float = 1.0, fail: bool = False
) -> None:
    """Ridge regression, in closed form."""
    if fail:
        raise RuntimeError("the loss is not a number")
    rows = dataset.rows("train")
    x = torch.from_numpy(dataset.images(rows)).flatten(1).float() / 255 - 0.43
    wanted = 2 * torch.from_numpy(dataset.attributes[rows]).float() - 1
    kernel = x @ x.T + strength * torch.eye(len(x))
    with torch.no_grad():
        module.scores.weight.copy_((x.T @ torch.linalg.solve(kernel, wanted)).T)
        module.scores.bias.zero_()


def step(
    model: object, x: Tensor, objective: object, threat: object, *, rng: object, size: float = 1
) -> Tensor:
    """One step of the budget along the sign of the margin's gradient."""
    if os.environ.get("TINY_FAULT") == "Red" and (objective.columns == 1).any():
        raise RuntimeError("no step towards Red")
    _, slope = model.gradient(x, objective.margin)
    x_adv = threat.project(x + size * threat.eps * slope.sign(), x)
    if os.environ.get("TINY_FAULT") == "first":
        x_adv[0] = torch.nan
    return x_adv


def leap(model: object, x: Tensor, objective: object, threat: object, *, rng: object) -> Tensor:
    """Twice the budget."""
    return (x + 2 * threat.eps).clamp(0, 1)


def beyond(model: object, x: Tensor, objective: object, threat: object, *, rng: object) -> Tensor:
    """Whiter than white, which is stored as white."""
    return x + threat.eps


def still(model: object, x: Tensor, objective: object, threat: object, *, rng: object) -> Tensor:
    """No step at all."""
    return x.clone()


def corner(height: int, width: int, *, share: float = 0.5) -> Tensor:
    """The upper left corner."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[: int(height * share), : int(width * share)] = True
    return mask


def paint(
    model: object, x: Tensor, objective: object, threat: object, *, rng: object, shade: float = 1.0
) -> Tensor:
    """One shade over the whole region."""
    return torch.where(threat.mask, torch.tensor(shade), x)


def shared(
    model: object, x: Tensor, objective: object, threat: object, *, rng: object, fit: Tensor
) -> Tensor:
    """One step for all that want the same, learned on some."""
    if os.environ.get("TINY_FAULT") == "peek" and fit.all():
        raise RuntimeError("nothing is held out")
    x_adv = x.clone()
    for group in objective.groups.unique():
        members = objective.groups == group
        rows = torch.nonzero(members & fit).flatten()
        if len(rows):
            _, slope = model.take(rows).gradient(x[rows], objective.take(rows).margin)
            x_adv[members] = x[members] + threat.eps * slope.mean(0).sign()
    return threat.project(x_adv, x)


def greedy(model: object, x: Tensor, objective: object, threat: object, *, rng: object) -> Tensor:
    """More than three images do not fit."""
    if len(x) > 3:
        raise MemoryError
    return x.clone()


def shift(x_adv: Tensor, x: Tensor, *, scale: float = 255.0) -> np.ndarray:
    """The mean change."""
    return ((x_adv - x).flatten(1).mean(1) * scale).numpy()


SPECS = f"{__name__}:"


@harness.hookimpl
def harness_datasets() -> list[harness.DatasetSpec]:
    """Tiny data sets."""
    return [
        harness.DatasetSpec(name="tiny", summary="drawn", load=SPECS + "drawn"),
        harness.DatasetSpec(name="tiny-files", summary="filed", load=SPECS + "filed"),
        harness.DatasetSpec(name="unreadable", summary="unreadable", load=SPECS + "unreadable"),
    ]


@harness.hookimpl
def harness_models() -> list[harness.ModelSpec]:
    """Tiny models."""
    return [
        harness.ModelSpec(
            name="linear",
            summary="ridge regression",
            source="Hoerl and Kennard 1970",
            build=SPECS + "build",
            train=SPECS + "train",
            head="attributes",
            presets={"quick": {}, "paper": {"width": 1000}},
            card_size={"quick": (24, 20), "paper": (24, 20)},
        ),
        harness.ModelSpec(
            name="untrained", summary="as it is built", build=SPECS + "build", head="attributes"
        ),
        harness.ModelSpec(
            name="watching",
            summary="ridge regression that says more than its scores",
            build=SPECS + "build_watching",
            train=SPECS + "train",
            head="attributes",
            observes=("brightest_row", "asked"),
        ),
        harness.ModelSpec(
            name="boxed",
            summary="decisions only",
            build=SPECS + "build",
            head="attributes",
            access="decisions",
        ),
    ]


@harness.hookimpl
def harness_attacks() -> list[harness.AttackSpec]:
    """Tiny attacks."""
    return [
        harness.AttackSpec(
            name="step",
            summary="one step",
            run=SPECS + "step",
            norms=("linf",),
            passes=lambda parameters: (1.0, 1.0),
        ),
        harness.AttackSpec(name="leap", summary="too far", run=SPECS + "leap", norms=("linf",)),
        harness.AttackSpec(name="beyond", summary="no colour", run=SPECS + "beyond", norms=("linf",)),
        harness.AttackSpec(
            name="corner",
            summary="a corner in one shade",
            run=SPECS + "paint",
            region=SPECS + "corner",
            norms=(),
            access="decisions",
        ),
        harness.AttackSpec(
            name="shared",
            summary="one step for all",
            run=SPECS + "shared",
            norms=("linf",),
            traits=frozenset({"universal"}),
            passes=lambda parameters: (1.0, 1.0),
        ),
        harness.AttackSpec(name="greedy", summary="wants memory", run=SPECS + "greedy"),
        harness.AttackSpec(name="still", summary="no step", run=SPECS + "still", access="decisions"),
    ]


def tally(results: harness.Results, *, fail: str = "", picture: bool = True) -> harness.Analysis:
    """How often each attack succeeded."""
    if fail == "bug":
        raise KeyError("no such column")
    if fail == "user":
        raise harness.HarnessError("nothing to count; run an attack")
    if fail == "type":
        return 3  # type: ignore[return-value]
    from matplotlib.figure import Figure

    table = results.samples(columns=["success"]).groupby("attack", as_index=False)["success"].sum()
    figure = Figure()
    figure.subplots().bar(table["attack"], table["success"])
    return harness.Analysis(table, figure if picture else None)


@harness.hookimpl
def harness_analyses() -> list[harness.AnalysisSpec]:
    """Tiny analyses."""
    return [harness.AnalysisSpec(name="tally", summary="how often", run=SPECS + "tally")]


@harness.hookimpl
def harness_measures() -> list[harness.MeasureSpec]:
    """Tiny measures."""
    return [harness.MeasureSpec(name="shift", summary="the mean change", run=SPECS + "shift")]
