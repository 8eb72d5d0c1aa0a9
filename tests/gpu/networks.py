"""Small networks that are trained on the CPU in a second each, with images and goals, for any device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import FlipAttribute, Goal, Impersonate, Untargeted
from harness.model import Model
from harness.specs import HeadKind
from harness.training import Context, Task
from harness_bayes import bayes_optimal
from tests.attacks.conftest import Cnn, Euclidean, TwoLogits, euclidean_loss, patterns, trained

Loss = Callable[[Tensor, Tensor], Tensor]


class Double(nn.Module):
    """A Double computes in float64 and rounds its outputs to float32 at the end.

    What two devices make of it differs hardly ever, so an attack that still goes another way has another
    reason than the last bits of its network's float32.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.double_of = copy.deepcopy(module).double()
        for name in ("training_loss", "threshold"):
            if hasattr(module, name):
                setattr(self, name, getattr(module, name))
        for name in ("logits", "components"):
            if hasattr(module, name):
                setattr(self, name, self._rounded(name))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.double_of(x.double())
        return outputs.float()

    @property
    def component_classes(self) -> Any:
        return self.double_of.component_classes

    def _rounded(self, name: str) -> Callable[..., Tensor]:
        return lambda x, *more: getattr(self.double_of, name)(x.double(), *more).float()


@dataclass(frozen=True, eq=False)
class Small:
    """A Small is a trained network with images to attack; on the CPU until a device is asked for."""

    module: nn.Module
    head: HeadKind
    x: Tensor  # (N, C, H, W) on the 8-bit grid
    goal: Goal

    def model(self, device: torch.device, *, double: bool = False) -> Model:
        """Return the network on a device, as a copy; ``double`` computes it in float64."""
        module = Double(self.module) if double else copy.deepcopy(self.module)
        return harness.wrap_model(module.to(device).eval().requires_grad_(False), self.head)


@cache
def smalls(cases: int) -> dict[str, Small]:
    """Return the networks by name, each with so many images."""
    makers = {"classes": _classes, "attributes": _attributes, "two logits": _logits, "mixtures": _mixtures}
    found = {name: make(cases) for name, make in makers.items()}
    return {**found, "embedding": _embedding(found["classes"])}


@cache
def _taught(kind: type[nn.Module], outputs: int, patterns_shown: int, loss: Loss) -> nn.Module:
    """Return a network of a kind, trained once."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = kind(outputs)
        trained(module, loss, patterns_shown)
    return module


def _classes(cases: int) -> Small:
    """Four classes: which two of two patterns are present."""
    module = _taught(Cnn, 4, 2, _class_loss)
    x, present = patterns(cases, 2, torch.Generator().manual_seed(2))
    return Small(module, "classes", x, Untargeted(_label(present)))


def _label(present: Tensor) -> Tensor:
    return present[:, 0] + 2 * present[:, 1].long()


def _class_loss(scores: Tensor, present: Tensor) -> Tensor:
    return F.cross_entropy(scores, _label(present))


def _logistic_loss(scores: Tensor, present: Tensor) -> Tensor:
    return F.softplus(torch.where(present, -1.0, 1.0) * scores).mean()


def _attributes(cases: int) -> Small:
    """Five attributes of one network with Euclidean loss, as MOON."""
    module = _taught(Euclidean, 5, 5, euclidean_loss)
    return _flips(module, 5, cases)


def _logits(cases: int) -> Small:
    """Three attributes, each with two logits."""
    module = _taught(TwoLogits, 3, 3, _logistic_loss)
    return _flips(module, 3, cases)


def _flips(module: nn.Module, outputs: int, cases: int) -> Small:
    x, present = patterns(cases, outputs, torch.Generator().manual_seed(2))
    columns = torch.arange(cases) % outputs
    labels = present.gather(1, columns[:, None])[:, 0]
    return Small(module, "attributes", x, FlipAttribute(columns, labels))


def _mixtures(cases: int) -> Small:
    """The Bayes-optimal classifier of two mixtures, in float64."""
    faces = bayes_optimal.example()
    module = bayes_optimal.build(Task.of(faces))
    context = Context(0, torch.device("cpu"), lambda share, word: None, lambda part, make: make())
    bayes_optimal.train(module, faces, context)
    rows = faces.rows()[:cases]
    assert faces.labels is not None
    x = torch.from_numpy(faces.images(rows)).float() / 255
    return Small(module, "classes", x, Untargeted(torch.from_numpy(faces.labels[rows])))


def _embedding(classes: Small) -> Small:
    """The logits of the classes as an embedding; each image is to be accepted as the next image's person."""
    with torch.no_grad():
        outputs = classes.module(classes.x)
    anchors = outputs.roll(1, 0)
    apart = (outputs - anchors).square().sum(1).sqrt()
    return Small(classes.module, "embedding", classes.x, Impersonate(anchors, float(apart.median()) / 2))
