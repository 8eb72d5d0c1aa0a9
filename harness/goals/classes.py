"""``Untargeted`` asks for any class but the true one, ``Targeted`` for a named class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from harness.goals.objective import Loss, check_head, class_numbers, some_rows

if TYPE_CHECKING:
    from harness.model import Model


@dataclass(frozen=True, eq=False)
class Untargeted:
    """Untargeted asks for any class but the true one; a misclassified image has reached it already."""

    labels: Tensor
    kind: ClassVar[str] = "untargeted"

    def objective(self, model: Model, outputs: Tensor) -> ClassObjective:
        """Return the objective for the clean logits (B, K) of a model."""
        check_head(model, "classes", self.kind)
        labels = class_numbers(self.labels, outputs)
        return ClassObjective(labels, outputs.argmax(1) == labels, False, model.training_loss)

    def part(self, rows: slice) -> Untargeted:
        """Return the goal of some of the images."""
        return replace(self, labels=some_rows(self.labels, rows))


@dataclass(frozen=True, eq=False)
class Targeted:
    """Targeted asks for one named class per case; ``labels`` (B,) are the true classes, if known."""

    classes: Tensor
    labels: Tensor | None = None
    kind: ClassVar[str] = "targeted"

    def objective(self, model: Model, outputs: Tensor) -> ClassObjective:
        """Return the objective for the clean logits (B, K) of a model."""
        check_head(model, "classes", self.kind)
        classes, decisions = class_numbers(self.classes, outputs), outputs.argmax(1)
        labels = None if self.labels is None else class_numbers(self.labels, outputs)
        correct = decisions != classes if labels is None else decisions == labels
        return ClassObjective(classes, correct, True, model.training_loss)

    def part(self, rows: slice) -> Targeted:
        """Return the goal of some of the images."""
        return replace(self, classes=some_rows(self.classes, rows), labels=some_rows(self.labels, rows))


@dataclass(frozen=True, eq=False)
class ClassObjective:
    """ClassObjective asks that the argmax leaves ``classes[b]``, or reaches it if ``towards`` is true."""

    classes: Tensor  # (B,)
    correct: Tensor  # (B,)
    towards: bool
    training_loss: Loss

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ascend(self) -> Tensor:
        return torch.full_like(self.correct, not self.towards)

    @property
    def columns(self) -> None:
        return None

    @property
    def groups(self) -> Tensor:
        # One change may move all images to another class, whatever class each of them must leave.
        return self.classes if self.towards else torch.zeros_like(self.classes)

    def margin(self, outputs: Tensor) -> Tensor:
        own = outputs.gather(1, self.classes[:, None])[:, 0]
        others = outputs.scatter(1, self.classes[:, None], -torch.inf).amax(1)
        return own - others if self.towards else others - own

    def loss(self, outputs: Tensor) -> Tensor:
        return self.training_loss(outputs, self.classes)

    def reached(self, outputs: Tensor) -> Tensor:
        return (outputs.argmax(1) == self.classes) == self.towards

    def take(self, cases: Tensor) -> ClassObjective:
        return replace(self, classes=self.classes[cases], correct=self.correct[cases])
