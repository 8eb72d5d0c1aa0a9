"""Comparisons that a file names are divided here: some are attacked, and some decide the thresholds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from harness.cases.comparisons.drawn import (
    Drawn,
    Listed,
    Rows,
    Split,
    SplitName,
    people_in,
    people_of,
    smaller_of,
)
from harness.cases.pair_files import Pairs, read_pairs
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.plan.comparisons import Comparisons
from harness.randomness import derived_seed

Flags = npt.NDArray[np.bool_]


def read_comparisons(
    settings: Comparisons, dataset: Dataset, seed: int, limit: int | None, place: str
) -> Drawn:
    """Read the comparisons of a data set from a file.

    The comparisons of one fold are attacked, and those of the other folds, as far as they show nobody of that
    fold, decide the thresholds. A file without folds is divided by persons: the comparisons among one half of
    them are attacked, those among the other half calibrate, and those between the halves are left out.

    Raises:
        DatasetError: the file cannot be read, or one of the two would be empty.
    """
    assert settings.file is not None
    pairs = read_pairs(settings.file, dataset)
    probes, references = (
        np.array([dataset.row_of[name] for name in names], np.intp) for names in (pairs.a, pairs.b)
    )
    names = (
        people_of(dataset)
        if dataset.identities is not None
        else _people_of(dataset, pairs, probes, references)
    )
    whole = Listed(probes, references, pairs.same, pairs.fold)
    who = np.array([[names[int(row)] for row in rows] for rows in (probes, references)])  # (2, N)
    if pairs.fold is None:
        if settings.fold is not None:
            raise DatasetError(f"{place}: {settings.file} has no folds, so fold = {settings.fold} names none")
        attacked, calibration = _halves(who, seed)
    else:
        attacked, calibration = _folds(pairs.fold, settings, who, place)
    for name, chosen in (("attacked", attacked), ("calibration", calibration)):
        if not chosen.any():
            raise DatasetError(
                f"{place}: of {len(pairs)} comparisons of {settings.file} none is left for the {name}, since "
                "nobody may be in both; give a file of more persons, or with folds of other persons"
            )

    def split(name: SplitName, chosen: Flags) -> Split:
        rows = np.union1d(probes[chosen], references[chosen])
        return Split(name, tuple(people_in(rows, names, seed)), rows, None, None, whole.part(chosen))

    halves = split("calibration", calibration), split("attacked", attacked)
    known = {int(row): names[int(row)] for half in halves for row in half.pool}
    return Drawn(settings, dataset, *halves, known, smaller_of(limit, settings.cases), seed)


def _folds(
    folds: npt.NDArray[np.int64], settings: Comparisons, who: npt.NDArray[np.str_], place: str
) -> tuple[Flags, Flags]:
    """Return which comparisons are of the attacked fold, and which others show none of its persons."""
    known = np.unique(folds).tolist()
    wanted = known[-1] if settings.fold is None else settings.fold
    if wanted not in known:
        told = f"{known[0]} to {known[-1]}"
        raise DatasetError(f"{place}: {settings.file} has no fold {wanted}; it has folds from {told}")
    if len(known) == 1:
        raise DatasetError(
            f"{place}: {settings.file} has fold {wanted} alone, so that no other one gives thresholds; name "
            "a file of several folds, or leave the column fold out, and its persons are divided"
        )
    attacked = folds == wanted
    return attacked, ~attacked & ~np.isin(who, who[:, attacked]).any(0)


def _halves(who: npt.NDArray[np.str_], seed: int) -> tuple[Flags, Flags]:
    """Return which comparisons are among one half of the persons, and which among the other."""
    people = np.unique(who).tolist()
    people.sort(key=lambda person: (derived_seed(seed, "half", person), person))
    inside = np.isin(who, people[: (len(people) + 1) // 2])
    return inside[0] & inside[1], ~(inside[0] | inside[1])


def _people_of(dataset: Dataset, pairs: Pairs, probes: Rows, references: Rows) -> dict[int, str]:
    """Return who each row shows, where only the pairs tell: what they link, shows one person."""
    rows, at = np.unique(np.concatenate([probes, references]), return_inverse=True)
    one, other = at[: len(probes)], at[len(probes) :]
    links = coo_array(
        (np.ones(int(pairs.same.sum())), (one[pairs.same], other[pairs.same])), shape=(len(rows), len(rows))
    )
    _, groups = connected_components(links, directed=False)
    firsts = rows[np.unique(groups, return_index=True)[1]]
    found = zip(rows.tolist(), firsts[groups].tolist(), strict=True)
    return {row: f"the person of {dataset.ids[first]}" for row, first in found}
