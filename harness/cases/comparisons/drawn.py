"""The comparisons of a data set that do not depend on a model: who is attacked, by whom, and who calibrates.

Everything is drawn by digests of the suite's seed with persons and sample ids, so that a smaller number of
persons or images is part of a larger one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.plan.comparisons import Comparisons
from harness.randomness import derived_seed

Rows = npt.NDArray[np.intp]
Digests = npt.NDArray[np.uint64]
SplitName = Literal["calibration", "attacked"]
_KEYS: Mapping[SplitName, str] = {"calibration": "calibration_targets", "attacked": "targets"}
"""The keys that say how many persons of each split have references."""


@dataclass(frozen=True, eq=False)
class Person:
    """A person has a name and images."""

    name: str
    rows: Rows
    """(K,) of the data set, in its order."""
    draw: np.uint64
    """The person's own number, with which images are drawn for the person."""


@dataclass(frozen=True, eq=False)
class Listed:
    """Listed comparisons are pairs of images, as a file has them."""

    probes: Rows  # (N,)
    references: Rows  # (N,)
    same: npt.NDArray[np.bool_]  # (N,)
    folds: npt.NDArray[np.int64] | None  # (N,)

    def part(self, chosen: npt.NDArray[np.bool_] | slice) -> Listed:
        """Return some of the pairs."""
        folds = None if self.folds is None else self.folds[chosen]
        return Listed(self.probes[chosen], self.references[chosen], self.same[chosen], folds)


