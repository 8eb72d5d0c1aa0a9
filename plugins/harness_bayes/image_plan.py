"""Which images a data set of mixtures has, before any is drawn: drawn ones by partition, then real ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt

from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.training import StateDict
from harness_bayes.class_pair import ClassPair, Rows, class_pair
from harness_bayes.drawn_images import labels_of
from harness_bayes.sample_ids import SampleIds

FORMAT = "mixtures 1"
"""Raised when the same parameters and mixtures begin to give other images; part of the fingerprint."""
TestedOn = Literal["samples", "real"]
Count = Annotated[int, Ge(0)]
LARGEST_CLIP = 2.0
"""Below the 2.6 at which outliers of fifty times the noise take over, and above what most images need."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which images a data set has, and what is added to the mixtures that they are drawn from."""

    attribute: str | None = None
    """Class 0 are images without it, class 1 those with it."""
    pair: list[str] | None = None
    """Or the names of two of the source's classes."""
    train: Count = 20_000
    """Images to train on."""
    validation: Count = 1000
    """Images to validate on."""
    test: Count = 1000
    """Images to attack; where they are real, at most."""
    tested_on: TestedOn = "samples"
    """Whether these are drawn like the others, or are the source's own test images, as many of either
    class."""
    sigma: Annotated[float, Ge(1e-6)] = 0.01
    """Deviation of the noise of every pixel, outliers excepted, images being in [0, 1]."""
    largest_clip: Annotated[float, Gt(0)] = LARGEST_CLIP
    """By how much clipping to [0, 1] may move a sample, outliers excepted, as the root mean square over its
    pixels in units of ``sigma``; samples that lie further out are drawn again. inf takes all. Clipping that
    moves a sample 2.6 times as far as its noise makes it an outlier's."""


@dataclass(frozen=True, eq=False)
class ImagePlan:
    """The images of a data set that is made of two classes of another one."""

    name: str
    classes: ClassPair
    drawn: Mapping[str, int]
    """How many are drawn, by partition."""
    real: Rows
    """(R,): rows of the source that follow as the partition "test"."""
    sampling: Sampling
    parameters: Mapping[str, Any]
    """All that the data set was given."""

    @classmethod
    def of(cls, name: str, source: Dataset, sampling: Sampling, **more: Any) -> ImagePlan:
        """The images that parameters ask for; ``more`` are those beside ``sampling``.

        Raises:
            DatasetError: they name no two classes of images, or no image.
        """
        classes = class_pair(source, sampling.attribute, sampling.pair)
        counts = {"train": sampling.train, "validation": sampling.validation, "test": sampling.test}
        real = np.empty(0, np.intp)
        if sampling.tested_on == "real":
            real = _real(classes)[: counts.pop("test")]
        drawn = {partition: count for partition, count in counts.items() if count}
        if not drawn and not len(real):
            raise DatasetError(f"{name}: train, validation and test are all 0; ask for images")
        return cls(name, classes, drawn, real, sampling, {**asdict(sampling), **more})

    def __len__(self) -> int:
        return sum(self.drawn.values()) + len(self.real)

    @property
    def source(self) -> Dataset:
        """Where the classes come from."""
        return self.classes.source

    def fields(self) -> dict[str, Any]:
        """All of a ``Dataset`` but its images and its fingerprint."""
        labels = [labels_of(np.arange(count)) for count in self.drawn.values()]
        names = [*self.drawn, "test"]
        return {
            "name": self.name,
            "ids": SampleIds(self.drawn, [self.source.ids[row] for row in self.real]),
            "shape": self.source.shape,
            "labels": np.concatenate([*labels, self.classes.sides[self.real].astype(np.int64)]),
            "class_names": self.classes.names,
            "partitions": np.repeat(np.array(names), [*self.drawn.values(), len(self.real)]),
        }

    def blocks(self, rows: Rows) -> list[tuple[str, Rows, Rows]]:
        """Where ``rows`` (B,) lie: partition ("" for real images), places in ``rows``, and numbers there.

        Raises:
            DatasetError: there is no such row.
        """
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise DatasetError(f"{self.name}: rows must lie from 0 to {len(self) - 1}")
        found, start = [], 0
        for partition, count in (*self.drawn.items(), ("", len(self.real))):
            places = np.flatnonzero((rows >= start) & (rows < start + count))
            if len(places):
                found.append((partition, places, rows[places] - start))
            start += count
        return found

    def fingerprint(self, weights: StateDict | None) -> str:
        """Of all that decides the images: parameters, the source, and every bit of what was learned."""
        digest = hashlib.sha256()
        known = [FORMAT, self.name, dict(self.parameters), self.source.fingerprint, weights is not None]
        digest.update(json.dumps(known, sort_keys=True).encode())
        for name, tensor in sorted((weights or {}).items()):
            digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _real(classes: ClassPair) -> Rows:
    """The source's own test images of both classes, by turns: those of two-classes with its default seed."""
    source = classes.source
    if source.partitions is None or "test" not in source.partitions:
        raise DatasetError(
            f'{source.name} has no partition "test"; set tested_on = "samples", or take a source that has one'
        )
    for side, name in enumerate(classes.names):
        if not len(classes.rows(side, "test")):
            raise DatasetError(
                f'{source.name}: class "{name}" has no image in the partition "test"; '
                'set tested_on = "samples", or choose another attribute or pair'
            )
    return classes.balanced("test", seed=0)
