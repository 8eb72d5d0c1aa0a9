"""Persons are the people of a training partition: their crops, and how pairs of these are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.randomness import derived_seed

AT_ONCE = 256
"""The number of images that are read together."""
Rows = npt.NDArray[np.intp]
Crop = Callable[[Tensor], Tensor]
"""Returns what a network learns from, of 8-bit images (B, C, H, W): 8-bit images of one size."""


@dataclass(frozen=True, eq=False)
class Persons:
    """Persons have crops (N, C, H, W) of 8 bits, all in memory, and who each shows, numbered from 0."""

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
        """Return images (B, C, H, W) in [0, 1]."""
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
    dataset: Dataset, crop: Crop, *, held_out: int, people: int | None, seed: int
) -> tuple[Persons, Persons]:
    """Return the persons to learn from, and others of the training partition to validate on.

    Persons with a single image are left out. All are drawn by the seed; a small data set gives at most a
    third of its people to validation.

    Args:
        crop: makes of images what is learned from.
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
    learned = _persons(dataset, crop, rows, who, order[held:])
    return replace(learned, drawn_from=people), _persons(dataset, crop, rows, who, order[:held])


def _persons(
    dataset: Dataset, crop: Crop, rows: Rows, who: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64]
) -> Persons:
    """Return the persons of these identities, numbered in this order."""
    own = np.isin(who, chosen)
    by_identity = np.argsort(chosen)
    parts: Sequence[Rows] = np.array_split(rows[own], -(-int(own.sum()) // AT_ONCE))
    crops: Tensor | None = None
    start = 0
    for part in parts:
        made = crop(torch.tensor(dataset.images(part)))
        if crops is None:  # at once in its whole size: a list of parts would need twice the memory
            crops = torch.empty((int(own.sum()), *made.shape[1:]), dtype=torch.uint8)
        crops[start : start + len(part)] = made
        start += len(part)
    assert crops is not None
    return Persons(crops, by_identity[np.searchsorted(chosen[by_identity], who[own])])
