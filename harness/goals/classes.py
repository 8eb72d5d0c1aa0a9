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
    """Any class but the true one; an image that is misclassified already counts as reached."""

    labels: Tensor
    kind: ClassVar[str] = "untargeted"

    def objective(self, model: Model, outputs: Tensor) -> ClassObjective:
        """Outputs are clean logits (B, K)."""
        check_head(model, "classes", self.kind)
        labels = class_numbers(self.labels, outputs)
        return ClassObjective(labels, outputs.argmax(1) == labels, False, model.training_loss)

    def part(self, rows: slice) -> Untargeted:
        """The goal of some of the images."""
        return replace(self, labels=some_rows(self.labels, rows))


@dataclass(frozen=True, eq=False)
class Targeted:
    """One named class per case. ``labels`` (B,), where known, say what was right before."""

    classes: Tensor
    labels: Tensor | None = None
    kind: ClassVar[str] = "targeted"

    def objective(self, model: Model, outputs: Tensor) -> ClassObjective:
        """Outputs are clean logits (B, K)."""
        check_head(model, "classes", self.kind)
        classes, decisions = class_numbers(self.classes, outputs), outputs.argmax(1)
        labels = None if self.labels is None else class_numbers(self.labels, outputs)
        correct = decisions != classes if labels is None else decisions == labels
        return ClassObjective(classes, correct, True, model.training_loss)

    def part(self, rows: slice) -> Targeted:
        """The goal of some of the images."""
        return replace(self, classes=some_rows(self.classes, rows), labels=some_rows(self.labels, rows))


@dataclass(frozen=True, eq=False)
class ClassObjective:
    """Leave ``classes[b]``, or where ``towards`` reach it, by argmax."""

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
        # Whatever class an image is to leave, one change may drive all images to some other.
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