@dataclass(frozen=True, eq=False)
class Split:
    """A split has the persons whose references are compared, and the images that they are compared with."""

    name: SplitName
    targets: tuple[Person, ...]
    pool: Rows
    """(P,) sorted: the images of all persons of the split."""
    clean_intruders: int | None
    """So many images of others are compared with a reference; None: all."""
    clean_genuine: int | None
    """So many other images of the person; None: all."""
    listed: Listed | None = None
    """The comparisons themselves, where a file names them."""

    def digest(self, dataset: Dataset) -> str:
        """Return a digest of what is compared with what."""
        told = [self.clean_intruders, self.clean_genuine, *(person.name for person in self.targets)]
        told += [dataset.ids[row] for row in self.pool]
        if self.listed is not None:
            for rows in (self.listed.probes, self.listed.references):
                told += [dataset.ids[row] for row in rows]
            told += self.listed.same.tolist()
        return hashlib.sha256("\n".join(map(str, told)).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Drawn comparisons are those of a data set, before a model chooses references."""

    settings: Comparisons
    dataset: Dataset
    calibration: Split
    attacked: Split
    people: Mapping[int, str]
    """The person that each row shows, of all rows of both splits."""
    limit: int | None
    """At most so many cases of each goal are attacked."""
    seed: int

    @cached_property
    def rows(self) -> Rows:
        """Return every image that is compared, sorted."""
        return np.union1d(self.calibration.pool, self.attacked.pool)

    @cached_property
    def draws(self) -> Digests:
        """Return (N,) a number of each row of ``rows`` that decides when it is drawn."""
        return np.array([_number(self.seed, "image", self.dataset.ids[row]) for row in self.rows], np.uint64)

    def order(self, person: Person, rows: Rows) -> Rows:
        """Return rows in the order in which they are drawn for a person."""
        own = self.draws[np.searchsorted(self.rows, rows)]
        return rows[np.lexsort((rows, _mixed(own ^ person.draw)))]

    def others(self, split: Split, person: Person) -> Rows:
        """Return the images of other persons in a split, sorted."""
        return np.setdiff1d(split.pool, person.rows, assume_unique=True)

    @cached_property
    def probes(self) -> Rows:
        """Return the images that may be attacked, sorted: more than are, since a model chooses references."""
        listed, settings = self.attacked.listed, self.settings
        if listed is not None:
            return np.unique(listed.probes)
        found = [np.zeros(0, np.intp)]
        for person in self.attacked.targets:
            found.append(self.order(person, self.others(self.attacked, person))[: settings.intruders])
            found.append(self.order(person, person.rows)[: settings.genuine + settings.references])
            found.append(self.order(person, person.rows)[: settings.triplets + 1])
        return np.unique(np.concatenate(found))

    @cached_property
    def candidates(self) -> Rows:
        """Return the images that a model may choose as references of attacked comparisons, sorted."""
        if self.attacked.listed is not None:
            return np.unique(self.attacked.listed.references)
        return np.unique(
            np.concatenate([np.zeros(0, np.intp), *(person.rows for person in self.attacked.targets)])
        )

    @property
    def digest(self) -> str:
        """Return a digest of the calibration, which decides the thresholds of every model."""
        return self.calibration.digest(self.dataset)

    @property
    def persons(self) -> dict[str, dict[str, int | str]]:
        """Return how many persons each key asks for ("asked"), and how many there are ("drawn").

        Empty where a file says what is compared.
        """
        return {
            _KEYS[split.name]: {
                "asked": getattr(self.settings, _KEYS[split.name]),
                "drawn": len(split.targets),
            }
            for split in (self.attacked, self.calibration)
            if split.listed is None
        }

    @property
    def shortage(self) -> list[str]:
        """Return a line for each number of persons that is smaller than the one that was asked for."""
        return [
            f"{key} = {count['asked']}, but only {count['drawn']} persons have enough images; all are taken"
            for key, count in self.persons.items()
            if isinstance(count["asked"], int) and count["drawn"] != count["asked"]
        ]


def draw_comparisons(
    settings: Comparisons, dataset: Dataset, seed: int, limit: int | None, place: str
) -> Drawn:
    """Draw the comparisons of a data set.

    Args:
        limit: at most so many cases of each goal.
        place: where the suite names the data set; errors begin with it.

    Raises:
        DatasetError: the data set has no identities, fewer persons than the manifest names, or lacks a
            partition.
    """
    if dataset.identities is None:
        raise DatasetError(
            f"{place}: {dataset.name} does not say who its images show; comparisons need "
            'that: take a data set with identities, such as "image-folder", or name a file of pairs'
        )
    names = people_of(dataset)
    attacked, calibration = _partitions(settings, dataset, seed, place)
    splits: dict[SplitName, Split] = {}
    asked: tuple[tuple[SplitName, Rows, int | str, int], ...] = (
        ("calibration", calibration, settings.calibration_targets, settings.references + 1),
        ("attacked", attacked, settings.targets, settings.references + settings.genuine),
    )
    for name, rows, targets, least in asked:
        people = people_in(rows, names, seed)
        chosen = [person for person in people if len(person.rows) >= least]
        if not chosen or len(people) < 2:
            raise DatasetError(
                f"{place}: of {len(people)} persons of the {name} images {len(chosen)} have {least} images, "
                "and two persons are needed; ask for fewer genuine images or references, or for more images"
            )
        key = _KEYS[name]
        if key in settings.exact and isinstance(targets, int) and targets > len(chosen):
            part = settings.attacked if name == "attacked" else settings.calibration
            raise DatasetError(
                f'{place}.comparisons.{key} = {targets}, but of the {len(people)} persons of "{part}" '
                f"{len(chosen)} have the {least} images that are asked for; write {key} = {len(chosen)}, or "
                f'"all" to take as many as there are'
            )
        chosen.sort(key=lambda person: (int(person.draw), person.name))
        splits[name] = Split(
            name,
            tuple(chosen[: _count(targets)]),
            np.sort(rows),
            _count(settings.clean_intruders),
            _count(settings.clean_genuine),
        )
    known = {int(row): names[int(row)] for row in np.concatenate([attacked, calibration])}
    most = smaller_of(limit, settings.cases)
    return Drawn(settings, dataset, splits["calibration"], splits["attacked"], known, most, seed)


def people_of(dataset: Dataset) -> dict[int, str]:
    """Return the name, or else the number, of the person that each row shows."""
    assert dataset.identities is not None
    numbers, names = dataset.identities.tolist(), dataset.identity_names
    return {row: names[number] if names else str(number) for row, number in enumerate(numbers)}


def smaller_of(one: int | None, other: int | None) -> int | None:
    """Return the smaller of two limits, each of which may be none."""
    known = [count for count in (one, other) if count is not None]
    return min(known) if known else None


def _partitions(settings: Comparisons, dataset: Dataset, seed: int, place: str) -> tuple[Rows, Rows]:
    """Return the rows of the attacked persons and of those of the calibration, who are others."""
    assert dataset.identities is not None
    if dataset.partitions is None or "all" in (settings.attacked, settings.calibration):
        attacked = calibration = dataset.rows()
    else:
        attacked, calibration = dataset.rows(settings.attacked), dataset.rows(settings.calibration)
    who = dataset.identities
    if np.array_equal(attacked, calibration):
        people = np.unique(who[attacked]).tolist()
        people.sort(key=lambda person: (_number(seed, "half", person), person))
        half = np.array(people[: (len(people) + 1) // 2])
        return attacked[np.isin(who[attacked], half)], attacked[~np.isin(who[attacked], half)]
    left = calibration[~np.isin(who[calibration], who[attacked])]
    if not len(left):
        raise DatasetError(
            f'{place}: all persons of "{settings.calibration}" are in "{settings.attacked}", too; name the '
            "same partition twice, and its persons are divided by the seed"
        )
    return attacked, left


def people_in(rows: Rows, names: Mapping[int, str], seed: int) -> list[Person]:
    """Return the persons whom some rows show."""
    groups: dict[str, list[int]] = {}
    for row in np.sort(rows).tolist():
        groups.setdefault(names[row], []).append(row)
    return [
        Person(name, np.array(own, np.intp), np.uint64(_number(seed, "person", name)))
        for name, own in groups.items()
    ]


def _count(wanted: int | str) -> int | None:
    return None if isinstance(wanted, str) else wanted


def _number(*parts: object) -> int:
    return derived_seed(*parts)


def _mixed(numbers: Digests) -> Digests:
    """Return numbers that depend on each bit of the given ones (the finaliser of SplitMix64)."""
    mixed = numbers.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
