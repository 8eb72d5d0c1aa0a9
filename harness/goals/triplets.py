"""``Triplet`` asks that an image be no longer nearer to its person than another person is, by a margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from harness.errors import AttackError
from harness.goals.objective import check_head
from harness.precision import exact

if TYPE_CHECKING:
    from harness.model import Model


@dataclass(frozen=True, eq=False)
class Triplet:
    """Triplet asks for d(a, p) + margin >= d(a, n): that the positive p of an anchor a be taken for no match.

    The attacked image is the positive: then ``anchors`` (B, D) are embeddings of a. Or it is the anchor
    (``moving``): then ``anchors`` are embeddings of p. ``negatives`` (B, D) are those of n. ``margin`` is in
    the model's distance. ``references`` are images (B, C, H, W) that reach the goal, such as those of n.
    """

    anchors: Tensor
    negatives: Tensor
    margin: float = 0.2
    moving: bool = False
    references: Tensor | None = None
    kind: ClassVar[str] = "triplet"

    def objective(self, model: Model, outputs: Tensor) -> TripletObjective:
        """Return the objective for the clean embeddings (B, D) of a model.

        Raises:
            AttackError: the model has no embeddings, or anchors or negatives are not one for each image.
        """
        check_head(model, "embedding", self.kind)
        for what, given in (("anchors", self.anchors), ("negatives", self.negatives)):
            if given.shape != outputs.shape:
                raise AttackError(f"{what} have shape {tuple(given.shape)}; expected {tuple(outputs.shape)}")
        anchors, negatives = self.anchors.to(outputs), self.negatives.to(outputs)
        with exact(outputs.device):
            far = None if self.moving else model.distance(negatives, anchors)
        found = TripletObjective(
            anchors,
            negatives,
            self.margin,
            torch.ones(len(outputs), dtype=torch.bool, device=outputs.device),
            model.distance,
            far,
            None if self.references is None else self.references.to(outputs),
            torch.arange(len(outputs), device=outputs.device),
        )
        return replace(found, correct=~found.reached(outputs))

    def part(self, rows: slice) -> Triplet:
        """Return the goal of some of the images."""
        own = None if self.references is None else self.references[rows]
        return replace(self, anchors=self.anchors[rows], negatives=self.negatives[rows], references=own)


@dataclass(frozen=True, eq=False)
class TripletObjective:
    """TripletObjective asks that an embedding be at least as far as the negative, less the margin."""

    anchors: Tensor  # (B, D)
    negatives: Tensor  # (B, D)
    bound: float
    """The margin of the triplets, which is no margin of the goal."""
    correct: Tensor  # (B,)
    distance: Callable[[Tensor, Tensor], Tensor]
    far: Tensor | None
    """(B,) the distance of anchor and negative; None where it is the anchor that is attacked."""
    enrolled: Tensor | None = field(default=None, compare=False)  # (R, C, H, W)
    """Images that reach the goals."""
    enrolled_as: Tensor | None = field(default=None, compare=False)  # (B,)
    """Which of these images is that of each case."""

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def ascend(self) -> Tensor:
        return torch.ones_like(self.correct)

    @property
    def columns(self) -> None:
        return None

    @property
    def groups(self) -> Tensor:
        groups: Tensor = torch.unique(self.anchors, dim=0, return_inverse=True)[1]
        return groups

    @property
    def references(self) -> Tensor | None:
        """Return images (B, C, H, W) that reach the goal, if they are known."""
        return None if self.enrolled is None else self.enrolled[self.enrolled_as]

    def margin(self, outputs: Tensor) -> Tensor:
        with exact(outputs.device):
            far = self.distance(outputs, self.negatives) if self.far is None else self.far
        return self.distances(outputs) + self.bound - far

    def loss(self, outputs: Tensor) -> Tensor:
        return self.margin(outputs).clamp_min(0)

    def reached(self, outputs: Tensor) -> Tensor:
        return ~(self.margin(outputs) < 0)

    def distances(self, outputs: Tensor) -> Tensor:
        """Return (B,) the distance of each embedding to that of the same person."""
        with exact(outputs.device):  # a distance may be a product, such as the cosine
            return self.distance(outputs, self.anchors)

    def take(self, cases: Tensor) -> TripletObjective:
        kept: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[cases]
            for name in ("anchors", "negatives", "correct", "far", "enrolled_as")
        }
        return replace(self, **kept)
