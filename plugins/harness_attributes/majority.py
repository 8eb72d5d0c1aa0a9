"""The trivial classifier returns each attribute's more frequent training value (Rozsa et al., Fig. 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training import Context, Task
from harness_attributes.recipe import attribute_columns, chosen_attributes


class Majority(nn.Module):
    """Majority maps images (B, C, H, W) in [0, 1] to scores (B, M) that are the same for every image."""

    scores: Tensor

    def __init__(self, attribute_names: tuple[str, ...]) -> None:
        super().__init__()
        self.attribute_names = attribute_names
        self.register_buffer("scores", -torch.ones(len(attribute_names)))  # (M,)

    def forward(self, x: Tensor) -> Tensor:
        # Attacks differentiate scores, so the pixels must be in the graph; their weight is 0.
        return self.scores + 0 * x.flatten(1).mean(1, keepdim=True)  # (B, M)

    def training_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the squared error (B, M) of scores and labels, -1 or +1, as for the networks (eq. 1)."""
        return (scores - labels).square()


def build(task: Task, *, attributes: list[str] | None = None) -> Majority:
    """Build the classifier before training, for which every attribute is absent.

    Args:
        attributes: the attributes of the model, in this order; None: all of the task.

    Raises:
        ModelError: the task has no attributes, or not those.
    """
    return Majority(chosen_attributes(attributes, task.attribute_names))


def train(module: Majority, dataset: Dataset, context: Context) -> None:
    """Set each score to +1 if more than half of the training images have the attribute, else to -1.

    Raises:
        DatasetError: the data set has no training set.
        ModelError: the data set has no attributes, or not those of the model.
    """
    columns = attribute_columns(dataset, module.attribute_names)
    rows = dataset.rows("train")
    if dataset.attributes is None:
        raise ModelError(f"{dataset.name} has no attributes to count")
    present = dataset.attributes[rows][:, columns].sum(0)  # (M,)
    module.scores.copy_(torch.from_numpy(2 * present > len(rows)) * 2.0 - 1)
    context.report(1.0, f"{len(rows)} images counted")
