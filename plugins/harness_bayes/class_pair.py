"""Which images of a data set are of either of two classes: by an attribute, or by two classes' names."""

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
    """Two classes of images of a data set."""

    source: Dataset
    names: tuple[str, str]
    """Of class 0 and class 1: "not Smiling" and "Smiling", or "0" and "6"."""
    sides: npt.NDArray[np.int8]
    """(N,): 0, 1, or -1 for images of neither."""
    kind: Literal["attribute", "class"]
    """What the names are of."""

    def rows(self, side: int, partition: str | None = None) -> Rows:
        """Rows of the source that are of one class, in its order; of all partitions for None."""
        chosen = self.sides == side
        if partition is not None and self.source.partitions is not None:
            chosen = chosen & (self.source.partitions == partition)
        return np.flatnonzero(chosen)

    def learned(self, side: int) -> Rows:
        """Rows of one class to learn from: those of the partition "train", all where there are none.

        Raises:
            DatasetError: there is none.
        """
        rows = self.rows(side, "train")
        if not len(rows):
            raise DatasetError(
                f'{self.source.name}: class "{self.names[side]}" has no image in the partition "train"; '
                "choose another attribute or pair"
            )
        return rows

    def balanced(self, partition: str | None, seed: int) -> Rows:
        """As many rows of either class, by turns from class 0 on, so that every beginning is balanced too.

        Of the larger class, which images stay is drawn with the seed; either class keeps the source's order.
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
    """The images without and with an attribute, or those of two classes.

    Raises:
        DatasetError: not exactly one of ``attribute`` and ``pair`` is given, the data set does not know it,
            or a class has no images.
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
        raise DatasetError(f'{source.name} has no attributes, so attribute = "{attribute}" is none; {remedy}')
    if attribute not in source.attribute_names:
        remedy = nearest(attribute, source.attribute_names)
        raise DatasetError(f'{source.name}: attribute "{attribute}" is unknown; {remedy}')
    present = source.attributes[:, source.attribute_names.index(attribute)]
    return ClassPair(source, (f"not {attribute}", attribute), present.astype(np.int8), "attribute")


def _by_pair(source: Dataset, pair: Sequence[str]) -> ClassPair:
    if source.labels is None or not source.class_names:
        remedy = "give an attribute" if source.attribute_names else "choose a source with classes"
        raise DatasetError(f"{source.name} has no classes, so pair = {list(pair)} names none; {remedy}")
    if len(pair) != 2:
        raise DatasetError(f"{source.name}: pair = {list(pair)} must be two names of classes")
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
    """The partitions that a data set has images of, in their usual order."""
    have = set() if source.partitions is None else set(np.unique(source.partitions).tolist())
    return tuple(name for name in PARTITIONS if name in have)
