"""Untrained networks for 8x8 images that count from within what they are asked, and goals for each head."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Targeted, Untargeted
from harness.handle import Handle, Meter
from harness.model import Model, frozen
from harness.precision import exact
from harness.randomness import CaseRandom, seed_torch
from harness.threat import Threat
from harness_foolbox.models import foolbox_itself

SIZE, CASES, CLASSES, ATTRIBUTES = 8, 4, 4, 3
COLOURS = 5


class Counting(nn.Module):
    """(B, 3, 8, 8) to (B, outputs); counts the images that it sees and the gradients that pass back."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3, padding=1)
        self.answer = nn.Linear(6 * (SIZE // 2) ** 2, outputs)
        self.asked = self.returned = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        if x.requires_grad:
            x.register_hook(self._count)
        # the Toolbox asks about float64, too, when it is used by hand
        features = torch.max_pool2d(torch.relu(self.features(4 * x.float() - 2)), 2)
        return 4 * self.answer(features.flatten(1))

    def _count(self, slope: Tensor) -> None:
        self.returned += len(slope)


@dataclass(frozen=True, eq=False)
class Setting:
    """A model, images and a goal."""

    model: Model
    x: Tensor  # (4, 3, 8, 8) on the 8-bit grid
    goal: Goal

    @property
    def module(self) -> Counting:
        module = self.model.module
        assert isinstance(module, Counting)
        return module

    def call(
        self, attack: Callable[..., Tensor], threat: Threat, /, *, cases: slice = slice(None), **values: Any
    ) -> tuple[Tensor, Meter]:
        """The attack's images of some cases, and the meter of its passes; counts from within begin at 0."""
        x, goal = self.x[cases], self.goal.part(cases)
        objective = goal.objective(self.model, self.model.scores(x))
        meter = Meter(len(x))
        handle = Handle(self.model, len(x), access=threat.access, meter=meter)
        keys = [str(case) for case in range(CASES)][cases]
        self.module.asked = self.module.returned = 0
        with exact(x.device), frozen(self.module):  # as in a trial
            images = attack(handle, x.clone(), objective, threat, rng=CaseRandom(0, keys), **values)
        return images, meter


def model_of(head: str) -> Model:
    """The same model at every call."""
    seed_torch(3)
    outputs = {"classes": CLASSES, "attributes": ATTRIBUTES, "embedding": 5}[head]
    module = Counting(outputs).eval()
    return harness.wrap_model(module, head, threshold=1.0)  # type: ignore[arg-type]


def images() -> Tensor:
    """(4, 3, 8, 8) on the 8-bit grid, of four colours; three of four classes."""
    draws = torch.Generator().manual_seed(COLOURS)
    colours, texture = (torch.rand(CASES, 3, side, side, generator=draws) for side in (1, SIZE))
    return torch.round(255 * (0.1 + 0.6 * colours + 0.2 * texture)) / 255


def setting_of(name: str) -> Setting:
    """The setting of a goal; none of its cases reaches the goal as it is."""
    x = images()
    if name == "flip":
        columns = torch.tensor([0, 1, 2, 0])
        return Setting(model_of("attributes"), x, FlipAttribute(columns))
    if name in ("untargeted", "targeted"):
        model = model_of("classes")
        decided = model.scores(x).argmax(1)
        return Setting(
            model, x, Untargeted(decided) if name == "untargeted" else Targeted((decided + 1) % CLASSES)
        )
    model = model_of("embedding")
    away = torch.tensor([1.2, 0.0, 0.0, 0.0, 0.0])
    anchors = model.scores(x)
    return Setting(model, x, Evade(anchors + 0.1) if name == "evade" else Impersonate(anchors + away))


GOALS = ("untargeted", "targeted", "flip", "evade", "impersonate")


@pytest.fixture(params=GOALS)
def setting(request: pytest.FixtureRequest) -> Setting:
    return setting_of(request.param)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no random image reaches a goal, Foolbox draws 1,000 before it gives up; 50 fail as well."""
    foolbox_itself()
    for name in ("hop_skip_jump", "boundary_attack"):
        place = importlib.import_module(f"foolbox.attacks.{name}")
        kind = place.LinearSearchBlendedUniformNoiseAttack
        monkeypatch.setattr(place, kind.__name__, partial(kind, directions=50))


@pytest.fixture(scope="session")
def foolbox() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        return pytest.importorskip("foolbox")
