"""MOON is one network with a score per attribute, trained on all of them at once (Rozsa et al., eq. 4)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training import Context, StateDict, Task
from harness_attributes.recipe import Recipe, attribute_columns, fit
from harness_attributes.state import Checkpoint, train_part
from harness_attributes.vgg import FACE_MEAN, Architecture, build_vgg

QUICK = Recipe(epochs=8, batch_size=64)


class Moon(nn.Module):
    """A Moon (mixed objective optimization network) maps images (B, C, H, W) in [0, 1] to scores (B, M)."""

    def __init__(self, network: nn.Module, attribute_names: tuple[str, ...], design: dict[str, Any]) -> None:
        """Wrap a network; ``design`` holds all parameters that decide its architecture."""
        super().__init__()
        self.network = network
        self.attribute_names = attribute_names
        self.design = design

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network(x)  # (B, M)
        return scores

    def training_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the squared error (B, M) of scores and labels, -1 or +1; eq. 4 sums it over attributes."""
        return (scores - labels).square()


def build(
    task: Task,
    *,
    architecture: Architecture = "narrow-vgg",
    width: int = 16,
    depth: int | None = 2,
    dropout: float = 0.0,
    mean: tuple[float, float, float] = FACE_MEAN,
) -> Moon:
    """Build an untrained MOON for all attributes of the task.

    Args:
        architecture: "vgg-16" is the published one, with a width of 64.
        width: the channels of the first convolutions.
        depth: the convolutions between two poolings; None: the published 2, 2, 3, 3 and 3.
        dropout: the share of inputs that training leaves out before fully connected layers.
        mean: the values of red, green and blue, from 0 to 255, that the model subtracts from its images.
    """
    names = task.attribute_names
    if not names:
        raise ModelError("MOON needs a data set with attributes")
    design: dict[str, Any] = {
        "architecture": architecture,
        "shape": task.shape,
        "outputs": len(names),
        "width": width,
        "depth": depth,
        "dropout": dropout,
        "mean": mean,
    }
    return Moon(build_vgg(**design), names, design)


def train(
    module: Moon,
    dataset: Dataset,
    context: Context,
    *,
    balanced: bool = False,
    target_rate: float = 0.5,
    recipe: Recipe = QUICK,
    checkpoint: Checkpoint = "converged",
) -> None:
    """Train all attributes at once, in place.

    Args:
        balanced: reduce the loss on each attribute's more frequent value, as in Rudd et al. 2016; the
            published eq. 4 does not.
        target_rate: the share of images with the attribute that balancing simulates.
        checkpoint: "converged", or a number of epochs: then the weights are those after so many epochs of the
            same training, or the converged ones if it has converged before.
    """
    columns = attribute_columns(dataset, module.attribute_names)
    weights = None
    if balanced and dataset.attributes is not None:
        weights = balancing_weights(dataset.attributes[dataset.rows("train")][:, columns], target_rate)

    def make(state: Path | None) -> StateDict:
        fit(
            module,
            module.training_loss,
            dataset,
            columns,
            recipe,
            context,
            weights=weights,
            checkpoint=checkpoint,
            state=state,
        )
        return dict(module.state_dict())

    identity = {**module.design, "balanced": balanced, "target_rate": target_rate, **asdict(recipe)}
    module.load_state_dict(train_part(context, identity, checkpoint, make))
    module.eval()


def balancing_weights(present: npt.NDArray[np.bool_], target_rate: float = 0.5) -> Tensor:
    """Return factors (2, M) of the loss for absent [0] and present [1] attributes (Rudd et al. 2016, eq. 4).

    S⁺, S⁻ = 1 − S⁺ are the source rates of the training set, T⁺, T⁻ = 1 − T⁺ the target rates. If an
    attribute is too frequent, the factor is S⁻T⁺ / (S⁺T⁻) when present and 1 when absent; otherwise
    S⁺T⁻ / (S⁻T⁺) when absent and 1 when present. If all images have it, or none, both factors are 1.

    Args:
        present: (N, M) the attributes of the training set.
        target_rate: T⁺, the share of images with the attribute that training simulates.
    """
    source = present.mean(0)  # (M,)
    mixed = (source > 0) & (source < 1)
    source = np.where(mixed, source, target_rate)
    odds = (1 - source) * target_rate / (source * (1 - target_rate))
    weights = np.stack([np.minimum(1 / odds, 1), np.minimum(odds, 1)])
    return torch.from_numpy(weights.astype(np.float32))
