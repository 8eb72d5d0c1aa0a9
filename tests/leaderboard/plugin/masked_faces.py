"""A plugin of one honest model, of the same model behind masks that hide its gradients, and of attacks."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

import harness

NAMES = ("Bright", "Striped")
SIDE = 16
COUNT, TESTED = 460, 60


def drawn() -> harness.Dataset:
    """Noise with two faint patterns: a lighter centre, and stripes."""
    generator = np.random.default_rng(0)
    present = generator.random((COUNT, len(NAMES))) < 0.5
    strength = generator.uniform(4, 20, (COUNT, len(NAMES))) * np.where(present, 1, -1)  # levels of 1/255
    images = generator.normal(128, 12, (COUNT, 3, SIDE, SIDE))
    images[:, :, 4:12, 4:12] += strength[:, 0, None, None, None]
    images[:, :, ::2] += strength[:, 1, None, None, None]
    pixels = images.clip(0, 255).astype(np.uint8)
    return harness.Dataset(
        name="patterns",
        ids=[f"{number:04d}.png" for number in range(COUNT)],
        shape=(3, SIDE, SIDE),
        read=lambda rows: pixels[rows],
        fingerprint="patterns",
        attribute_names=NAMES,
        attributes=present,
        partitions=np.where(np.arange(COUNT) < TESTED, "test", "train"),
    )


LEARNT: dict[str, Tensor] = {}
"""The weights of the first model that was trained."""


class Masked(nn.Module):
    """(B, 3, 16, 16) to (B, 2); in eval mode behind a mask."""

    def __init__(self, mask: str) -> None:
        super().__init__()
        self.mask = mask
        self.inner = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64, len(NAMES)),
        )

    def forward(self, x: Tensor) -> Tensor:
        mask = "" if self.training else self.mask
        if mask == "stepwise":
            x = (x * 32).floor() / 32
        if mask == "randomised":
            x = x + 0.05 * torch.randn_like(x)
        scores: Tensor = self.inner(x - 0.5)
        return (1000 * scores).tanh() if mask == "saturated" else scores


def build(task: object, *, mask: str = "") -> nn.Module:
    """An untrained one."""
    return Masked(mask)


def train(module: Masked, dataset: harness.Dataset, context: object) -> None:
    """Adam, a second: the patterns are plain. It learns without its mask, and so all learn the same."""
    if LEARNT:
        module.inner.load_state_dict(LEARNT)
        return
    rows = dataset.rows("train")
    x = torch.from_numpy(dataset.images(rows)).float() / 255
    wanted = torch.from_numpy(dataset.attributes[rows]).float()
    module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        for part in torch.randperm(len(x), generator=generator).split(50):
            loss = nn.functional.binary_cross_entropy_with_logits(module(x[part]), wanted[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    LEARNT.update(copy.deepcopy(module.inner.state_dict()))


def walk(
    model: object, x: Tensor, objective: object, threat: object, *, rng: object, steps: int = 300
) -> Tensor:
    """Random search: squares of one colour at the edge of the budget, kept where the margin grows."""
    model = model.focus(objective)
    best = threat.project(x + threat.eps * (2 * rng.integers(2, (3, 1, SIDE)) - 1), x)
    margin = objective.margin(model(best))
    at = torch.arange(SIDE)
    for step in range(steps):
        side = max(1, round(SIDE / 2 * (1 - step / steps)))
        first = rng.integers(SIDE - side + 1, (2,))[:, :, None]  # (B, 2, 1) of the rows and the columns
        signs = 2 * rng.integers(2, (3, 1, 1)) - 1
        inside = (first <= at) & (at < first + side)  # (B, 2, SIDE)
        window = inside[:, None, 0, :, None] & inside[:, None, 1, None, :]  # (B, 1, SIDE, SIDE)
        tried = torch.where(window, x + threat.eps * signs, best)
        tried = threat.settle(threat.project(tried, x), x)
        found = objective.margin(model(tried))
        better = found > margin
        best[better], margin[better] = tried[better], found[better]
    return best


def graze(model: object, x: Tensor, objective: object, threat: object, *, rng: object) -> Tensor:
    """The nearest image along the gradient that reaches the goal, as real numbers: rounding undoes some."""
    model = model.focus(objective)
    _, gradient = model.gradient(x, objective.margin)
    gradient = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    near, far = torch.zeros(len(x), 1, 1, 1), torch.full((len(x), 1, 1, 1), 4.0)
    for _ in range(25):
        middle = (near + far) / 2
        there = model.reaches((x + middle * gradient).clamp(0, 1)).view(-1, 1, 1, 1)
        near, far = torch.where(there, near, middle), torch.where(there, middle, far)
    return (x + far * gradient).clamp(0, 1)


SPECS = f"{__name__}:"


@harness.hookimpl
def harness_datasets() -> list[harness.DatasetSpec]:
    """The patterns."""
    return [harness.DatasetSpec(name="patterns", summary="drawn", load=SPECS + "drawn")]


@harness.hookimpl
def harness_models() -> list[harness.ModelSpec]:
    """One model, and a mask for it."""
    return [
        harness.ModelSpec(
            name="masked", summary="", build=SPECS + "build", train=SPECS + "train", head="attributes"
        )
    ]


@harness.hookimpl
def harness_attacks() -> list[harness.AttackSpec]:
    """A black-box attack, and one that does not look at rounded images."""
    return [
        harness.AttackSpec(name="walk", summary="", run=SPECS + "walk", access="scores", norms=("linf",)),
        harness.AttackSpec(name="graze", summary="", run=SPECS + "graze", norms=("l2",), budget="minimal"),
    ]
