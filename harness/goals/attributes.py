"""``FlipAttribute`` asks for the decision on one attribute per image to change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from harness.goals.objective import Loss, check_head, numbers, per_case, some_rows

if TYPE_CHECKING:
    from harness.model import Model


@dataclass(frozen=True, eq=False)
class FlipAttribute:
    """FlipAttribute asks for the opposite decision on one attribute per case.

    ``labels`` (B,) are the true labels, if known: present where > 0. A misclassified image is a case too:
    flipping its decision corrects it (a natural adversarial). Without labels, every decision counts as
    correct.
    """

    indices: Tensor
    labels: Tensor | None = None
    kind: ClassVar[str] = "flip"

    def objective(self, model: Model, outputs: Tensor) -> FlipObjective:
        """Return the objective for the clean scores (B, M) of a model."""
        check_head(model, "attributes", self.kind)
        columns = numbers(self.indices, outputs, "attribute")
        present = outputs.gather(1, columns[:, None])[:, 0] > 0
        labels = present if self.labels is None else per_case(self.labels, outputs) > 0
        return FlipObjective(columns, present, labels, model.training_loss)

    def part(self, rows: slice) -> FlipAttribute:
        """Return the goal of some of the images."""
        return replace(self, indices=some_rows(self.indices, rows), labels=some_rows(self.labels, rows))


@dataclass(frozen=True, eq=False)
class FlipObjective:
    """FlipObjective asks for the opposite of ``present[b]``, the decision on attribute ``columns[b]``."""

    columns: Tensor  # (B,)
    present: Tensor  # (B,) the clean decision
    labels: Tensor  # (B,) the true label
    training_loss: Loss

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def correct(self) -> Tensor:
        return self.present == self.labels

    @property
    def ascend(self) -> Tensor:
        # A wrong decision becomes the opposite one by descending the loss on the true label.
        return self.correct

    @property
    def groups(self) -> Tensor:
        return 2 * self.columns + self.present.long()

    def scores(self, outputs: Tensor) -> Tensor:
        """Return (B,) the score of each case's attribute."""
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
