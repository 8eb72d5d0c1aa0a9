"""An Oracle tells whether rounded images reach their goals, in float32 where this matters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from harness.goals import Objective
from harness.handle import Handle

NOISE = 1e-5
"""The margin that a decision must have, for scores of size 1. A search ends near a score of 0, and the last
bits of a float32 score depend on the batch; the judge, with other batches, must come to the same decision."""


@dataclass(frozen=True, eq=False)
class Oracle:
    """An Oracle computes the margins by which images reach the goals of their cases."""

    model: Handle
    """The handle, focused on the objective."""
    objective: Objective
    trust: float = inf
    """The absolute margin above which a result in reduced precision is used during a search, without a
    second pass in float32."""
    confidence: float = 0.0
    """What a margin must exceed for the goal to count as reached; it is subtracted from every margin."""

    @property
    def is_exact(self) -> bool:
        """Tell whether every margin is computed in float32."""
        return is_exact(self.model) or self.trust == inf

    def margin(self, cases: Tensor, images: Tensor) -> Tensor:
        """Return (K,) float32 margins of images (K, C, H, W) of ``cases``, less the confidence.

        Where they are positive, the goal is reached.
        """
        return self._ask(self.model.precise(), cases, images)

    def rough_margin(self, cases: Tensor, images: Tensor, expected: Tensor | None = None) -> Tensor:
        """Return (K,) margins in the model's own precision, and in float32 only where that is too near to 0.

        Args:
            expected: (K,) the margins that the caller expects; near 0, float32 is used at once.
        """
        if self.is_exact:
            return self.margin(cases, images)
        margin = images.new_zeros(len(cases))
        far = torch.arange(len(cases), device=cases.device)
        if expected is not None:
            far = torch.nonzero(~(expected.abs() <= 2 * self.trust)).flatten()
        if len(far):
            margin[far] = self._ask(self.model, cases[far], images[far])
        doubtful = torch.nonzero(~(margin.abs() > self.trust)).flatten()
        if len(doubtful):
            margin[doubtful] = self.margin(cases[doubtful], images[doubtful])
        return margin

    def exact(self) -> Oracle:
        """Return the oracle that computes every margin in float32."""
        return replace(self, trust=inf)

    def take(self, cases: Tensor) -> Oracle:
        """Return the oracle of the given cases (K,), which are then counted from 0."""
        return replace(self, model=self.model.take(cases), objective=self.objective.take(cases))

    def _ask(self, model: Handle, cases: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            outputs = model.take(cases)(images)
        return (decisive(self.objective.take(cases), outputs) - self.confidence).to(images)


def decisive(objective: Objective, outputs: Tensor) -> Tensor:
    """Return (B,) the margin beyond ``NOISE`` of outputs (B, M), positive only where the goal is reached."""
    margin = objective.margin(outputs) - NOISE
    return torch.where(objective.reached(outputs), margin, -margin.abs())


def is_exact(model: Handle) -> bool:
    """Tell whether the handle's own passes are in float32."""
    return model.compute == "float32"
