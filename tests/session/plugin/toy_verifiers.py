"""A plugin of embedding models for drawn faces: no training, and a little alike for the same person."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.training import Task


class Shrunk(nn.Module):
    """The embedding of an image is its small copy, projected at random; persons differ in their colours."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.project = nn.Linear(3 * 6 * 6, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "constant":
            return torch.ones(len(x), 8) + 0 * x.sum((1, 2, 3))[:, None]
        small = F.adaptive_avg_pool2d(x, 6).flatten(1)
        found: Tensor = self.project(4 * small)
        return found

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The city-block distance, which no matrix product gives."""
        return (a - b).abs().mean(1)


class Plain(Shrunk):
    distance = None  # type: ignore[assignment]


def build(task: Task, *, kind: str = "plain", width: int = 16) -> nn.Module:
    if kind == "city-block":
        return Shrunk(kind, width)
    return Plain(kind, width)


def build_bright(task: Task) -> nn.Module:
    return Bright()


class Bright(nn.Module):
    """Two attributes: bright, and red."""

    attribute_names = ("Smiling", "Young")

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 6 * 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(F.adaptive_avg_pool2d(x, 6).flatten(1) - 0.5)
        return found


def load_dots(*, people: int = 9, each: int = 8) -> harness.Dataset:
    """Images of persons who differ in their colours, made at once."""
    who = np.arange(people * each) % people
    generator = np.random.default_rng(1)
    faces = generator.integers(40, 216, (people, 3, 1, 1))[who] + generator.integers(
        -40, 40, (len(who), 3, 8, 8)
    )
    pixels = faces.astype(np.uint8)
    return harness.Dataset(
        name="dots",
        ids=[f"{number:03d}.png" for number in range(len(who))],
        shape=(3, 8, 8),
        read=lambda rows: pixels[rows],
        fingerprint=f"dots {people} {each}",
        attribute_names=Bright.attribute_names,
        attributes=pixels.mean((2, 3))[:, :2] > 128,
        identities=who,
        partitions=np.array(["train", "validation", "test"])[who % 3],
    )


@harness.hookimpl
def harness_datasets() -> list[harness.DatasetSpec]:
    """Dots that stand for faces."""
    return [harness.DatasetSpec(name="dots", summary="dots", load="toy_verifiers:load_dots")]


@harness.hookimpl
def harness_models() -> list[harness.ModelSpec]:
    """A verifier, and a model of attributes beside it."""
    return [
        harness.ModelSpec(
            name="shrunk", summary="small copies", build="toy_verifiers:build", head="embedding"
        ),
        harness.ModelSpec(
            name="bright", summary="two attributes", build="toy_verifiers:build_bright", head="attributes"
        ),
    ]
