"""``Impersonate`` asks to be accepted as another person, ``Evade`` not to be accepted as oneself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    every case. If ``threshold`` is None, the model's calibrated threshold is used. ``references``
    (B, C, H, W), or (1, C, H, W) for all, are the reference images themselves, where they are known: attacks
    that need a start which reaches the goal begin there.
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

    The fields are those of ``Impersonate``.
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
    references: Tensor | None = None  # (B, C, H, W) the images of the anchors, where they are known

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
        gap = self.threshold - self.distances(outputs)
        return gap if self.towards else -gap

    def loss(self, outputs: Tensor) -> Tensor:
        return self.distances(outputs)

    def reached(self, outputs: Tensor) -> Tensor:
        return (self.distances(outputs) < self.threshold) == self.towards

    def take(self, cases: Tensor) -> VerificationObjective:
        references = None if self.references is None else self.references[cases]
        return replace(self, anchors=self.anchors[cases], correct=self.correct[cases], references=references)

    def distances(self, outputs: Tensor) -> Tensor:
        """Return (B,) the distance of each embedding to the anchor of its case."""
        with exact(outputs.device):  # a distance may be a product, such as the cosine
            return self.distance(outputs, self.anchors)


def _verification(model: Model, outputs: Tensor, goal: Impersonate | Evade) -> VerificationObjective:
    check_head(model, "embedding", goal.kind)
    anchors = goal.anchors
    bound = model.threshold if goal.threshold is None else goal.threshold
    if bound is None:
        raise AttackError(
            f'goal "{goal.kind}" needs a threshold: give one, or a model that has a calibrated one'
        )
    if anchors.ndim != 2 or anchors.shape[1] != outputs.shape[1] or anchors.shape[0] not in (1, len(outputs)):
        raise AttackError(f"anchors have shape {tuple(anchors.shape)}; expected {tuple(outputs.shape)}")
    anchors = anchors.to(outputs).expand(len(outputs), -1)
    references = goal.references
    if references is not None:
        if references.ndim != 4 or len(references) not in (1, len(outputs)):
            raise AttackError(
                f"references have shape {tuple(references.shape)}; expected (B, C, H, W) with {len(outputs)} "
                "or one image"
            )
        references = references.to(outputs).expand(len(outputs), -1, -1, -1)
    with exact(outputs.device):
        accepted = _distances(model, outputs, anchors) < bound
    towards = goal.kind == "impersonate"
    return VerificationObjective(anchors, bound, accepted != towards, towards, model.distance, references)


def _some(values: Any, rows: slice) -> Any:
    """Return the entries of some images; None, and a single entry for all images, stay."""
    return values if values is None or len(values) == 1 else values[rows]


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
