"""A ClassPair selects two classes of images of a data set, by an attribute or by the names of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.dataset import PARTITIONS, Dataset
from harness.errors import DatasetError, nearest
from harness.randomness import derived_seed

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ClassPair:
    """A ClassPair holds two classes of images of a data set."""

    source: Dataset
    names: tuple[str, str]
    """The names of class 0 and class 1: "not Smiling" and "Smiling", or "0" and "6"."""
    sides: npt.NDArray[np.int8]
    """(N,): 0, 1, or -1 for images of neither class."""
    kind: Literal["attribute", "class"]
    """Whether the names are those of an attribute or of classes."""

    def rows(self, side: int, partition: str | None = None) -> Rows:
        """Return the rows of the source in one class, in its order; None means all partitions."""
        chosen = self.sides == side
        if partition is not None and self.source.partitions is not None:
            chosen = chosen & (self.source.partitions == partition)
        return np.flatnonzero(chosen)

    def learned(self, side: int) -> Rows:
        """Return the rows of one class to learn from: those of the partition "train", or all without any.

        Raises:
            DatasetError: there are no such rows.
        """
        rows = self.rows(side, "train")
        if not len(rows):
            raise DatasetError(
                f'{self.source.name}: class "{self.names[side]}" has no image in the partition "train"; '
                "choose another attribute or pair"
            )
        return rows

    def balanced(self, partition: str | None, seed: int) -> Rows:
        """Return as many rows of class 0 as of class 1, alternating, so that every beginning is balanced too.

        The seed decides which images of the larger class stay; both classes keep the source's order.
        """
        sides = [self.rows(side, partition) for side in (0, 1)]
        count = min(map(len, sides))
        kept = []
        for side, rows in enumerate(sides):
            stream = derived_seed(seed, "balance", partition, self.names[side])
            generator = np.random.Generator(np.random.Philox(stream))
            kept.append(np.sort(generator.permutation(rows)[:count]))
        return np.stack(kept, axis=1).reshape(-1)


def class_pair(source: Dataset, attribute: str | None, pair: Sequence[str] | None) -> ClassPair:
    """Select the images without and with an attribute, or those of two classes.

    Raises:
        DatasetError: not exactly one of ``attribute`` and ``pair`` is given, the data set lacks it, or a
            class has no images.
    """
    if (attribute is None) == (pair is None):
        given = "both are" if pair is not None else "none is"
        raise DatasetError(
            f'{source.name}: of "attribute" and "pair" {given} given; give one, such as '
            'attribute = "Smiling" or pair = ["0", "6"]'
        )
    found = _by_attribute(source, attribute) if attribute is not None else _by_pair(source, pair or ())
    for side, name in enumerate(found.names):
        if not (found.sides == side).any():
            raise DatasetError(
                f'{source.name}: class "{name}" has no images; choose another attribute or pair'
            )
    return found


def _by_attribute(source: Dataset, attribute: str) -> ClassPair:
    if source.attributes is None:
        remedy = "give a pair of its classes" if source.class_names else "choose a source with attributes"
        raise DatasetError(f'{source.name} has no attributes, and no attribute "{attribute}"; {remedy}')
    if attribute not in source.attribute_names:
        remedy = nearest(attribute, source.attribute_names)
        raise DatasetError(f'{source.name}: attribute "{attribute}" is unknown; {remedy}')
    present = source.attributes[:, source.attribute_names.index(attribute)]
    return ClassPair(source, (f"not {attribute}", attribute), present.astype(np.int8), "attribute")


def _by_pair(source: Dataset, pair: Sequence[str]) -> ClassPair:
    if source.labels is None or not source.class_names:
        remedy = "give an attribute" if source.attribute_names else "choose a source with classes"
        raise DatasetError(f"{source.name} has no classes, and no pair of classes {list(pair)}; {remedy}")
    if len(pair) != 2:
        raise DatasetError(f"{source.name}: pair = {list(pair)} must be the names of two classes")
    for name in pair:
        if name not in source.class_names:
            raise DatasetError(
                f'{source.name}: class "{name}" is unknown; {nearest(name, source.class_names)}'
            )
    if pair[0] == pair[1]:
        raise DatasetError(f'{source.name}: pair names "{pair[0]}" twice; name two classes')
    sides = np.full(len(source), -1, np.int8)
    for side, name in enumerate(pair):
        sides[source.labels == source.class_names.index(name)] = side
    return ClassPair(source, (pair[0], pair[1]), sides, "class")


def partitions_of(source: Dataset) -> tuple[str, ...]:
    """Return the partitions for which a data set has images, in their usual order."""
    have = set() if source.partitions is None else set(np.unique(source.partitions).tolist())
    return tuple(name for name in PARTITIONS if name in have)
