"""mfa-symmetric and mfa-asymmetric are images of two known mixtures (section 2.1, appendix B.2).

The prior of both classes is one half. In the symmetric data, all noise has one small variance. In the
asymmetric data, each class also has an outlier, a wide spherical Gaussian near the mean of all images. Its
density is the larger one, and decides, at a small distance from the other components.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
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
from harness_bayes.drawn_images import DrawnImages, labels_of
from harness_bayes.image_plan import Count, ImagePlan, Sampling
from harness_bayes.mfa import Mfa

SAMPLING = Sampling()
_AT_ONCE = 256  # images that are read for annotations


@dataclass(frozen=True, eq=False, kw_only=True)
class MixtureDataset(Dataset):
    """A MixtureDataset has images of two classes with known densities, apart from clipping and rounding."""

    densities: tuple[Mfa, Mfa]
    """The densities of class 0 and class 1, which are equally frequent."""
    manifolds: tuple[Mfa, Mfa]
    """The densities without outliers."""
    draw: Callable[[Rows], UInt8Images] | None = None
    """A function of numbers (B,) from 0 that returns training images (B, C, H, W): those of the data set, and
    after them new ones without end. Classes alternate, 0 first."""


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """Outliers describes the wide spherical Gaussian of each class."""

    outlier_sigma: Annotated[float, Ge(1e-6)] = 0.5
    """The deviation of the noise of its pixels."""
    outlier_offset: Annotated[float, Gt(0)] = 2.0
    """The L2 distance of its mean from the mean of all images, along the axis of low variance; class 0 is on
    the positive side. The paper does not state it. Four deviations nearly always separate the two outliers,
    and more would only move images of noise away from the boundary."""
    outlier_weight: Annotated[float, Gt(0), Lt(1)] | None = None
    """Its share of its class. The paper does not state it; None means that of one of equal components,
    1 / (K + 1), as in the premise of theorem 1."""

    def join(self, mixture: Mfa, centre: Tensor) -> Mfa:
        """Return a mixture with the outlier around ``centre`` (D,)."""
        outlier = Mfa(
            centre.new_zeros(1),
            centre[None],
            centre.new_zeros(1, len(centre), 0),
            centre.new_full((1, len(centre)), self.outlier_sigma**2),
        )
        return mixture.joined(outlier, self.outlier_weight or 1 / (len(mixture.log_weights) + 1))


def load_symmetric(
    source: Dataset, weights: StateDict | None, *, sampling: Sampling = SAMPLING, seed: Count = 0
) -> Dataset:
    """Open two classes of images for which the optimal classifier is robust.

    Args:
        source: the data set from which the mixtures are learned.
        weights: the mixtures.
        seed: another seed gives other images.

    Raises:
        DatasetError: the parameters do not name two classes of images, or ask for no image.
        ModelError: the weights are not such mixtures.
    """
    plan = ImagePlan.of("mfa-symmetric", source, sampling, seed=seed)
    if weights is None:
        return _unfitted(plan)
    both = _symmetric(ClassMixtures.from_state(weights, int(np.prod(source.shape))), sampling.sigma)
    return _drawn(plan, weights, both, both)


def load_asymmetric(
    source: Dataset,
    weights: StateDict | None,
    *,
    sampling: Sampling = SAMPLING,
    outliers: Outliers = Outliers(),
    seed: Count = 0,
) -> Dataset:
    """Open two classes of images for which the optimal classifier is vulnerable.

    Arguments and errors are those of ``load_symmetric``; some images of each class are ``outliers``.
    """
    plan = ImagePlan.of("mfa-asymmetric", source, sampling, **asdict(outliers), seed=seed)
    if weights is None:
        return _unfitted(plan)
    learned = ClassMixtures.from_state(weights, int(np.prod(source.shape)))
    manifolds = _symmetric(learned, sampling.sigma)
    offset = outliers.outlier_offset * learned.axis
    densities = (
        outliers.join(manifolds[0], learned.mean + offset),
        outliers.join(manifolds[1], learned.mean - offset),
    )
    return _drawn(plan, weights, densities, manifolds)


def _symmetric(learned: ClassMixtures, sigma: float) -> tuple[Mfa, Mfa]:
    first, second = (
        Mfa(one.log_weights, one.means, one.factors, torch.full_like(one.noise, sigma**2))
        for one in learned.mixtures
    )
    return first, second


def _unfitted(plan: ImagePlan) -> Dataset:
    """Return the data set, without images, before the mixtures are learned."""

    def read(rows: Rows) -> UInt8Images:
        raise DatasetError(f"{plan.name} has no images before its mixtures are fitted")

    return Dataset(read=read, fingerprint=plan.fingerprint(None), **plan.fields())


def _drawn(
    plan: ImagePlan, weights: StateDict, densities: tuple[Mfa, Mfa], manifolds: tuple[Mfa, Mfa]
) -> MixtureDataset:
    limit = plan.sampling.largest_clip * plan.sampling.sigma * math.sqrt(np.prod(plan.source.shape))
    outliers = len(densities[0].log_weights) - len(manifolds[0].log_weights)
    images = DrawnImages(densities, plan.source.shape, plan.parameters["seed"], limit, outliers)
    fields, kept = plan.fields(), images.kept()

    def read(rows: Rows) -> UInt8Images:
        rows = np.asarray(rows, dtype=np.intp)
        found = np.empty((len(rows), *plan.source.shape), np.uint8)
        for partition, places, numbers in plan.blocks(rows):
            if partition:
                found[places] = kept.draw(partition, numbers)
            else:
                found[places] = plan.source.images(plan.real[numbers])
        return found

    def annotations(rows: Rows) -> dict[str, npt.NDArray[np.float64]]:
        rows = np.asarray(rows, dtype=np.intp)
        labels = fields["labels"][rows]
        return {
            "subspace_distance": _distances(read, rows, labels, manifolds),
            "class": labels.astype(np.float64),
            **plan.people(rows),
            **_outliers(plan, images, rows),
        }

    return MixtureDataset(
        read=read,
        fingerprint=plan.fingerprint(weights),
        annotations=annotations,
        densities=densities,
        manifolds=manifolds,
        draw=partial(kept.draw, "train"),
        **fields,
    )


def _outliers(plan: ImagePlan, images: DrawnImages, rows: Rows) -> dict[str, npt.NDArray[np.float64]]:
    """Return as "outlier" whether an outlier drew each of ``rows`` (B,); nothing where there are none."""
    if not images.outliers:
        return {}
    inner = [len(density.log_weights) - images.outliers for density in images.densities]
    found = np.zeros(len(rows))
    for partition, places, numbers in plan.blocks(rows):
        if partition:
            least = np.take(inner, labels_of(numbers))
            found[places] = images.components(partition, numbers) >= least
    return {"outlier": found}


def _distances(
    read: Callable[[Rows], UInt8Images],
    rows: Rows,
    labels: npt.NDArray[np.int64],
    manifolds: tuple[Mfa, Mfa],
) -> npt.NDArray[np.float64]:
    """Return the L2 distances (B,) of images to the nearest subspace of the other class (appendix D.1)."""
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
