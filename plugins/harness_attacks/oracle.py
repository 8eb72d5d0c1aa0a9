"""Oracle: whether images, as they would be stored, reach their goals; what counts is float32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from harness.goals import Objective
from harness.handle import Handle

NOISE = 1e-5
"""By how much a decision must hold, for scores of size 1. A search ends where the score is all but 0, and
the last bits of a float32 score depend on the batch: the judge, who asks in others, must not disagree."""


@dataclass(frozen=True, eq=False)
class Oracle:
    """By how much images reach the goals of their cases."""

    model: Handle
    """Focused on the objective."""
    objective: Objective
    trust: float = inf
    """Where the model's own precision is not float32: by how much a goal must be reached or missed in that
    precision for the answer to be believed on the way."""

    @property
    def is_exact(self) -> bool:
        """Whether every answer is of float32."""
        return is_exact(self.model) or self.trust == inf

    def margin(self, cases: Tensor, images: Tensor) -> Tensor:
        """(K,) in float32 for images (K, C, H, W) of ``cases``; positive where the goal is reached."""
        return self._ask(self.model.precise(), cases, images)

    def rough_margin(self, cases: Tensor, images: Tensor, expected: Tensor | None = None) -> Tensor:
        """(K,) like ``margin``, but in the model's own precision where that leaves no doubt.

        Args:
            expected: (K,) what the caller foresees; where that is doubtful, float32 is asked at once.
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
        """The same, with all answers of float32."""
        return replace(self, trust=inf)

    def take(self, cases: Tensor) -> Oracle:
        """Of the given cases (K,) only, which are then counted from 0."""
        return replace(self, model=self.model.take(cases), objective=self.objective.take(cases))

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
