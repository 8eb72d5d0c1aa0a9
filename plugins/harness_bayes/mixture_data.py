"""mfa-symmetric and mfa-asymmetric: images of two known mixtures (section 2.1, appendix B.2).

The prior of both classes is one half. Symmetric: all noise has one small variance. Asymmetric: each class
also has an outlier, a wide spherical Gaussian beside the mean of all images. Not far off the other components
its density is the larger one, and decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness.dataset import Dataset, UInt8Images
from harness.errors import DatasetError
from harness.training import StateDict
from harness_bayes.class_mixtures import ClassMixtures
from harness_bayes.class_pair import Rows
from harness_bayes.drawn_images import DrawnImages
from harness_bayes.image_plan import ImagePlan, TestedOn
from harness_bayes.mfa import Mfa

Count = Annotated[int, Ge(0)]
LARGEST_CLIP = 2.0
"""Below the 2.6 at which outliers of fifty times the noise take over, and above what most images need."""
_AT_ONCE = 256  # images that are read for annotations


@dataclass(frozen=True, eq=False, kw_only=True)
class MixtureDataset(Dataset):
    """Images of two classes whose densities are known, but for clipping and rounding."""

    densities: tuple[Mfa, Mfa]
    """Of class 0 and class 1, which are equally frequent."""
    manifolds: tuple[Mfa, Mfa]
    """The same without outliers."""


def load_symmetric(
    source: Dataset,
    weights: StateDict | None,
    *,
    attribute: str | None = None,
    pair: list[str] | None = None,
    train: Count = 20_000,
    validation: Count = 1000,
    test: Count = 1000,
    tested_on: TestedOn = "samples",
    sigma: Annotated[float, Ge(1e-6)] = 0.01,
    largest_clip: Annotated[float, Gt(0)] = LARGEST_CLIP,
    seed: Count = 0,
) -> Dataset:
    """Two classes of images between which the optimal classifier is robust.

    Args:
        source: what the mixtures are learned from.
        weights: the mixtures.
        attribute: class 0 are images without it, class 1 those with it.
        pair: or the names of two of the source's classes.
        train: images to train on.
        validation: images to validate on.
        test: images to attack; where they are real, at most.
        tested_on: whether these are drawn like the others, or are the source's own test images, as many of
            either class.
        sigma: deviation of the noise of every pixel, images being in [0, 1].
        largest_clip: by how much clipping to [0, 1] may move a sample, as the root mean square over its
            pixels in units of ``sigma``; samples that lie further out are drawn again. inf takes all.
        seed: another seed, other images.

    Raises:
        DatasetError: the parameters name no two classes of images, or no image.
        ModelError: the weights are no such mixtures.
    """
    parameters = {
        "attribute": attribute,
        "pair": pair,
        "train": train,
        "validation": validation,
        "test": test,
        "tested_on": tested_on,
        "sigma": sigma,
        "largest_clip": largest_clip,
        "seed": seed,
    }
    plan = ImagePlan.of("mfa-symmetric", source, parameters)
    if weights is None:
        return _unfitted(plan)
    both = _symmetric(ClassMixtures.from_state(weights, int(np.prod(source.shape))), sigma)
    return _drawn(plan, weights, both, both)


def load_asymmetric(
    source: Dataset,
    weights: StateDict | None,
    *,
    attribute: str | None = None,
    pair: list[str] | None = None,
    train: Count = 20_000,
    validation: Count = 1000,
    test: Count = 1000,
    tested_on: TestedOn = "samples",
    sigma: Annotated[float, Ge(1e-6)] = 0.01,
    largest_clip: Annotated[float, Gt(0)] = LARGEST_CLIP,
    outlier_sigma: Annotated[float, Ge(1e-6)] = 0.5,
    outlier_offset: Annotated[float, Gt(0)] = 2.0,
    outlier_weight: Annotated[float, Gt(0), Lt(1)] | None = None,
    seed: Count = 0,
) -> Dataset:
    """Two classes of images between which the optimal classifier is vulnerable.

    Args:
        source: as of ``load_symmetric``, like all that is not here.
        weights: the mixtures.
        attribute: class 0 are images without it, class 1 those with it.
        pair: or the names of two of the source's classes.
        train: images to train on.
        validation: images to validate on.
        test: images to attack; where they are real, at most.
        tested_on: "samples" or "real".
        sigma: deviation of the noise of every pixel, outliers excepted.
        largest_clip: as of ``load_symmetric``, outliers excepted. Clipping that moves a sample 2.6 times as
            far as its noise makes it an outlier's.
        outlier_sigma: deviation of the noise of an outlier's pixels.
        outlier_offset: L2 distance of the outliers' means from the mean of all images, along the axis of low
            variance; class 0 has the positive side. Not published. Four outlier deviations tell the two
            outliers apart nearly always, and more would only move images of noise away from the boundary.
        outlier_weight: share of an outlier in its class. Not published; where it is not given, that of one
            component among equals, 1 / (K + 1), as in the premise of theorem 1.
        seed: another seed, other images.

    Raises:
        DatasetError: the parameters name no two classes of images, or no image.
        ModelError: the weights are no such mixtures.
    """
    parameters = {
        "attribute": attribute,
        "pair": pair,
        "train": train,
        "validation": validation,
        "test": test,
        "tested_on": tested_on,
        "sigma": sigma,
        "largest_clip": largest_clip,
        "outlier_sigma": outlier_sigma,
        "outlier_offset": outlier_offset,
        "outlier_weight": outlier_weight,
        "seed": seed,
    }
    plan = ImagePlan.of("mfa-asymmetric", source, parameters)
    if weights is None:
        return _unfitted(plan)
    learned = ClassMixtures.from_state(weights, int(np.prod(source.shape)))
    manifolds = _symmetric(learned, sigma)
    offset = outlier_offset * learned.axis
    densities = (
        _with_outlier(manifolds[0], learned.mean + offset, outlier_sigma, outlier_weight),
        _with_outlier(manifolds[1], learned.mean - offset, outlier_sigma, outlier_weight),
    )
    return _drawn(plan, weights, densities, manifolds)


def _symmetric(learned: ClassMixtures, sigma: float) -> tuple[Mfa, Mfa]:
    first, second = (
        Mfa(one.log_weights, one.means, one.factors, torch.full_like(one.noise, sigma**2))
        for one in learned.mixtures
    )
    return first, second


def _with_outlier(mixture: Mfa, mean: Tensor, sigma: float, weight: float | None) -> Mfa:
    """A mixture and a spherical Gaussian around ``mean`` (D,)."""
    outlier = Mfa(
        mean.new_zeros(1),
        mean[None],
        mean.new_zeros(1, len(mean), 0),
        mean.new_full((1, len(mean)), sigma**2),
    )
    return mixture.joined(outlier, weight or 1 / (len(mixture.log_weights) + 1))


def _unfitted(plan: ImagePlan) -> Dataset:
    """All that there is before the mixtures are learned."""

    def read(rows: Rows) -> UInt8Images:
        raise DatasetError(f"{plan.name} has no images before its mixtures are fitted")

    return Dataset(read=read, fingerprint=plan.fingerprint(None), **plan.fields())


def _drawn(
    plan: ImagePlan, weights: StateDict, densities: tuple[Mfa, Mfa], manifolds: tuple[Mfa, Mfa]
) -> MixtureDataset:
    limit = plan.parameters["largest_clip"] * plan.parameters["sigma"] * math.sqrt(np.prod(plan.source.shape))
    outliers = len(densities[0].log_weights) - len(manifolds[0].log_weights)
    images = DrawnImages(densities, plan.source.shape, plan.parameters["seed"], limit, outliers)
    fields = plan.fields()

    def read(rows: Rows) -> UInt8Images:
        rows = np.asarray(rows, dtype=np.intp)
        found = np.empty((len(rows), *plan.source.shape), np.uint8)
        for partition, places, numbers in plan.blocks(rows):
            if partition:
                found[places] = images.draw(partition, numbers)
            else:
                found[places] = plan.source.images(plan.real[numbers])
        return found

    def annotations(rows: Rows) -> dict[str, npt.NDArray[np.float64]]:
        rows = np.asarray(rows, dtype=np.intp)
        labels = fields["labels"][rows]
        return {
            "subspace_distance": _distances(read, rows, labels, manifolds),
            "class": labels.astype(np.float64),
        }

    return MixtureDataset(
        read=read,
        fingerprint=plan.fingerprint(weights),
        annotations=annotations,
        densities=densities,
        manifolds=manifolds,
        **fields,
    )


def _distances(
    read: Callable[[Rows], UInt8Images],
    rows: Rows,
    labels: npt.NDArray[np.int64],
    manifolds: tuple[Mfa, Mfa],
) -> npt.NDArray[np.float64]:
    """L2 distance (B,) of images to the nearest subspace of the other class (appendix D.1)."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        x = torch.from_numpy(read(rows[part]).reshape(len(rows[part]), -1)).to(torch.float64) / 255
        for side in (0, 1):
            where = labels[part] == side
            if where.any():
                nearest = manifolds[1 - side].subspace_distances(x[torch.from_numpy(where)]).amin(1)
                found[part][where] = nearest.numpy()
    return found
