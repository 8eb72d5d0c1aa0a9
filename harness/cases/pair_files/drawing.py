"""Pairs are drawn from a data set with identities: as many genuine and impostor pairs as are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from harness.cases.pair_files.pairs import Pairs
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.randomness import derived_seed

PATIENCE = 20
"""How many tries per pair are made to draw persons before images."""

Rows = npt.NDArray[np.intp]
Couple = tuple[int, int]
"""Two rows of the data set, the smaller first."""


def draw_pairs(
    dataset: Dataset, rows: Rows, *, genuine: int, impostor: int, folds: int = 1, seed: int = 0
) -> Pairs:
    """Return pairs of some rows of a data set, drawn as LFW's: none twice, fold by fold, genuine ones first.

    Persons are dealt to the folds, so that no two folds share one. Genuine pairs take turns: each person with
    a further pair of images has one before another has the next. Of an impostor pair, both persons are drawn,
    and then an image of each.

    Args:
        genuine: the number of genuine pairs in all folds together; folds differ by at most one.
        impostor: the same of impostor pairs.
        folds: the number of folds; with 1, the pairs have none.

    Raises:
        DatasetError: the data set has no identities, or fewer pairs than are asked for.
    """
    if dataset.identities is None:
        raise DatasetError(f"{dataset.name} has no identities, from which pairs of one person could be drawn")
    if genuine < 0 or impostor < 0 or folds < 1 or genuine + impostor < folds:
        asked = f"{genuine} genuine and {impostor} impostor pairs in {folds} folds"
        raise DatasetError(f"{asked} cannot be drawn; ask for at least one fold, and for a pair in each")
    random = np.random.Generator(np.random.Philox(derived_seed(seed, "pairs")))
    persons = _persons(dataset.identities, rows)
    dealt = random.permutation(len(persons))
    drawn: list[tuple[Couple, bool, int]] = []
    for fold in range(folds):
        own = [persons[place] for place in dealt[fold::folds]]
        where = f"{dataset.name}: fold {fold + 1} of {folds}" if folds > 1 else dataset.name
        for same, count, draw in ((True, genuine, _genuine), (False, impostor, _impostor)):
            share = count * (fold + 1) // folds - count * fold // folds
            possible = _possible(own, same)
            if share > possible:
                kind = "genuine" if same else "impostor"
                remedy = f"ask for fewer {kind} pairs or folds"
                raise DatasetError(
                    f"{where} has {len(own)} persons with {possible} {kind} pairs, not {share}; {remedy}"
                )
            drawn += [(couple, same, fold + 1) for couple in draw(own, share, random)]
    return Pairs(
        tuple(dataset.ids[couple[0]] for couple, _, _ in drawn),
        tuple(dataset.ids[couple[1]] for couple, _, _ in drawn),
        np.array([same for _, same, _ in drawn], np.bool_),
        np.array([fold for _, _, fold in drawn], np.int64) if folds > 1 else None,
    )


def _persons(identities: npt.NDArray[np.int64], rows: Rows) -> list[Rows]:
    """Return the rows of each person, in the order in which persons first appear."""
    rows = np.unique(rows)
    _, first, sizes = np.unique(identities[rows], return_index=True, return_counts=True)
    of_person = np.split(rows[np.argsort(identities[rows], kind="stable")], np.cumsum(sizes)[:-1])
    return [of_person[person] for person in np.argsort(first)]


def _possible(persons: Sequence[Rows], same: bool) -> int:
    """Return how many genuine or impostor pairs there are."""
    sizes = np.array([len(own) for own in persons], np.int64)
    genuine = int((sizes * (sizes - 1) // 2).sum())
    images = int(sizes.sum())
    return genuine if same else images * (images - 1) // 2 - genuine


def _genuine(persons: Sequence[Rows], count: int, random: np.random.Generator) -> Iterator[Couple]:
    """Yield genuine pairs, person by person; before, all persons in turn were given one more pair."""
    limits = np.array([len(own) * (len(own) - 1) // 2 for own in persons])
    shares = np.zeros(len(persons), np.int64)
    while (left := count - int(shares.sum())) > 0:
        shares[random.permutation(np.flatnonzero(shares < limits))[:left]] += 1
    for own, share, limit in zip(persons, shares, limits, strict=True):
        first, second = np.triu_indices(len(own), 1)
        for place in random.choice(limit, share, replace=False) if share else ():
            yield int(own[first[place]]), int(own[second[place]])


def _impostor(persons: Sequence[Rows], count: int, random: np.random.Generator) -> Iterator[Couple]:
    """Yield impostor pairs: two persons are drawn, and an image of each."""
    owners = np.repeat(np.arange(len(persons)), [len(own) for own in persons])
    images = np.concatenate(persons) if persons else np.zeros(0, np.intp)
    taken: set[Couple] = set()
    tries = 0
    while len(taken) < count:
        tries += 1
        if tries <= PATIENCE * count:
            one, other = random.choice(len(persons), 2, replace=False)
            a, b = (int(random.choice(persons[person])) for person in (one, other))
        else:  # few persons have all that is left: images are drawn, whoever they show
            first, second = random.choice(len(images), 2, replace=False)
            if owners[first] == owners[second]:
                continue
            a, b = int(images[first]), int(images[second])
        couple = min(a, b), max(a, b)
        if couple not in taken:
            taken.add(couple)
            yield couple
