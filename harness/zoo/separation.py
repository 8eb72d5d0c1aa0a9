"""A verifier's card says how well clean comparisons tell persons apart, beside what the pixels alone do."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.dataset import Dataset
from harness.metrics.resampling import difference
from harness.metrics.verification import auc_roc
from harness.model import Model, wrap_model
from harness.zoo.conventions import BATCH, compared

PERSONS, IMAGES = 60, 300
"""The most persons who are compared, and about how many images they have together."""


def separation_of(model: Model, dataset: Dataset, rows: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Return the AU-ROC of a model of embeddings on all pairs of some images; nothing without identities.

    "auc_roc" is the share of pairs, one of a person and one of two, in the right order; "pixels_auc_roc" that
    of the Euclidean distance of the pixels, which stands in place of a guess. "auc_roc_interval" has the ends
    of the 95 % interval, and "above_pixels_interval" those of the difference on the same pairs; both resample
    persons, and are left out with fewer than five.
    """
    chosen = images_of_persons(dataset, rows)
    if chosen is None or dataset.identities is None:
        return {}
    x = torch.from_numpy(dataset.images(chosen)).float() / 255
    persons, codes = np.unique(dataset.identities[chosen], return_inverse=True)
    pixels = wrap_model(nn.Flatten(), "embedding")
    own, plain = (
        compared(one, partial(one.scores, batch_size=BATCH), x, codes).number(auc_roc)
        for one in (model, pixels)
    )
    if np.isnan(own.value):
        return {}
    ends = {"auc_roc_interval": own.estimate(), "above_pixels_interval": difference(own, plain)}
    return {
        "scored_images": len(chosen),
        "scored_persons": len(persons),
        "auc_roc": round(own.value, 4),
        "pixels_auc_roc": round(plain.value, 4),
        **{
            name: [round(found.low, 4), round(found.high, 4)]
            for name, found in ends.items()
            if found.low is not None and found.high is not None
        },
    }


def images_of_persons(dataset: Dataset, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp] | None:
    """Return the first images of the first persons among some rows; None without pairs of both kinds.

    Each person has at least two images, and as many as the others have, where there are so many.
    """
    if dataset.identities is None:
        return None
    of: dict[int, list[int]] = {}
    for row in rows.tolist():
        of.setdefault(int(dataset.identities[row]), []).append(row)
    people = [own for own in of.values() if len(own) > 1][:PERSONS]
    if len(people) < 2:
        return None
    each = max(2, IMAGES // len(people))
    return np.array(list(chain(*(own[:each] for own in people))), np.intp)
