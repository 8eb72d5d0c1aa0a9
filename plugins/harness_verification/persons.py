"""Persons are the people of a training partition: their crops, and how pairs of these are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.randomness import derived_seed
from harness_verification.face_crop import EDGE, crops_of

AT_ONCE = 256
"""The number of images that are read together."""
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Persons:
    """Persons have crops (N, 3, 64, 64) of 8 bits, 12 kB each, and who each shows, numbered from 0."""

    crops: Tensor
    who: Rows  # (N,)
    drawn_from: int | None = None
    """The number of persons, the first ones, that pairs are drawn from; None: all."""

    def __len__(self) -> int:
        """Return the number of persons."""
        return int(self.who.max()) + 1

    @cached_property
    def rows_of(self) -> list[Rows]:
        """Return the rows of each person that pairs are drawn from; each has at least two."""
        order = np.argsort(self.who, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.who[order])) + 1)[: self.drawn_from]

    def images(self, rows: Rows, device: torch.device) -> Tensor:
        """Return images (B, 3, 64, 64) in [0, 1]."""
        return self.crops[torch.from_numpy(rows)].to(device).float() / 255

    def draw(self, random: np.random.Generator, count: int) -> Rows:
        """Return the rows (count,) of one image each of random persons, no person twice if they suffice."""
        people = len(self.rows_of)
        chosen = random.choice(people, count, replace=count > people)
        return np.array([random.choice(self.rows_of[person]) for person in chosen], dtype=np.intp)

    def others(self, random: np.random.Generator, rows: Rows) -> Rows:
        """Return for each row another image of the same person."""
        found = np.empty_like(rows)
        for place, row in enumerate(rows):
            own = self.rows_of[self.who[row]]
            found[place] = random.choice(own[own != row])
        return found

    def strangers(self, random: np.random.Generator, rows: Rows, each: int) -> Rows:
        """Return for each row (B,) so many images (each, B) of random other persons."""
        people = len(self.rows_of)
        steps = random.integers(1, people, (each, len(rows)))
        chosen = (self.who[rows] + steps) % people
        return np.array(
            [[random.choice(self.rows_of[one]) for one in line] for line in chosen], dtype=np.intp
        )


def split_persons(
    dataset: Dataset, *, held_out: int, people: int | None, seed: int
) -> tuple[Persons, Persons]:
    """Return the persons to learn from, and others of the training partition to validate on.

    Persons with a single image are left out. All are drawn by the seed; a small data set gives at most a
    third of its people to validation.

    Args:
        held_out: the number of persons to validate on.
        people: the largest number of persons that pairs are drawn from; None: all others.

    Raises:
        DatasetError: there is no training partition.
        ModelError: the data set knows no persons, or has fewer than four with two images.
    """
    if dataset.identities is None:
        raise ModelError(f"a verifier learns from persons, but {dataset.name} has no identities")
    rows = dataset.rows("train") if dataset.partitions is not None else dataset.rows()
    who = dataset.identities[rows]
    known, counts = np.unique(who, return_counts=True)
    known = known[counts > 1]
    if len(known) < 4:
        raise ModelError(
            f"{dataset.name}: {len(known)} persons have two training images or more, but a verifier needs 4"
        )
    order = np.random.default_rng(derived_seed(seed, "persons")).permutation(known)
    held = min(held_out, len(order) // 3)
    learned = _persons(dataset, rows, who, order[held:])
    return replace(learned, drawn_from=people), _persons(dataset, rows, who, order[:held])


def _persons(
    dataset: Dataset, rows: Rows, who: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64]
) -> Persons:
    """Return the persons of these identities, numbered in this order."""
    own = np.isin(who, chosen)
    by_identity = np.argsort(chosen)
    parts: Sequence[Rows] = np.array_split(rows[own], -(-int(own.sum()) // AT_ONCE))
    crops = torch.empty((int(own.sum()), 3, EDGE, EDGE), dtype=torch.uint8)
    start = 0
    for part in parts:
        crops[start : start + len(part)] = crops_of(torch.tensor(dataset.images(part)))
        start += len(part)
    return Persons(crops, by_identity[np.searchsorted(chosen[by_identity], who[own])])
