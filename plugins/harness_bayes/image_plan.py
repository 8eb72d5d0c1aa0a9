"""An ImagePlan lists the images of a data set of mixtures: samples for each partition, then real images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.training import StateDict
from harness_bayes.class_pair import ClassPair, Rows, class_pair
from harness_bayes.drawn_images import labels_of
from harness_bayes.sample_ids import SampleIds

FORMAT = "mixtures 1"
"""A part of the fingerprint, to be increased when the same parameters and mixtures give other images."""
TestedOn = Literal["samples", "real"]
Count = Annotated[int, Ge(0)]
LARGEST_CLIP = 2.0
"""It is below 2.6, where outliers with fifty times the noise decide, and above what most images need."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A Sampling says which images a data set has, and how they are sampled from the mixtures."""

    attribute: str | None = None
    """Class 0 has the images without it, class 1 those with it."""
    pair: list[str] | None = None
    """Or the names of two classes of the source."""
    train: Count = 20_000
    """The number of training images."""
    validation: Count = 1000
    """The number of validation images."""
    test: Count = 1000
    """The number of images to attack; if these are real, the largest number."""
    tested_on: TestedOn = "samples"
    """Whether the test images are sampled like the others, or are the real test images of the source, as many
    of each class."""
    sigma: Annotated[float, Ge(1e-6)] = 0.01
    """The deviation of the noise of every pixel, except for outliers; images are in [0, 1]."""
    largest_clip: Annotated[float, Gt(0)] = LARGEST_CLIP
    """The largest change of a sample, except for outliers, by clipping to [0, 1]: the root mean square over
    its pixels in units of ``sigma``. Samples with a larger one are drawn again; inf accepts all. A change of
    2.6 would give a sample to the outliers."""


@dataclass(frozen=True, eq=False)
class ImagePlan:
    """An ImagePlan lists the images of a data set that is made from two classes of another one."""

    name: str
    classes: ClassPair
    drawn: Mapping[str, int]
    """The number of sampled images by partition."""
    real: Rows
    """(R,): the rows of the source that follow as the partition "test"."""
    sampling: Sampling
    parameters: Mapping[str, Any]
    """All parameters of the data set."""

    @classmethod
    def of(cls, name: str, source: Dataset, sampling: Sampling, **more: Any) -> ImagePlan:
        """Plan the images that the parameters ask for; ``more`` are those beside ``sampling``.

        Raises:
            DatasetError: the parameters do not name two classes of images, or ask for no image.
        """
        classes = class_pair(source, sampling.attribute, sampling.pair)
        counts = {"train": sampling.train, "validation": sampling.validation, "test": sampling.test}
        real = np.empty(0, np.intp)
        if sampling.tested_on == "real":
            real = _real(classes)[: counts.pop("test")]
        drawn = {partition: count for partition, count in counts.items() if count}
        if not drawn and not len(real):
            raise DatasetError(f"{name}: train, validation and test are all 0; set one of them")
        return cls(name, classes, drawn, real, sampling, {**asdict(sampling), **more})

    def __len__(self) -> int:
        return sum(self.drawn.values()) + len(self.real)

    @property
    def source(self) -> Dataset:
        """Return the data set with the two classes."""
        return self.classes.source

    def fields(self) -> dict[str, Any]:
        """Return all fields of a ``Dataset`` except its images and its fingerprint."""
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
        """Group ``rows`` (B,): partition ("" for real images), places in ``rows``, and numbers there.

        Raises:
            DatasetError: there is no such row.
        """
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise DatasetError(f"{self.name}: rows must be from 0 to {len(self) - 1}")
        found, start = [], 0
        for partition, count in (*self.drawn.items(), ("", len(self.real))):
            places = np.flatnonzero((rows >= start) & (rows < start + count))
            if len(places):
                found.append((partition, places, rows[places] - start))
            start += count
        return found

    def people(self, rows: Rows) -> dict[str, npt.NDArray[np.float64]]:
        """Return as "identity" the person in each of ``rows`` (B,), if all are real and it is known.

        Drawn images show nobody, so the data set as a whole has no identities.
        """
        drawn = sum(self.drawn.values())
        if self.source.identities is None or not len(rows) or rows.min() < drawn:
            return {}
        return {"identity": self.source.identities[self.real[rows - drawn]].astype(np.float64)}

    def fingerprint(self, weights: StateDict | None) -> str:
        """Return a digest of all that decides the images: parameters, source, and all learned weights."""
        digest = hashlib.sha256()
        known = [FORMAT, self.name, dict(self.parameters), self.source.fingerprint, weights is not None]
        digest.update(json.dumps(known, sort_keys=True).encode())
        for name, tensor in sorted((weights or {}).items()):
            digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _real(classes: ClassPair) -> Rows:
    """Return the source's test images of both classes, alternating: those of two-classes with seed 0."""
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
