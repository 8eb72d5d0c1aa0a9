"""Attributes of drawn faces are thresholded normal latents with CelebA's rates and main correlations.

A latent is the sum of an identity part and an image part, each a few shared factors and a remainder of its
own. Its distance from the threshold decides how strongly the attribute is drawn, so that label and picture
agree far from the threshold, and may disagree near it, as with human annotation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness_faces.attribute_names import CELEBA_ATTRIBUTES
from harness_faces.attribute_table import CUTS, IDENTITY_LOADINGS, IDENTITY_SHARE, IMAGE_LOADINGS
from harness_faces.identities import identity_of
from harness_faces.streams import FloatArray, IndexArray, normals, spread_normals

COLUMN = {name: column for column, name in enumerate(CELEBA_ATTRIBUTES)}

_FACIAL_HAIR = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")
_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")

# These attributes are either present or not; all others have degrees.
_PRESENT = frozenset(
    (
        *("Bald", "Eyeglasses", "Male", "Wearing_Hat", "Wearing_Necktie"),
        *("Wearing_Earrings", "Wearing_Lipstick", "Wearing_Necklace", "Blurry", "Mouth_Slightly_Open"),
        *("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Goatee", "Mustache", "No_Beard", "Bangs"),
    )
)
_WIDTH = np.array([0.25 if name in _PRESENT else 0.9 for name in CELEBA_ATTRIBUTES])
"""(40,): the width of the range of the latent over which the drawn strength rises from 0 to 1."""
_DISAGREEMENT = np.array([0.07 if name in _PRESENT else 0.22 for name in CELEBA_ATTRIBUTES])
"""(40,): the deviation between the latent that is labelled and the one that is drawn."""


@dataclass(frozen=True, eq=False)
class AttributeSample:
    """An AttributeSample holds the labels and the drawn strengths of N images."""

    labels: npt.NDArray[np.bool_]
    """(N, 40): whether each attribute is present."""
    strengths: FloatArray
    """(N, 40): how strongly each attribute is drawn, from 0 to 1."""


def latents(seed: int, index: IndexArray) -> FloatArray:
    """Return standard normal latents (N, 40) of image indices (N,), correlated as in CelebA."""
    count = len(CELEBA_ATTRIBUTES)
    people, person = np.unique(identity_of(index), return_inverse=True)
    own = np.sqrt(np.maximum(IDENTITY_SHARE - (IDENTITY_LOADINGS**2).sum(axis=1), 0.0))
    kept = spread_normals(seed, 1, people, IDENTITY_LOADINGS.shape[1]) @ IDENTITY_LOADINGS.T
    kept += own * normals(seed, 2, people, count)
    rest = np.sqrt(np.maximum(1.0 - IDENTITY_SHARE - (IMAGE_LOADINGS**2).sum(axis=1), 0.0))
    # einsum, unlike BLAS, sums in the same order for every number of rows
    changing = np.einsum("nf,af->na", normals(seed, 3, index, IMAGE_LOADINGS.shape[1]), IMAGE_LOADINGS)
    return np.asarray(kept[person] + changing + rest * normals(seed, 4, index, count))


def _without(margins: FloatArray, name: str, where: npt.NDArray[np.bool_]) -> None:
    column = margins[:, COLUMN[name]]
    # clearly absent, and not near the threshold, because the rule has no degrees
    column[where] = np.minimum(column[where], -np.abs(column[where]) - 0.3)


def apply_rules(margins: FloatArray) -> FloatArray:
    """Return margins (N, 40) over the cuts, in which attributes that exclude each other are made absent."""
    margins = margins.copy()
    present = {name: margins[:, column] > 0 for name, column in COLUMN.items()}
    woman = ~present["Male"]
    for name in (*_FACIAL_HAIR, "Bald", "Wearing_Necktie"):
        _without(margins, name, woman)
    for name in ("Wearing_Lipstick", "Heavy_Makeup"):
        _without(margins, name, present["Male"])
    bald = margins[:, COLUMN["Bald"]] > 0
    for name in (*_COLOURS, "Bangs", "Straight_Hair", "Wavy_Hair", "Receding_Hairline"):
        _without(margins, name, bald)
    for group in (_COLOURS, ("Straight_Hair", "Wavy_Hair"), ("Bangs", "Receding_Hairline")):
        columns = [COLUMN[name] for name in group]
        best = margins[:, columns].argmax(axis=1)
        for place, name in enumerate(group):
            _without(margins, name, best != place)
    no_beard = margins[:, COLUMN["No_Beard"]]
    no_beard[woman] = np.abs(no_beard[woman]) + 0.3
    # annotators sometimes call a shadow or a mustache alone a beard, but always these two
    grown = np.maximum(margins[:, COLUMN["Goatee"]], margins[:, COLUMN["Sideburns"]])
    bearded = (grown > 0) & (no_beard > 0)
    no_beard[bearded] = -grown[bearded]
    return margins


def sample_attributes(seed: int, index: IndexArray) -> AttributeSample:
    """Return labels and strengths of image indices (N,); a row depends only on the seed and its own index."""
    margins = apply_rules(latents(seed, index) - CUTS)
    drawn = margins + _DISAGREEMENT * normals(seed, 5, index, margins.shape[1])
    ramp = np.clip(0.5 + drawn / _WIDTH, 0.0, 1.0)
    return AttributeSample(labels=margins > 0, strengths=ramp * ramp * (3.0 - 2.0 * ramp))
