"""Goals: what must become of each image; with a batch, a goal becomes a per-case objective.

Frozen values hold what the caller asks for, (B,) per case. ``objective`` ties them to a model's clean
answers. An objective's three functions take the model's outputs:

- ``margin`` (B,), differentiable, positive once the goal is reached;
- ``loss`` (B,), the model's own training loss (which FGS needs), to ascend where ``ascend`` is true;
- ``reached`` (B,), exactly by the model's decision rule, ties included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from harness.errors import AttackError

if TYPE_CHECKING:
    from harness.model import Model

Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(Protocol):
    """What an attack pursues, one entry per case."""

    @property
    def correct(self) -> Tensor:
        """(B,) whether the clean decision was right."""

    @property
    def ascend(self) -> Tensor:
        """(B,) whether the goal lies uphill (True) or downhill of ``loss``."""

    @property
    def columns(self) -> Tensor | None:
        """(B,) the only output column that each case reads, or None where it reads them all."""

    @property
    def groups(self) -> Tensor:
        """(B,) int64: cases of equal numbers want the same outcome, so that one change may serve them all."""

    def margin(self, outputs: Tensor) -> Tensor:
        """(B,) differentiable, positive once the goal is reached."""

    def loss(self, outputs: Tensor) -> Tensor:
        """(B,) differentiable training loss."""

    def reached(self, outputs: Tensor) -> Tensor:
        """(B,) bool by the model's decision rule."""

    def take(self, cases: Tensor) -> Objective:
        """The objective of the given cases (K,)."""

    def __len__(self) -> int: ...


class Goal(Protocol):
    """What a caller asks for."""

    kind: ClassVar[str]
    """How records name it."""

    def objective(self, model: Model, outputs: Tensor) -> Objective:
        """The objective for a model's clean outputs on the batch."""

    def part(self, rows: slice) -> Goal:
        """The goal of some of the images; what is the same for all images stays."""


# --- attributes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FlipAttribute:
    """Flip the decision on one attribute per case, whatever it is now.

    ``labels`` (B,) is the truth, where known: present where > 0. An image that the model got wrong is a
    case too, and flipping it corrects it (a natural adversarial). Without labels every decision counts as
    right.
    """

    indices: Tensor
    labels: Tensor | None = None
    kind: ClassVar[str] = "flip"

    def objective(self, model: Model, outputs: Tensor) -> FlipObjective:
        """Outputs are clean scores (B, M)."""
        _need(model, "attributes", self.kind)
        columns = _cases(self.indices, outputs)
        _inside(columns, outputs, "attribute")
        present = outputs.gather(1, columns[:, None])[:, 0] > 0
        labels = present if self.labels is None else _cases(self.labels, outputs) > 0
        return FlipObjective(columns, present, labels, model.training_loss)

    def part(self, rows: slice) -> FlipAttribute:
        """The goal of some of the images."""
        return replace(self, indices=_rows(self.indices, rows), labels=_rows(self.labels, rows))


@dataclass(frozen=True, eq=False)
class FlipObjective:
    """Flip attribute ``columns[b]`` of case b away from ``present[b]``; a score of 0 means absent."""

    columns: Tensor  # (B,)
    present: Tensor  # (B,) the clean decision
    labels: Tensor  # (B,) the truth
    training_loss: Loss

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def correct(self) -> Tensor:
        return self.present == self.labels

    @property
    def ascend(self) -> Tensor:
        # A wrong decision is flipped by learning the truth: downhill.
        return self.correct

    @property
    def groups(self) -> Tensor:
        return 2 * self.columns + self.present.long()

    def scores(self, outputs: Tensor) -> Tensor:
        """(B,) the score of each case's attribute."""
        return outputs.gather(1, self.columns[:, None])[:, 0]

    def margin(self, outputs: Tensor) -> Tensor:
        return torch.where(self.present, -1.0, 1.0).to(outputs) * self.scores(outputs)

    def loss(self, outputs: Tensor) -> Tensor:
        return self.training_loss(self.scores(outputs), torch.where(self.labels, 1.0, -1.0).to(outputs))

    def reached(self, outputs: Tensor) -> Tensor:
        return (self.scores(outputs) > 0) != self.present

    def take(self, cases: Tensor) -> FlipObjective:
        return replace(
            self, columns=self.columns[cases], present=self.present[cases], labels=self.labels[cases]
        )


# --- classes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Untargeted:
    """Any class but the true one; an image that is misclassified already counts as reached."""

    labels: Tensor
    kind: ClassVar[str] = "untargeted"

    def objective(self, model: Model, outputs: Tensor) -> ClassObjective:
        """Outputs are clean logits (B, K)."""
        _need(model, "classes", self.kind)
        labels = _classes(self.labels, outputs)
        return ClassObjective(labels, outputs.argmax(1) == labels, False, model.training_loss)

    def part(self, rows: slice) -> Untargeted:
        """The goal of some of the images."""
        return replace(self, labels=_rows(self.labels, rows))


