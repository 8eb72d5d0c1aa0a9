"""What images are drawn from: a mixture of factor analysers for each of two classes, learned from images.

Appendix B.1 and B.2: the classes are fitted apart, with as many components as a class has thousands of images
(MNIST: 25), 10 latent factors (MNIST: 6), faces mirrored.
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

_SHARE = 0.45  # of the work that one class is


@dataclass(frozen=True, eq=False)
class ClassMixtures:
    """All that is learned of the two classes."""

    mixtures: tuple[Mfa, Mfa]
    """Of class 0 and class 1, with the noise that was learned."""
    mean: Tensor
    """(D,) float64: of the images of both classes."""
    axis: Tensor
    """(D,) float64, of length 1: the direction of low variance in which outliers lie."""

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], dimension: int) -> ClassMixtures:
        """What ``fit`` returned, for images of ``dimension`` numbers.

        Raises:
            ModelError: a tensor is missing, or of a wrong shape, or not finite.
        """
        mixtures = (Mfa.from_state(state, "class0."), Mfa.from_state(state, "class1."))
        for mixture in mixtures:
            if mixture.means.shape[1] != dimension:
                raise ModelError(
                    f"the mixtures are of {mixture.means.shape[1]} numbers, an image of {dimension}; fit anew"
                )
        both = []
        for name in ("mean", "axis"):
            tensor = state.get(name)
            if tensor is None or tuple(tensor.shape) != (dimension,) or not tensor.isfinite().all():
                raise ModelError(f'the mixtures have no "{name}" of {dimension} finite numbers; fit anew')
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
    """Learn a mixture per class from the images of the partition "train", of all where there is none.

    Args:
        source: where the images come from.
        context: keeps each class when it is finished.
        attribute: class 0 are the images without it, class 1 those with it.
        pair: or the names of two of the source's classes.
        recipe: of either mixture.
        mirror: whether images are learned as they are and mirrored; where it is not given, classes by
            attribute are (faces), a pair of classes is not (digits).

    Raises:
        DatasetError: the parameters name no two classes of images.
        ModelError: the images of a class are too few or too much alike for such a mixture.
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
    # Whatever the attribute, its two classes are all images.
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
    """The mixture of the images of one class; ``mirror`` as of ``fit_mfa``."""
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

    # Nothing of the other class: "0" against "6" and "0" against "4" share the mixture of "0".
    known = {**recipe.identity(len(rows)), "mirror": mirror}
    return context.unit({"mixture of": name, "kind": classes.kind, **known}, make)


def _axis(source: Dataset, rows: Rows) -> StateDict:
    """Mean and axis (D,) of images."""
    if len(rows) > MOST_IMAGES:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_IMAGES).astype(np.intp)]
    images = _vectors(source, rows)
    return {
        "mean": torch.from_numpy(images.mean(0, dtype=np.float64)),
        "axis": torch.from_numpy(principal_axis(images, source.name)),
    }


def _vectors(source: Dataset, rows: Rows) -> npt.NDArray[np.float32]:
    """Images as rows (N, D) in [0, 1]; read in portions, so that they are in memory once."""
    vectors = np.empty((len(rows), int(np.prod(source.shape))), np.float32)
    for start in range(0, len(rows), 1024):
        part = rows[start : start + 1024]
        np.divide(source.images(part).reshape(len(part), -1), 255, out=vectors[start : start + 1024])
    return vectors
