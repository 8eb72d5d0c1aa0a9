"""The contract of data sets asks for ids, images and annotations that are the same in every reading."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from harness.catalog import Entry, catalog
from harness.dataset import PARTITIONS, Dataset
from harness.errors import DatasetError, HarnessError
from harness.parameters import check
from harness.specs import DatasetSpec
from harness.testing.contract import (
    Case,
    Check,
    ContractFailure,
    EntrySubject,
    Inapplicable,
    cases,
    one_line,
    require,
)
from harness.testing.models.subject import ATTRIBUTES, CLASSES, noise
from harness.training import Context, Task

SOURCE = Task((3, 16, 16), ATTRIBUTES, CLASSES)
CONTEXT = Context(0, torch.device("cpu"), lambda share, word: None, lambda part, make: make())


@dataclass(frozen=True, eq=False)
class DatasetSubject(EntrySubject[DatasetSpec]):
    """A DatasetSubject is a data set with its parameters."""

    source: Dataset = field(default_factory=lambda: noise(SOURCE))
    """The data set that it is made from, if it is a derived one."""

    @cached_property
    def dataset(self) -> Dataset:
        """Return the data set, opened once."""
        return self.load()

    def load(self) -> Dataset:
        """Open the data set again.

        Raises:
            Inapplicable: a required parameter, such as a folder, was not given.
            ContractFailure: the data set cannot be opened.
        """
        spec = self.entry.spec
        parameters = self.entry.parameters()
        for name, parameter in parameters.items():
            if parameter.required and name not in self.parameters:
                raise Inapplicable(f"it needs the parameter {name}: --set {self.name}.{name}=VALUE")
        try:
            values = check(f"dataset {self.name}", self.parameters, parameters, DatasetError)
            given: list[Any] = [self.source] if spec.derived else []
            if spec.fit:
                given.append(self.entry.call(spec.fit, *given, CONTEXT, values=values))
            dataset = self.entry.call(spec.load, *given, values=values)
        except HarnessError as error:
            if spec.derived and not self.parameters:  # its source is noise, whose attributes have other names
                raise Inapplicable(f"{error}; --set {self.name}.KEY=VALUE") from error
            raise ContractFailure(f"it cannot be opened: {error}") from error
        except Exception as error:
            raise ContractFailure(f"it cannot be opened: {one_line(error)}") from error
        if not isinstance(dataset, Dataset):
            raise ContractFailure(f"load returned {type(dataset).__name__}; return a harness.Dataset")
        return dataset


def ids(subject: DatasetSubject, variant: str) -> None:
    """Ids are non-empty strings, and no two are equal."""
    dataset = subject.dataset
    require(len(dataset) > 0, "it holds no image")
    require(all(isinstance(one, str) and one for one in dataset.ids), "an id is not a string, or is empty")
    require(len(set(dataset.ids)) == len(dataset), f"{len(dataset)} images have {len(set(dataset.ids))} ids")


def images(subject: DatasetSubject, variant: str) -> None:
    """Images are uint8 of the declared shape, and do not depend on the rows that are read with them."""
    dataset = subject.dataset
    rows = np.unique(np.linspace(0, len(dataset) - 1, 6).astype(np.intp))
    try:
        together = dataset.images(rows)
        for some in (rows[::-1], rows[:1], rows[-1:], rows[:0]):
            where = np.searchsorted(rows, some)
            require(
                (dataset.images(some) == together[where]).all(),
                "an image depends on the images that are read with it, or on the time of reading",
            )
    except DatasetError as error:
        require(False, f"images cannot be read: {error}")


def labels(subject: DatasetSubject, variant: str) -> None:
    """Names, labels, partitions and landmarks are consistent."""
    dataset = subject.dataset
    for names, what in ((dataset.attribute_names, "attribute"), (dataset.class_names, "class")):
        require(len(set(names)) == len(names), f"two {what} names are equal")
    if dataset.labels is not None and dataset.class_names:
        low, high = int(dataset.labels.min()), int(dataset.labels.max())
        require(
            low >= 0 and high < len(dataset.class_names),
            f"labels are from {low} to {high}, but there are {len(dataset.class_names)} classes",
        )
    if dataset.partitions is not None:
        odd = set(dataset.partitions.tolist()) - set(PARTITIONS)
        require(not odd, f"partitions are named {sorted(odd)}; valid: {', '.join(PARTITIONS)}")
    if dataset.landmarks is not None:
        require(dataset.landmarks.shape == (len(dataset), 5, 2), "landmarks do not have the shape (N, 5, 2)")


def fingerprint(subject: DatasetSubject, variant: str) -> None:
    """A data set that is opened again has the same fingerprint, ids and first image."""
    first, again = subject.dataset, subject.load()
    require(
        bool(first.fingerprint), "its fingerprint is empty; make a digest of all that decides its content"
    )
    require(first.fingerprint == again.fingerprint, "its fingerprint differs when it is opened again")
    require(list(first.ids) == list(again.ids), "its ids differ when it is opened again")
    row = np.zeros(1, np.intp)
    require((first.images(row) == again.images(row)).all(), "its images differ when it is opened again")


DATASET_CHECKS = (
    Check(ids),
    Check(images, after=("ids",)),
    Check(labels, after=("ids",)),
    Check(fingerprint, after=("ids", "images")),
)


def dataset_checks(
    dataset: str | Entry[DatasetSpec],
    *,
    params: Mapping[str, Any] | None = None,
    source: Dataset | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Case]:
    """Return the checks of a data set as functions without arguments; see ``attack_checks`` for the others.

    Args:
        source: the data set that a derived one is made from; by default noise with the attributes "first",
            "second", … and the classes "one", "two", ….
    """
    entry = catalog().datasets[dataset] if isinstance(dataset, str) else dataset
    made_from = {} if source is None else {"source": source}
    return cases(DatasetSubject(entry, params or {}, **made_from), DATASET_CHECKS, only, skip)
