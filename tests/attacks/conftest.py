"""Small networks, trained for a second on patterns in noise, with images and goals to attack them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import FlipAttribute, Goal, Untargeted
from harness.model import Model

SIZE = 16


class Cnn(nn.Module):
    """(B, 3, 16, 16) to (B, outputs)."""

    def __init__(self, outputs: int, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 64, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(4 * x - 2)


class Euclidean(Cnn):
    """Attribute scores, trained on labels -1 and +1."""

    @staticmethod
    def training_loss(scores: Tensor, labels: Tensor) -> Tensor:
        return (scores - labels).square()


class TwoLogits(nn.Module):
    """Attribute scores that are the difference of two logits (absent, present)."""

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.both = Cnn(2 * attributes)

    def pairs(self, x: Tensor) -> Tensor:  # (B, M, 2)
        return self.both(x).unflatten(1, (-1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.pairs(x).diff(dim=2)[:, :, 0]

    def logits(self, x: Tensor, columns: Tensor) -> Tensor:
        return self.pairs(x)[torch.arange(len(x)), columns]


@dataclass(frozen=True, eq=False)
class Setting:
    """A trained network and images to attack."""

    model: Model
    x: Tensor  # (N, 3, 16, 16) on the 8-bit grid
    goal: Goal
    labels: Tensor  # classes (N,), or bool (N,) of the attribute of each case
    columns: Tensor  # (N,) the attribute, or 0

    @property
    def module(self) -> nn.Module:
        return self.model.module

    def first(self, cases: int) -> Setting:
        cut = slice(0, cases)
        labels, columns = self.labels[cut], self.columns[cut]
        goal = FlipAttribute(columns, labels) if self.model.head == "attributes" else Untargeted(labels)
        return Setting(self.model, self.x[cut], goal, labels, columns)


def patterns(cases: int, outputs: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 16, 16) in which each of some blurred patterns is present or absent, and which (N, M)."""
    coarse = torch.randn(outputs, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    blurred = F.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    present = torch.rand(cases, outputs, generator=draws) < 0.5
    signs = torch.where(present, 1.0, -1.0)
    images = 0.5 + 0.025 * torch.einsum("nm,mchw->nchw", signs, blurred)
    images = images + 0.2 * torch.randn(cases, 3, SIZE, SIZE, generator=draws)
    return torch.round(images.clamp(0, 1) * 255) / 255, present


def trained(module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], outputs: int) -> None:
    draws = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(60):
        x, present = patterns(64, outputs, draws)
        optimizer.zero_grad()
        loss(module(x), present).backward()
        optimizer.step()
    module.eval().requires_grad_(False)  # peers and plain loops would ask for slopes of weights, too


def attribute_setting(module: nn.Module, outputs: int, cases: int = 120) -> Setting:
    x, present = patterns(cases, outputs, torch.Generator().manual_seed(2))
    columns = torch.arange(cases) % outputs
    labels = present.gather(1, columns[:, None])[:, 0]
    model = harness.wrap_model(module, "attributes")
    return Setting(model, x, FlipAttribute(columns, labels), labels, columns)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def euclidean_loss(scores: Tensor, present: Tensor) -> Tensor:
    return (scores - torch.where(present, 1.0, -1.0)).square().mean()


@pytest.fixture(scope="session")
def single() -> Setting:
    """One attribute, Euclidean loss."""
    torch.manual_seed(0)
    module = Euclidean(1)
    trained(module, euclidean_loss, 1)
    return attribute_setting(module, 1)


@pytest.fixture(scope="session")
def joint() -> Setting:
    """Five attributes of one network, Euclidean loss, as MOON."""
    torch.manual_seed(0)
    module = Euclidean(5)
    trained(module, euclidean_loss, 5)
    return attribute_setting(module, 5)


@pytest.fixture(scope="session")
def softmax() -> Setting:
    """Three attributes with two logits each."""
    torch.manual_seed(0)
    module = TwoLogits(3)
    trained(
        module, lambda scores, present: F.softplus(torch.where(present, -1.0, 1.0) * scores).mean(), outputs=3
    )
    return attribute_setting(module, 3)


def class_setting(width: int) -> Setting:
    """Four classes: which two of two patterns are present."""
    torch.manual_seed(0)
    module = Cnn(4, width)

    def label(present: Tensor) -> Tensor:
        return present[:, 0] + 2 * present[:, 1].long()

    trained(module, lambda scores, present: F.cross_entropy(scores, label(present)), 2)
    x, present = patterns(120, 2, torch.Generator().manual_seed(2))
    labels = label(present)
    model = harness.wrap_model(module, "classes")
    return Setting(model, x, Untargeted(labels), labels, torch.zeros_like(labels))


@pytest.fixture(scope="session")
def classes() -> Setting:
    """Four classes."""
    return class_setting(8)


@pytest.fixture(scope="session")
def slender() -> Setting:
    """Four classes, of a network that even a slow attack has soon answered."""
    return class_setting(3)
