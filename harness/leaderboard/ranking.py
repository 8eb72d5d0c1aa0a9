"""Ranks say when two numbers are statistically the same; the order of a board's rows follows from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

CLEAN, WORST_CASE = "clean", "worst-case"
"""The attack of the row without attack, and that of the pointwise worst case over all attacks."""


def standing(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ranks, and whether each is shared, from 95 % intervals; the largest numbers come first.

    A rank is one more than the number of others that are clearly better, their interval lying wholly above
    this one's. A rank is tied where some other's interval overlaps this one's. Overlap is not transitive: of
    three neighbours the outer two may differ although neither differs from the middle one.
    """
    above: npt.NDArray[Any] = low[None, :] > high[:, None]  # (one, other)
    apart = above | above.T
    np.fill_diagonal(apart, True)
    return 1 + above.sum(axis=1), (~apart).any(axis=1)


def ranked(board: pd.DataFrame) -> pd.DataFrame:
    """Return the board with its ranks: of models against an attack, and of attacks on a model.

    ``rank`` and ``tied`` compare the models of one dataset, attack, threat and goal by robust accuracy,
    ``attack_rank`` and ``attack_tied`` the attacks on one dataset, model and goal by success rate. Null
    where there is nothing to compare.
    """
    board = board.copy()
    attacks = ~board["attack"].isin([CLEAN, WORST_CASE])
    for prefix, number, keys, among in (
        ("", "robust_accuracy", ["dataset", "attack", "threat", "goal"], board["attack"].notna()),
        ("attack_", "success_rate", ["dataset", "model", "goal"], attacks),
    ):
        ranks: list[int | None] = [None] * len(board)
        ties: list[bool | None] = [None] * len(board)
        compared = np.flatnonzero(among & board[number].notna())
        for members in board.iloc[compared].groupby(keys, sort=False).indices.values():
            at = compared[members]
            low, high = (board[f"{number}{end}"].to_numpy(float)[at] for end in ("_low", "_high"))
            for place, rank, tied in zip(at, *standing(low, high), strict=True):
                ranks[place], ties[place] = int(rank), bool(tied)
        board[f"{prefix}rank"] = pd.array(ranks, dtype="Int64")
        board[f"{prefix}tied"] = pd.array(ties, dtype="boolean")
    return board


def ordered(board: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows by dataset, goal and model, the most robust in its worst case first.

    The rows of a model are the clean one, the attacks from the strongest to the weakest, the worst case.
    """
    worst = board[board["attack"] == WORST_CASE].set_index(["dataset", "goal", "model"])["robust_accuracy"]
    keys = zip(board["dataset"], board["goal"], board["model"], strict=True)
    robust = {key: -value for key, value in worst.items() if value == value}
    block = board["attack"].map({CLEAN: 0, WORST_CASE: 2}).fillna(1)
    return (
        board.assign(_robust=[robust.get(key, np.inf) for key in keys], _block=block)
        .assign(_success=-board["success_rate"].astype(float))
        .sort_values(
            ["dataset", "goal", "_robust", "model", "_block", "_success", "attack", "threat"],
            na_position="last",
            kind="stable",
        )
        .drop(columns=["_robust", "_block", "_success"])
        .reset_index(drop=True)
    )
