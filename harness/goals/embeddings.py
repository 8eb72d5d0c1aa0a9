"""``Impersonate`` asks to be accepted as another person, ``Evade`` not to be accepted as oneself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from harness.errors import AttackError, ModelError
from harness.goals.objective import check_head
from harness.precision import exact

if TYPE_CHECKING:
    from harness.model import Model


@dataclass(frozen=True, eq=False)
class Impersonate:
    """Impersonate asks for a distance to the anchor below the threshold: to be accepted as that person.

    ``anchors`` (B, D) are embeddings of the reference (enrolled template) images; one anchor (1, D) serves
    every case. If ``threshold`` is None, the model's calibrated threshold is used. ``references`` are these
    images (B, C, H, W), or one (1, C, H, W) for every case: attacks that need an image that reaches the goal
    start there.
    """

    anchors: Tensor
    threshold: float | None = None
    references: Tensor | None = None
    kind: ClassVar[str] = "impersonate"

    def objective(self, model: Model, outputs: Tensor) -> VerificationObjective:
        """Return the objective for the clean embeddings (B, D) of a model."""
        return _verification(model, outputs, self)

    def part(self, rows: slice) -> Impersonate:
        """Return the goal of some of the images."""
        return replace(self, anchors=_some(self.anchors, rows), references=_some(self.references, rows))


@dataclass(frozen=True, eq=False)
class Evade:
    """Evade asks for a distance to the anchor at or above the threshold: no longer to be accepted.

    Its fields are those of ``Impersonate``.
    """

    anchors: Tensor
    threshold: float | None = None
    references: Tensor | None = None
    kind: ClassVar[str] = "evade"

    def objective(self, model: Model, outputs: Tensor) -> VerificationObjective:
        """Return the objective for the clean embeddings (B, D) of a model."""
        return _verification(model, outputs, self)

    def part(self, rows: slice) -> Evade:
        """Return the goal of some of the images."""
        return replace(self, anchors=_some(self.anchors, rows), references=_some(self.references, rows))


@dataclass(frozen=True, eq=False)
class VerificationObjective:
    """VerificationObjective asks for distances below the threshold, or at least it if not ``towards``."""

    anchors: Tensor  # (B, D)
    threshold: float
    correct: Tensor  # (B,)
    towards: bool
    distance: Callable[[Tensor, Tensor], Tensor]
    each: Callable[[Tensor, Tensor], Tensor] | None = None
    """The distances (B, V) of several views, such as image and mirror image, where that is their mean."""
    enrolled: Tensor | None = field(default=None, compare=False)  # (R, C, H, W)
    """The reference images, each of which may serve several cases."""
    enrolled_as: Tensor | None = field(default=None, compare=False)  # (B,)
    """Which of the reference images is that of each case."""

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

    @property
    def references(self) -> Tensor | None:
        """Return the reference images (B, C, H, W), if they are known."""
        return None if self.enrolled is None else self.enrolled[self.enrolled_as]

    def margin(self, outputs: Tensor) -> Tensor:
        gap = self.threshold - self.distances(outputs)
        return gap if self.towards else -gap

    def loss(self, outputs: Tensor) -> Tensor:
        return self.distances(outputs)

    def views(self, outputs: Tensor) -> Tensor:
        """Return (B, V) the distances of the model's views of each image; most models have one view."""
        if self.each is None:
            return self.distances(outputs)[:, None]
        with exact(outputs.device):
            return self.each(outputs, self.anchors)

    def reached(self, outputs: Tensor) -> Tensor:
        return (self.distances(outputs) < self.threshold) == self.towards

    def take(self, cases: Tensor) -> VerificationObjective:
        # The images stay where they are: attacks take cases in every step, and hardly ever look at them.
        own = None if self.enrolled_as is None else self.enrolled_as[cases]
        return replace(self, anchors=self.anchors[cases], correct=self.correct[cases], enrolled_as=own)

    def distances(self, outputs: Tensor) -> Tensor:
        """Return (B,) the distance of each embedding to the anchor of its case."""
        with exact(outputs.device):  # a distance may be a product, such as the cosine
            return self.distance(outputs, self.anchors)


def _some(values: Tensor | None, rows: slice) -> Any:
    """Return the values of some of the images; None, and one row for all images, stay."""
    return values if values is None or len(values) == 1 else values[rows]


def _verification(model: Model, outputs: Tensor, goal: Impersonate | Evade) -> VerificationObjective:
    anchors, kind = goal.anchors, goal.kind
    check_head(model, "embedding", kind)
    bound = model.threshold if goal.threshold is None else goal.threshold
    if bound is None:
        raise AttackError(f'goal "{kind}" needs a threshold: give one, or a model that has a calibrated one')
    if anchors.ndim != 2 or anchors.shape[1] != outputs.shape[1] or anchors.shape[0] not in (1, len(outputs)):
        raise AttackError(f"anchors have shape {tuple(anchors.shape)}; expected {tuple(outputs.shape)}")
    anchors = anchors.to(outputs).expand(len(outputs), -1)
    with exact(outputs.device):
        accepted = _distances(model, outputs, anchors) < bound
    towards = kind == "impersonate"
    enrolled, enrolled_as = _enrolled(goal.references, outputs)
    return VerificationObjective(
        anchors,
        bound,
        accepted != towards,
        towards,
        model.distance,
        getattr(model.distance, "each", None),
        enrolled,
        enrolled_as,
    )


def _enrolled(references: Tensor | None, outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the reference images (R, C, H, W), and which of them each case has (B,)."""
    if references is None:
        return None, None
    cases, count = len(outputs), len(references)
    if references.ndim != 4 or count not in (1, cases):
        raise AttackError(
            f"references have shape {tuple(references.shape)}; expected (1, C, H, W) or ({cases}, C, H, W)"
        )
    rows = torch.arange(cases, device=outputs.device)
    return references.to(outputs), rows if count == cases else torch.zeros_like(rows)


def _distances(model: Model, outputs: Tensor, anchors: Tensor) -> Tensor:
    """Return the distances (B,); refuse what is none, such as a similarity, which is largest at itself."""
    distances, own = model.distance(outputs, anchors), model.distance(outputs, outputs)
    if not isinstance(distances, Tensor) or distances.shape != (len(outputs),):
        shape = tuple(distances.shape) if isinstance(distances, Tensor) else type(distances).__name__
        raise ModelError(f"the distance of {len(outputs)} pairs of embeddings is {shape}, not (B,)")
    if (own > distances + 1e-4 * (1 + distances.abs())).any():
        raise ModelError(
            "the distance of an embedding to itself is larger than to another one, as that of a similarity; "
            "give a distance, such as 1 - cosine similarity"
        )
    return distances
