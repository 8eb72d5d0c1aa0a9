"""two-classes: real images as a problem of two classes (section 3, training and testing on real data)."""

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
"""Raised when the same parameters begin to mean other images; part of the fingerprint."""


def load(
    source: Dataset,
    *,
    attribute: str | None = None,
    pair: list[str] | None = None,
    balanced: bool = True,
    seed: Annotated[int, Ge(0)] = 0,
) -> Dataset:
    """The images of a data set that are of two classes, labelled 0 and 1, with its ids and partitions.

    Args:
        source: where the images come from.
        attribute: class 0 are the images without it, class 1 those with it.
        pair: or the names of two of its classes.
        balanced: whether, in each partition, as many images of the larger class are left out as make both
            equal; images of the two then take turns. Otherwise all stay, in the source's order.
        seed: decides which are left out.

    Raises:
        DatasetError: the parameters name no two classes of images.
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
        partitions=None if source.partitions is None else source.partitions[rows],
        annotations=lambda chosen: {"class": sides[chosen].astype(np.float64)},
    )


def _rows(classes: ClassPair, balanced: bool, seed: int) -> Rows:
    if not balanced:
        return np.flatnonzero(classes.sides >= 0)
    parts = partitions_of(classes.source) or (None,)
    return np.concatenate([classes.balanced(part, seed) for part in parts])
