"""Images are sampled from a mixture of factor analysers for each of two classes, learned from images.

Following appendix B.1 and B.2, each class is fitted alone, with one component per thousand images (MNIST: 25)
and 10 latent factors (MNIST: 6); faces are mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.randomness import derived_seed
from harness.training import Context, StateDict
from harness_bayes.class_pair import ClassPair, Rows, class_pair
from harness_bayes.fitting import QUICK, MixtureRecipe, fit_mfa
from harness_bayes.mfa import Mfa
from harness_bayes.principal_axis import MOST_IMAGES, principal_axis

_SHARE = 0.45  # the share of the work for one class


@dataclass(frozen=True, eq=False)
class ClassMixtures:
    """ClassMixtures holds all that is learned from the images of two classes."""

    mixtures: tuple[Mfa, Mfa]
    """The mixtures of class 0 and class 1, with the learned noise."""
    mean: Tensor
    """(D,) float64: the mean of the images of both classes."""
    axis: Tensor
    """(D,) float64, of length 1: the direction of low variance in which outliers lie."""

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], dimension: int) -> ClassMixtures:
        """Read the result of ``fit``, for images of ``dimension`` numbers.

        Raises:
            ModelError: a tensor is missing, has a wrong shape, or is not finite.
        """
        mixtures = (Mfa.from_state(state, "class0."), Mfa.from_state(state, "class1."))
        for mixture in mixtures:
            if mixture.means.shape[1] != dimension:
                raise ModelError(
                    f"mixtures have {mixture.means.shape[1]} numbers, but images have {dimension}; fit again"
                )
        both = []
        for name in ("mean", "axis"):
            tensor = state.get(name)
            if tensor is None or tuple(tensor.shape) != (dimension,) or not tensor.isfinite().all():
                raise ModelError(f'the mixtures have no "{name}" of {dimension} finite numbers; fit again')
            both.append(tensor.to(torch.float64))
        return cls(mixtures, both[0], both[1])


def fit(
    source: Dataset,
    context: Context,
    *,
    attribute: str | None = None,
    pair: list[str] | None = None,
    recipe: MixtureRecipe = QUICK,
    mirror: bool | None = None,
) -> StateDict:
    """Learn a mixture per class from the images of the partition "train", or from all without partitions.

    Args:
        source: the data set with the images.
        context: keeps each class when it is finished.
        attribute: class 0 has the images without it, class 1 those with it.
        pair: or the names of two classes of the source.
        recipe: the recipe for each mixture.
        mirror: whether mirror images are learned too; by default they are for an attribute (faces), but not
            for a pair of classes (digits).

    Raises:
        DatasetError: the parameters do not name two classes of images.
        ModelError: the images of a class are too few or too similar for such a mixture.
    """
    classes = class_pair(source, attribute, pair)
    mirrored = attribute is not None if mirror is None else mirror
    shape = source.shape if mirrored else None
    learned = (classes.learned(0), classes.learned(1))
    state: StateDict = {}
    for side, rows in enumerate(learned):
        part = _fitted(classes, side, rows, recipe, shape, context)
        state |= {f"class{side}.{name}": tensor for name, tensor in part.items()}
    context.report(2 * _SHARE, "axis of the outliers")
    # The two classes of an attribute are all images, whatever the attribute.
    among = sorted(classes.names) if attribute is None else "all"
    state |= context.unit({"axis among": among}, lambda: _axis(source, np.sort(np.concatenate(learned))))
    context.report(1.0, "mixtures")
    return state


def _fitted(
    classes: ClassPair,
    side: int,
    rows: Rows,
    recipe: MixtureRecipe,
    mirror: tuple[int, int, int] | None,
    context: Context,
) -> StateDict:
    """Fit the mixture of the images of one class; ``mirror`` is that of ``fit_mfa``."""
    name = classes.names[side]

    def report(share: float, word: str) -> None:
        context.report((side + share) * _SHARE, f"{name}: {word}")

    def make() -> StateDict:
        report(0.0, f"reading {len(rows)} images")
        images = torch.from_numpy(_vectors(classes.source, rows))
        seed = derived_seed(context.seed, "mixture", name)
        try:
            mixture = fit_mfa(images, recipe, seed=seed, device=context.device, report=report, mirror=mirror)
        except ModelError as error:
            raise ModelError(f'{classes.source.name}: class "{name}": {error}') from error
        return mixture.to("cpu").state("")

    # The identity has nothing of the other class, so that "0" against "6" and against "4" share one mixture.
    known = {**recipe.identity(len(rows)), "mirror": mirror}
    return context.unit({"mixture of": name, "kind": classes.kind, **known}, make)


def _axis(source: Dataset, rows: Rows) -> StateDict:
    """Return the mean and the axis (D,) of images."""
    if len(rows) > MOST_IMAGES:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_IMAGES).astype(np.intp)]
    images = _vectors(source, rows)
    return {
        "mean": torch.from_numpy(images.mean(0, dtype=np.float64)),
        "axis": torch.from_numpy(principal_axis(images, source.name)),
    }


def _vectors(source: Dataset, rows: Rows) -> npt.NDArray[np.float32]:
    """Return images as rows (N, D) in [0, 1]; they are read in portions, so that memory holds them once."""
    vectors = np.empty((len(rows), int(np.prod(source.shape))), np.float32)
    for start in range(0, len(rows), 1024):
        part = rows[start : start + 1024]
        np.divide(source.images(part).reshape(len(part), -1), 255, out=vectors[start : start + 1024])
    return vectors
