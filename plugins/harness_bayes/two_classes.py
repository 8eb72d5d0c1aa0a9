"""two-classes makes a problem of two classes from real images (section 3, on real data)."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

import numpy as np
from annotated_types import Ge

from harness.dataset import Dataset, UInt8Images
from harness.errors import DatasetError
from harness_bayes.class_pair import ClassPair, Rows, class_pair, partitions_of

FORMAT = "two-classes 1"
"""A part of the fingerprint, to be increased when the same parameters give other images."""


def load(
    source: Dataset,
    *,
    attribute: str | None = None,
    pair: list[str] | None = None,
    balanced: bool = True,
    seed: Annotated[int, Ge(0)] = 0,
) -> Dataset:
    """Open the images of two classes of a data set, labelled 0 and 1, with its ids, persons, partitions.

    Args:
        source: the data set with the images.
        attribute: class 0 has the images without it, class 1 those with it.
        pair: or the names of two classes of the source.
        balanced: whether, in each partition, images of the larger class are left out to make both equal;
            the two classes then alternate. Otherwise all images stay, in the source's order.
        seed: decides which images are left out.

    Raises:
        DatasetError: the parameters do not name two classes of images.
    """
    classes = class_pair(source, attribute, pair)
    rows = _rows(classes, balanced, seed)
    if not len(rows):
        raise DatasetError(
            f"{source.name}: no partition has images of both {classes.names[0]} and {classes.names[1]}; "
            "set balanced = false, or choose another attribute or pair"
        )
    parameters = {"attribute": attribute, "pair": pair, "balanced": balanced, "seed": seed}
    text = json.dumps([FORMAT, parameters, source.fingerprint], sort_keys=True)

    sides = classes.sides[rows].astype(np.int64)

    def read(chosen: Rows) -> UInt8Images:
        return source.images(rows[chosen])

    return Dataset(
        name="two-classes",
        ids=tuple(source.ids[row] for row in rows),
        shape=source.shape,
        read=read,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        labels=sides,
        class_names=classes.names,
        identities=None if source.identities is None else source.identities[rows],
        partitions=None if source.partitions is None else source.partitions[rows],
        annotations=lambda chosen: {"class": sides[chosen].astype(np.float64)},
    )


def _rows(classes: ClassPair, balanced: bool, seed: int) -> Rows:
    if not balanced:
        return np.flatnonzero(classes.sides >= 0)
    parts = partitions_of(classes.source) or (None,)
    return np.concatenate([classes.balanced(part, seed) for part in parts])