@dataclass(frozen=True, eq=False)
class Targeted:
    """One named class per case. ``labels`` (B,), where known, say what was right before."""

    classes: Tensor
    labels: Tensor | None = None
    kind: ClassVar[str] = "targeted"

    def objective(self, model: Model, outputs: Tensor) -> ClassObjective:
        """Outputs are clean logits (B, K)."""
        _need(model, "classes", self.kind)
        classes, decisions = _classes(self.classes, outputs), outputs.argmax(1)
        labels = None if self.labels is None else _classes(self.labels, outputs)
        correct = decisions != classes if labels is None else decisions == labels
        return ClassObjective(classes, correct, True, model.training_loss)

    def part(self, rows: slice) -> Targeted:
        """The goal of some of the images."""
        return replace(self, classes=_rows(self.classes, rows), labels=_rows(self.labels, rows))


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


# --- embeddings -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Impersonate:
    """Be accepted as the anchor's person: distance to the anchor below the threshold.

    ``anchors`` are embeddings (B, D); a (1, D) anchor serves every case. Where ``threshold`` is None, the
    model's calibrated one holds.
    """

    anchors: Tensor
    threshold: float | None = None
    kind: ClassVar[str] = "impersonate"

    def objective(self, model: Model, outputs: Tensor) -> VerificationObjective:
        """Outputs are clean embeddings (B, D)."""
        return _verification(model, outputs, self.anchors, self.threshold, self.kind)

    def part(self, rows: slice) -> Impersonate:
        """The goal of some of the images."""
        return replace(self, anchors=self.anchors if len(self.anchors) == 1 else self.anchors[rows])


@dataclass(frozen=True, eq=False)
class Evade:
    """No longer be accepted as the anchor's person: distance at or above the threshold."""

    anchors: Tensor
    threshold: float | None = None
    kind: ClassVar[str] = "evade"

    def objective(self, model: Model, outputs: Tensor) -> VerificationObjective:
        """Outputs are clean embeddings (B, D)."""
        return _verification(model, outputs, self.anchors, self.threshold, self.kind)

    def part(self, rows: slice) -> Evade:
        """The goal of some of the images."""
        return replace(self, anchors=self.anchors if len(self.anchors) == 1 else self.anchors[rows])


@dataclass(frozen=True, eq=False)
class VerificationObjective:
    """Come nearer to the anchor than the threshold, or where not ``towards`` stay away from it."""

    anchors: Tensor  # (B, D)
    threshold: float
    correct: Tensor  # (B,)
    towards: bool
    distance: Callable[[Tensor, Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def ascend(self) -> Tensor:
        return torch.full_like(self.correct, not self.towards)

    @property
    def columns(self) -> None:
        return None

    @property
    def groups(self) -> Tensor:
        groups: Tensor = torch.unique(self.anchors, dim=0, return_inverse=True)[1]
        return groups

    def margin(self, outputs: Tensor) -> Tensor:
        gap = self.threshold - self.distance(outputs, self.anchors)
        return gap if self.towards else -gap

    def loss(self, outputs: Tensor) -> Tensor:
        return self.distance(outputs, self.anchors)

    def reached(self, outputs: Tensor) -> Tensor:
        return (self.distance(outputs, self.anchors) < self.threshold) == self.towards

    def take(self, cases: Tensor) -> VerificationObjective:
        return replace(self, anchors=self.anchors[cases], correct=self.correct[cases])


def _verification(
    model: Model, outputs: Tensor, anchors: Tensor, threshold: float | None, kind: str
) -> VerificationObjective:
    _need(model, "embedding", kind)
    bound = model.threshold if threshold is None else threshold
    if bound is None:
        raise AttackError(f'goal "{kind}" needs a threshold: the model has none that was calibrated')
    if anchors.ndim != 2 or anchors.shape[1] != outputs.shape[1] or anchors.shape[0] not in (1, len(outputs)):
        raise AttackError(f"anchors have shape {tuple(anchors.shape)}; expected {tuple(outputs.shape)}")
    anchors = anchors.to(outputs).expand(len(outputs), -1)
    accepted = model.distance(outputs, anchors) < bound
    towards = kind == "impersonate"
    return VerificationObjective(anchors, bound, accepted != towards, towards, model.distance)


# --- checks -----------------------------------------------------------------------------------------------


def _need(model: Model, head: str, kind: str) -> None:
    if model.head != head:
        raise AttackError(f'goal "{kind}" needs a model with head "{head}"; this one has "{model.head}"')


def _rows(values: Tensor | None, rows: slice) -> Any:
    """The entries of some images; None, and one value for all, stay."""
    if values is None:
        return None
    values = torch.as_tensor(values)
    return values if values.ndim == 0 else values[rows]


def _cases(values: Tensor, outputs: Tensor) -> Tensor:
    values = torch.as_tensor(values).to(outputs.device)
    if values.ndim == 0:
        values = values.expand(len(outputs))
    if values.shape != (len(outputs),):
        raise AttackError(f"the goal has shape {tuple(values.shape)} for {len(outputs)} images")
    return values if values.dtype == torch.bool else values.long()


def _classes(values: Tensor, outputs: Tensor) -> Tensor:
    classes = _cases(values, outputs)
    _inside(classes, outputs, "class")
    return classes


def _inside(values: Tensor, outputs: Tensor, what: str) -> None:
    for value in (values.min(), values.max()) if len(values) else ():
        if not 0 <= int(value) < outputs.shape[1]:
            raise AttackError(f"{what} {int(value)} is outside the model's {outputs.shape[1]}")
