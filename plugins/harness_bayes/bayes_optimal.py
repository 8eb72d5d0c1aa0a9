"""The Bayes-optimal classifier chooses the class with the greater density (Richardson and Weiss 2021, 2).

With the densities from which the images were sampled, no classifier is better; with densities that were
fitted to images, it is the classifier of a generative model.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.randomness import derived_seed
from harness.training import Context, StateDict, Task
from harness_bayes.derived_buffers import DerivedBuffers
from harness_bayes.fitting import QUICK, MixtureRecipe, fit_mfa
from harness_bayes.mfa import PARTS, Mfa
from harness_bayes.mixture_data import MixtureDataset
from harness_bayes.two_class_images import TwoClassImages, check_task, two_class_images

PREFIXES = ("first_", "second_")
"""The prefixes of the buffers with the densities of class 0 and class 1."""


class BayesOptimal(DerivedBuffers[tuple[Mfa, Mfa]]):
    """BayesOptimal maps images (B, C, H, W) in [0, 1] to logits (B, 2), by mixtures with equal priors.

    Logits are the log densities minus the mean of the two, which changes neither a decision nor a softmax.
    Log densities of images are near 1e5, where float32 has a precision of hundredths; but their difference
    decides, and it is small where decisions change. Everything is computed in float64, under autocast too,
    and cast at the end.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        size = prod(shape)
        sizes = {"log_weights": (0,), "means": (0, size), "factors": (0, size, 0), "noise": (0, size)}
        for prefix in PREFIXES:
            for name in PARTS:
                self.hold(prefix + name, sizes[name], torch.float64)

    def derive(self) -> tuple[Mfa, Mfa]:
        """Return the densities of class 0 and class 1.

        Raises:
            ModelError: there are none yet, or the weights are not mixtures.
        """
        state = dict(self.named_buffers())
        if not len(state[PREFIXES[0] + "means"]):
            raise ModelError("bayes-optimal has no densities; train it, or load its weights")
        return Mfa.from_state(state, PREFIXES[0]), Mfa.from_state(state, PREFIXES[1])

    @property
    def component_classes(self) -> Tensor:
        """Return (P,) int64 the class of each component, those of class 0 first."""
        counts = torch.tensor([len(self.get_buffer(prefix + "means")) for prefix in PREFIXES])
        return torch.arange(2).repeat_interleave(counts).to(self.get_buffer(PREFIXES[0] + "means").device)

    def forward(self, x: Tensor) -> Tensor:
        joint, offset = self._scores(x)
        split = len(self.get_buffer(PREFIXES[0] + "means"))
        logits = torch.stack([joint[:, :split].logsumexp(1), joint[:, split:].logsumexp(1)], 1)
        return _cast(logits - offset, x)

    def components(self, x: Tensor) -> Tensor:
        """Return (B, P) log π_k + log N(x; component k), minus what ``forward`` subtracts for image b.

        The log-sum-exp over the components of a class is its logit.
        """
        joint, offset = self._scores(x)
        return _cast(joint - offset, x)

    def _scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log joint densities (B, P), and the mean (B, 1) of the log densities of both classes."""
        flat = x.flatten(1)
        parts = [density.log_joint(flat) for density in self.derived()]
        offset = torch.stack([part.logsumexp(1) for part in parts], 1).mean(1, keepdim=True)
        return torch.cat(parts, 1), offset


def build(task: Task) -> BayesOptimal:
    """Build the classifier without densities.

    Raises:
        ModelError: the task names another number of classes than two.
    """
    check_task(task)
    return BayesOptimal(task.shape)


def train(module: BayesOptimal, dataset: Dataset, context: Context) -> None:
    """Take the densities from which the images of the data set are sampled.

    Raises:
        ModelError: the data set has no densities.
    """
    if not isinstance(dataset, MixtureDataset):
        raise ModelError(
            f"bayes-optimal needs a data set with known densities, which {dataset.name} has not; use "
            'mfa-symmetric or mfa-asymmetric, or the model "mfa"'
        )
    _take(module, dataset.densities)
    context.report(1.0, "densities of the data set")


def train_mfa(
    module: BayesOptimal,
    dataset: Dataset,
    context: Context,
    *,
    images: Annotated[int, Ge(2)] | None = None,
    recipe: MixtureRecipe = QUICK,
    mirror: bool = False,
) -> None:
    """Fit a mixture of factor analysers to the training images of each class (appendix B.1).

    Args:
        images: the largest number of training images to use, the first of each class; None: all.
        recipe: the recipe for each class.
        mirror: whether mirror images are learned too, as the study does with faces.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set does not have two classes, or a class has too few images for such a mixture.
    """
    found = two_class_images(dataset, "train", images)
    shape = dataset.shape if mirror else None
    densities = []
    for side in (0, 1):
        index = np.flatnonzero(found.labels == side)
        make = partial(_fitted, found, index, side, recipe, shape, context)
        known = {**recipe.identity(len(index)), "mirror": shape}
        densities.append(
            Mfa.from_state(context.unit({"class": side, "count": len(index), **known}, make), "")
        )
    _take(module, (densities[0], densities[1]))
    context.report(1.0, "densities of both classes")


def _fitted(
    found: TwoClassImages,
    index: npt.NDArray[np.intp],
    side: int,
    recipe: MixtureRecipe,
    mirror: tuple[int, int, int] | None,
    context: Context,
) -> StateDict:
    """Fit the mixture of the images ``index`` (N,), all of one class; ``mirror`` is that of ``fit_mfa``."""

    def report(share: float, word: str) -> None:
        context.report((side + share) / 2, f"class {side}: {word}")

    vectors = torch.from_numpy(found.read(index)).flatten(1).float() / 255  # (N, D)
    seed = derived_seed(context.seed, "mixture", side)
    mixture = fit_mfa(vectors, recipe, seed=seed, device=context.device, report=report, mirror=mirror)
    return mixture.to("cpu").state("")


def example() -> MixtureDataset:
    """Return sixty images of 1 x 16 x 16 pixels, sampled from two mixtures, for the contract kit."""
    shape, number = (1, 16, 16), 60
    draws = torch.Generator().manual_seed(0)

    def drawn(*size: int) -> Tensor:
        return torch.randn(size, generator=draws, dtype=torch.float64)

    dimension = prod(shape)
    noise = torch.full((2, dimension), 0.1**2, dtype=torch.float64)
    weights = torch.tensor([0.4, 0.6], dtype=torch.float64).log()
    densities = [
        Mfa(weights, 0.5 + 0.1 * drawn(2, dimension), 0.05 * drawn(2, dimension, 3), noise) for _ in range(2)
    ]
    labels = torch.arange(number) % 2
    component = torch.arange(number) // 2 % 2
    z, eta = drawn(number, 3), drawn(number, dimension)
    both = [density.generate(component, z, eta) for density in densities]
    vectors = torch.where(labels[:, None] == 0, both[0], both[1])
    images = (vectors.clamp(0, 1) * 255).round().view(-1, *shape)
    pixels = images.to(torch.uint8).numpy()
    return MixtureDataset(
        name="two mixtures",
        ids=[f"{row:03}" for row in range(number)],
        shape=shape,
        read=lambda rows: pixels[rows],
        fingerprint="two mixtures",
        labels=labels.numpy(),
        class_names=("first", "second"),
        partitions=np.repeat(["train", "validation", "test"], number // 3),
        densities=(densities[0], densities[1]),
        manifolds=(densities[0], densities[1]),
    )


def _take(module: BayesOptimal, densities: tuple[Mfa, Mfa]) -> None:
    module.take(
        {
            name: tensor
            for prefix, density in zip(PREFIXES, densities, strict=True)
            for name, tensor in density.state(prefix).items()
        }
    )


def _cast(scores: Tensor, x: Tensor) -> Tensor:
    return scores if x.dtype == torch.float64 else scores.float()
