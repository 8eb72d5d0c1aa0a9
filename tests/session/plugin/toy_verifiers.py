"""A plugin of embedding models for drawn faces: no training, and a little alike for the same person."""

from __future__ import annotations

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
