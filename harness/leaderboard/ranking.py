"""Ranks say which rows are clearly better than others; the order of a board's rows follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.leaderboard.flags import OF_MODELS
from harness.metrics.outcomes import Codebook, Flags, Keys, Outcomes
from harness.metrics.paired import difference, difference_of_sums

CLEAN, WORST_CASE = "clean", "worst-case"
"""The attack of the row without attack, and that of the pointwise worst case over attacks."""

Shares = npt.NDArray[np.float64] | npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores are what a row reached on its distinct cases, of several seeds on average; rows compare them."""

    keys: Keys
    """(N,) ascending."""
    least: Shares
    """(N,) from 0 to 1, if the open cases went against the row; as flags where each case is there once."""
    most: Shares
    """(N,) if they went its way."""


def scores_of(cases: Outcomes, hits: Flags, possible: Flags, among: Flags | slice = slice(None)) -> Scores:
    """Return the scores of some cases: ``possible`` are open, and may be hits too."""
    held = cases.keys[among]
    if held.size and (held[1:] > held[:-1]).all():  # each case once, in order: as one attack's records are
        sure = hits[among]
        return Scores(held, sure, (hits | possible)[among] if possible.any() else sure)
    keys, at, counts = np.unique(held, return_inverse=True, return_counts=True)
    least, most = (
        np.bincount(at, weights=won[among], minlength=keys.size) / counts for won in (hits, hits | possible)
    )
    return Scores(keys, least, most)


def with_keys_of(scores: Scores | None, other: Scores | None) -> Scores | None:
    """Return scores that hold the keys of others, where these are the same: a board has thousands of rows."""
    if scores is None or other is None or not np.array_equal(scores.keys, other.keys):
        return scores
    return replace(scores, keys=other.keys)


def robustness(cases: Outcomes) -> Scores:
    """Return by case whether the model is right and stays so, for the ranks of models."""
    among = cases.known | cases.open
    return scores_of(cases, cases.correct & ~cases.success & ~cases.open, cases.open, among)


def successes(cases: Outcomes) -> Scores:
    """Return by case that was classified correctly whether the attack succeeded, for the ranks of attacks."""
    return scores_of(cases, cases.success, cases.open, cases.correct)


def clearly_better(one: Scores, other: Scores, codebook: Codebook) -> bool:
    """Say whether one row is better than another on the cases that both have, beyond chance.

    The difference is paired, case by case, and open cases are counted against the one. Its 95 % interval,
    Student's t over clusters, has to lie above 0.
    """
    if np.array_equal(one.keys, other.keys):
        keys, least, most = one.keys, one.least, other.most
    else:
        keys, here, there = np.intersect1d(one.keys, other.keys, assume_unique=True, return_indices=True)
        least, most = one.least[here], other.most[there]
    low = difference(least, most, codebook.clusters(keys)).low
    return low is not None and low > 0


def standing(better: Matrix) -> tuple[list[int], list[bool]]:
    """Return ranks, and whether each is shared, from which row (R, R) is clearly better than which.

    A rank is one more than the number of rows that are clearly better, or better than such a row; so none
    stands above a row that is clearly better than it. It is tied where some other row is neither better nor
    worse.
    """
    above = better.copy()
    for middle in range(len(above)):
        above |= above[:, middle, None] & above[None, middle]
    np.fill_diagonal(above, False)
    alike = ~(above | above.T)
    np.fill_diagonal(alike, False)
    return [1 + int(count) for count in above.sum(axis=0)], [any(others) for others in alike.tolist()]


@dataclass(frozen=True, eq=False)
class _Summed:
    """Flags of a row are summed over clusters once, since it is compared with every other row."""

    keys: Keys
    sizes: npt.NDArray[np.int64]  # (C,)
    least: npt.NDArray[np.float64]  # (C,)
    most: npt.NDArray[np.float64]  # (C,)


