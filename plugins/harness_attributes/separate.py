"""Separate networks, one VGG per attribute, form one model (Rozsa et al., section 2.1, eq. 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.dataset import Dataset
from harness.randomness import derived_seed
from harness.training import Context, StateDict, Task
from harness_attributes.recipe import Recipe, attribute_columns, chosen_attributes, fit
from harness_attributes.state import Checkpoint, train_part
from harness_attributes.vgg import FACE_MEAN, Architecture, build_vgg

Loss = Literal["euclidean", "softmax"]
QUICK = Recipe(epochs=5, batch_size=32)


class Separate(nn.Module):
    """A Separate has M networks of one output each, from images (B, C, H, W) in [0, 1] to scores (B, M).

    The gradient of an attribute's score passes through the network of that attribute only.
    """

    def __init__(
        self, attribute_names: tuple[str, ...], make: Callable[[], nn.Module], design: dict[str, Any]
    ) -> None:
        """Make the networks; ``make`` returns an untrained one, and ``design`` holds its parameters."""
        super().__init__()
        self.attribute_names = attribute_names
        self.make = make
        self.design = design
        self.networks = nn.ModuleList(make() for _ in attribute_names)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.score(network(x)) for network in self.networks], dim=1)  # (B, M)

    def select(self, x: Tensor, columns: Tensor) -> Tensor:
        """Return (B,) the score of attribute ``columns[b]`` of image b; no other network sees that image."""
        return self.score(self._route(x, columns))[:, 0]

    def score(self, outputs: Tensor) -> Tensor:
        """Return (B, 1) the scores of one network's outputs; an attribute is present where they are > 0."""
        return outputs

    def training_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the elementwise squared error of scores and labels, -1 or +1 (eq. 1)."""
        return (scores - labels).square()

    def _route(self, x: Tensor, columns: Tensor) -> Tensor:
        """Return the outputs (B, 1) or (B, 2) of network ``columns[b]`` for image b."""
        order = columns.argsort(stable=True)  # images by network
        counts = columns.bincount(minlength=len(self.networks)).tolist()
        groups = zip(self.networks, torch.split(x[order], counts), strict=True)
        # Networks without images do not run, except for an empty batch, whose outputs need a shape.
        outputs = [network(images) for network, images in groups if len(images) or not len(x)]
        return torch.cat(outputs)[order.argsort()]


class SeparateSoftmax(Separate):
    """A SeparateSoftmax has two logits, absent and present, per network; the score is their difference."""

    def score(self, outputs: Tensor) -> Tensor:
        return outputs[:, 1:] - outputs[:, :1]

    def logits(self, x: Tensor, columns: Tensor) -> Tensor:
        """Return (B, 2) the logits, absent and present, of attribute ``columns[b]`` of image b."""
        return self._route(x, columns)

    def training_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the elementwise cross-entropy of the softmax over both logits; labels are -1 or +1."""
        return F.softplus(-labels * scores)


def build(
    task: Task,
    *,
    attributes: list[str] | None = None,
    loss: Loss = "euclidean",
    architecture: Architecture = "narrow-vgg",
    width: int = 8,
    depth: int | None = 1,
    dropout: float = 0.0,
    mean: tuple[float, float, float] = FACE_MEAN,
) -> Separate:
    """Build untrained networks for the attributes.

    Args:
        attributes: the attributes of the model, in this order; None: all of the task.
        loss: "euclidean" has one linear output per network, "softmax" two logits.
        architecture: "vgg-16" is the published one, with a width of 64.
        width: the channels of the first convolutions.
        depth: the convolutions between two poolings; None: the published 2, 2, 3, 3 and 3.
        dropout: the share of inputs that training leaves out before fully connected layers.
        mean: the values of red, green and blue, from 0 to 255, that the model subtracts from its images.
    """
    names = chosen_attributes(attributes, task.attribute_names)
    design: dict[str, Any] = {
        "architecture": architecture,
        "shape": task.shape,
        "outputs": 2 if loss == "softmax" else 1,
        "width": width,
        "depth": depth,
        "dropout": dropout,
        "mean": mean,
    }
    kind = SeparateSoftmax if loss == "softmax" else Separate
    return kind(names, partial(build_vgg, **design), {"loss": loss, **design})


def train(
    module: Separate,
    dataset: Dataset,
    context: Context,
    *,
    recipe: Recipe = QUICK,
    checkpoint: Checkpoint = "converged",
) -> None:
    """Train the network of each attribute, in place.

    Every network is a part of its own, and depends only on the seed and the name of its attribute: more
    attributes do not change it.

    Args:
        checkpoint: "converged", or a number of epochs: then the weights are those after so many epochs of the
            same training (section 3.3 compares two epochs with convergence), or the converged ones of a
            network that has converged before.
    """
    module.to(context.device)
    columns = attribute_columns(dataset, module.attribute_names)
    for position, name in enumerate(module.attribute_names):

        def report(share: float, word: str, position: int = position, name: str = name) -> None:
            context.report((position + share) / len(columns), f"{name}: {word}")

        own = replace(context, seed=derived_seed(context.seed, name), report=report)
        make = partial(
            _trained, module, dataset, columns[position : position + 1], recipe, own, checkpoint=checkpoint
        )
        identity = {"attribute": name, **module.design, **asdict(recipe)}
        module.networks[position].load_state_dict(train_part(context, identity, checkpoint, make))
        report(1.0, "done")
    module.eval()


def _trained(
    module: Separate,
    dataset: Dataset,
    columns: npt.NDArray[np.intp],
    recipe: Recipe,
    context: Context,
    state: Path | None,
    *,
    checkpoint: Checkpoint,
) -> StateDict:
    """Train a new network for one attribute, and return its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        network = module.make()

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return module.training_loss(module.score(outputs), labels)

    fit(network, loss, dataset, columns, recipe, context, checkpoint=checkpoint, state=state)
    return dict(network.state_dict())
