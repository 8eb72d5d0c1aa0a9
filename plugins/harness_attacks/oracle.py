"""Oracle: whether images, as they would be stored, reach their goals; never in less than float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.goals import Objective
from harness.model import Handle

NOISE = 1e-5
"""By how much a decision must hold, for scores of size 1. A search ends where the score is all but 0, and
the last bits of a float32 score depend on the batch: the judge, who asks in others, must not disagree."""


@dataclass(frozen=True, eq=False)
class Oracle:
    """By how much images reach the goals of their cases."""

    model: Handle
    """Focused on the objective."""
    objective: Objective
    trust: float = float("inf")
    """By how much a goal must be missed in the model's own precision, where that is not float32, for the
    answer to be believed."""

    def margin(self, cases: Tensor, images: Tensor) -> Tensor:
        """(K,) in float32 for images (K, C, H, W) of ``cases``; positive where the goal is reached."""
        return self._ask(self.model.precise(), cases, images)

    def first_margin(self, cases: Tensor, images: Tensor) -> Tensor:
        """(K,) like ``margin``, but where the goal is missed by far in the model's own precision, in that.

        What is close, or looks as if it reached the goal, is asked again in float32.
        """
        if is_exact(self.model) or self.trust == float("inf"):
            return self.margin(cases, images)
        margin = self._ask(self.model, cases, images)
        doubtful = torch.nonzero(~(margin < -self.trust)).flatten()
        if len(doubtful):
            margin[doubtful] = self.margin(cases[doubtful], images[doubtful])
        return margin

    def _ask(self, model: Handle, cases: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            outputs = model.take(cases)(images)
        return decisive(self.objective.take(cases), outputs).to(images)


def decisive(objective: Objective, outputs: Tensor) -> Tensor:
    """(B,) the margin beyond ``NOISE`` of outputs (B, M), positive only where the goal is reached."""
    margin = objective.margin(outputs) - NOISE
    return torch.where(objective.reached(outputs), margin, -margin.abs())


def is_exact(model: Handle) -> bool:
    """Whether the model's own passes are float32 already."""
    return model.compute == "float32"