def rank(rows: Sequence[Scores], codebook: Codebook) -> tuple[list[int], list[bool]]:
    """Return the rank of each row, and whether it is tied."""
    summed: list[_Summed | None] = []
    for row in rows:
        summed.append(_summed(row, codebook, summed))

    def is_better(one: int, other: int) -> bool:
        here, there = summed[one], summed[other]
        if here is None or there is None or here.keys is not there.keys:
            return clearly_better(rows[one], rows[other], codebook)
        low = difference_of_sums(here.least - there.most, here.sizes).low
        return low is not None and low > 0

    places = range(len(rows))
    better = np.array([[is_better(one, other) for other in places] for one in places], np.bool_)
    return standing(better.reshape(len(rows), len(rows)))


def _summed(row: Scores, codebook: Codebook, others: Sequence[_Summed | None]) -> _Summed | None:
    """Return the sums of a row's flags, with the keys of another row where these are the same.

    None where a row has shares: their sums are rounded, and depend on the order.
    """
    if row.least.dtype != np.bool_ or row.most.dtype != np.bool_:
        return None
    codes = codebook.clusters(row.keys)
    sizes = np.bincount(codes)
    held = sizes > 0
    least, most = (
        np.bincount(codes, weights=flags)[held].astype(np.float64) for flags in (row.least, row.most)
    )
    same = (one.keys for one in others if one is not None and np.array_equal(one.keys, row.keys))
    return _Summed(next(same, row.keys), sizes[held], least, most)


def ranked(
    rows: Sequence[Mapping[str, Any]],
    scores: Sequence[Scores | None],
    keys: Iterable[str],
    codebook: Codebook,
) -> list[tuple[int, bool] | None]:
    """Return rank and tie of the rows that have scores, among those that agree in some columns."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    keys = tuple(keys)
    for at, (row, own) in enumerate(zip(rows, scores, strict=True)):
        if own is not None:
            groups.setdefault(tuple(row[key] for key in keys), []).append(at)
    found: list[tuple[int, bool] | None] = [None] * len(rows)
    for members in groups.values():
        ranks = rank([own for at in members if (own := scores[at]) is not None], codebook)
        for at, place, tied in zip(members, *ranks, strict=True):
            found[at] = place, tied
    return found


def ordered(board: pd.DataFrame, threats: Sequence[str]) -> pd.DataFrame:
    """Sort the rows by dataset, goal and model, the most robust under the first of the threats first.

    The rows of a model are the clean one, the attacks from the strongest to the weakest, the worst cases in
    the order of the threats. A model that was not attacked under the first threat comes after the others, and
    one that is flagged itself, and so has no rank, after these.
    """
    worst = board[(board["attack"] == WORST_CASE) & (board["threat"].isin(threats[:1]))]
    robust = worst.set_index(["dataset", "goal", "model"])["robust_accuracy"].dropna().to_dict()
    keys = zip(board["dataset"], board["goal"], board["model"], strict=True)
    unranked = [bool(OF_MODELS.intersection(flags.split(", "))) for flags in board["flags"].fillna("")]
    block = board["attack"].map({CLEAN: 0, WORST_CASE: 2}).fillna(1)
    places = board["threat"].map({threat: place for place, threat in enumerate(threats)}).fillna(len(threats))
    return (
        board.assign(_unranked=unranked, _robust=[-robust.get(key, -np.inf) for key in keys], _block=block)
        .assign(_success=-board["success_rate"].astype(float).where(block != 2, np.nan))
        .assign(_threat=places.where(block == 2, 0))
        .sort_values(
            [
                "dataset",
                "goal",
                "_unranked",
                "_robust",
                "model",
                "_block",
                "_threat",
                "_success",
                "attack",
                "threat",
            ],
            na_position="last",
            kind="stable",
        )
        .drop(columns=["_unranked", "_robust", "_block", "_success", "_threat"])
        .reset_index(drop=True)
    )
