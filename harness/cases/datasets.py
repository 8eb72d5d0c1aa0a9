"""The data sets of a plan are opened here, and the sample that is attacked is drawn."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.cases.comparisons import Drawn, draw_comparisons, read_comparisons
from harness.dataset import Dataset
from harness.errors import DatasetError, HarnessError, ManifestError, nearest
from harness.plan.attacks import AttackChoice
from harness.plan.cells import Plan
from harness.plan.datasets import DatasetChoice
from harness.randomness import derived_seed
from harness.training import StateDict

VERIFIER = "embedding"
"""The head of models that compare faces."""
Learn = Callable[[DatasetChoice, Dataset | None], StateDict | None]
"""Returns what a data set's ``fit`` learns from the data set that it is made from."""


@dataclass(frozen=True, eq=False)
class OpenedDataset:
    """An opened data set of the plan knows which of its rows are attacked."""

    choice: DatasetChoice
    dataset: Dataset
    rows: npt.NDArray[np.intp]
    """The sample."""
    comparisons: Drawn | None = None
    """What verifiers compare; None where none is attacked on it."""
    sampled: bool = True
    """Whether the sample is attacked: it is not where all models are verifiers."""

    def read(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """Return the pixels (B, C, H, W) of some rows; raise what ``pixels`` raises."""
        return pixels(self.dataset, rows)

    @cached_property
    def attacked(self) -> npt.NDArray[np.intp]:
        """Return the rows of all images that some model may be attacked on."""
        if self.comparisons is None:
            return self.rows
        return np.union1d(self.rows, self.comparisons.probes) if self.sampled else self.comparisons.probes

    @property
    def shortage(self) -> list[str]:
        """Return a line for each number of persons that the data set does not have."""
        told = [] if self.comparisons is None else self.comparisons.shortage
        return [f"{self.choice.label}: {line}" for line in told]

    @property
    def sample_digest(self) -> str:
        """Return a digest of the sample's ids."""
        return _digest(self.dataset, self.rows)

    @cached_property
    def pictured(self) -> npt.NDArray[np.intp]:
        """Return the rows of all images that are attacked, or that may be references."""
        if self.comparisons is None:
            return self.rows
        return np.union1d(self.attacked, self.comparisons.candidates)

    @property
    def pictured_digest(self) -> str:
        """Return a digest of the ids of these images."""
        return _digest(self.dataset, self.pictured)


def _digest(dataset: Dataset, rows: npt.NDArray[np.intp]) -> str:
    ids = "\n".join(dataset.ids[row] for row in rows)
    return hashlib.sha256(ids.encode()).hexdigest()[:16]


def pixels(dataset: Dataset, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
    """Return the pixels (B, C, H, W) of some rows of a data set.

    Raises:
        DatasetError: they cannot be read.
    """
    try:
        return dataset.images(rows)
    except HarnessError:
        raise
    except Exception as error:
        raise DatasetError(f"{dataset.name}: {type(error).__name__}: {error}") from error


def open_dataset(
    choice: DatasetChoice,
    learn: Learn | None = None,
    opened: dict[DatasetChoice, Dataset] | None = None,
) -> Dataset:
    """Open a data set of the plan, and first the one that it is made from.

    Args:
        learn: fits a data set to its source, or finds the fit in the cache. Where it is None, or returns
            None, a data set that needs a fit has no images to read.
        opened: the sources that are open already; those that are opened here are added.

    Raises:
        DatasetError: files are missing or wrong.
    """
    opened = {} if opened is None else opened
    spec = choice.entry.spec
    given: list[Any] = []
    if choice.source is not None:
        if choice.source not in opened:
            opened[choice.source] = open_dataset(choice.source, learn, opened)
        given.append(opened[choice.source])
    if spec.fit:
        given.append(learn(choice, given[0] if given else None) if learn else None)
    try:
        dataset: Dataset = choice.entry.call(spec.load, *given, values=choice.parameters)
    except HarnessError as error:
        raise DatasetError(f"{choice.place}: {error}") from error
    except Exception as error:
        raise DatasetError(f"{choice.place}: {type(error).__name__}: {error}") from error
    if not isinstance(dataset, Dataset):
        raise DatasetError(f"{choice.place}: load returned {type(dataset).__name__}, not a harness.Dataset")
    return _of_code(dataset, choice.entry.code)


def _of_code(dataset: Dataset, code: str) -> Dataset:
    """Return a data set whose fingerprint depends on the code that made it, where a version does not tell."""
    if not code:
        return dataset
    told = copy.copy(dataset)
    object.__setattr__(told, "fingerprint", dataset.fingerprint + code)
    return told


def open_datasets(
    planned: Plan, limit: int | None, learn: Learn | None = None
) -> dict[DatasetChoice, OpenedDataset]:
    """Open every data set of the plan, and draw what is attacked.

    Args:
        learn: as of ``open_dataset``.

    Raises:
        DatasetError: files are missing or wrong, or there are too few images.
        ManifestError: an attack names an attribute that there is not.
    """
    loaded = {}
    opened: dict[DatasetChoice, Dataset] = {}
    heads: dict[DatasetChoice, set[str]] = {}
    for cell in planned.cells:
        heads.setdefault(cell.dataset, set()).add(cell.model.entry.spec.head)
    for choice in planned.datasets:
        dataset, seed = open_dataset(choice, learn, opened), planned.suite.seed
        found, drawn = heads.get(choice, set()), None
        if VERIFIER in found and choice.comparisons is not None:
            make = draw_comparisons if choice.comparisons.file is None else read_comparisons
            drawn = make(choice.comparisons, dataset, seed, limit, choice.place)
        rows = draw(choice, dataset, seed, limit)
        loaded[choice] = OpenedDataset(choice, dataset, rows, drawn, found != {VERIFIER})
    for choice, attack in dict.fromkeys((cell.dataset, cell.attack) for cell in planned.cells):
        check_attributes(attack, loaded[choice].dataset)
    return loaded


def draw(choice: DatasetChoice, dataset: Dataset, seed: int, limit: int | None) -> npt.NDArray[np.intp]:
    """Return the rows that a suite attacks, in order; a smaller sample is part of a larger one.

    Raises:
        DatasetError: the partition is unknown, or holds fewer images than the sample asks for.
    """
    rows = dataset.rows(choice.partition)
    sample = len(rows) if choice.sample is None else choice.sample
    if sample > len(rows):
        raise DatasetError(
            f'{choice.place}: sample = {sample}, but partition "{choice.partition}" has {len(rows)} images'
        )
    generator = np.random.Generator(np.random.Philox(derived_seed(seed, "sample")))
    return np.sort(generator.permutation(rows)[: min(sample, limit or sample)])


def check_attributes(attack: AttackChoice, dataset: Dataset) -> None:
    """Refuse an attack that is to flip an attribute which the data set does not have.

    Raises:
        ManifestError: one is unknown.
    """
    for name in attack.attributes or ():
        if dataset.attribute_names and name not in dataset.attribute_names:
            remedy = nearest(name, dataset.attribute_names)
            raise ManifestError(f'{attack.place}: attribute "{name}" is unknown; {remedy}')
