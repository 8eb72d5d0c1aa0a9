"""Flips count how often adversarials of one attribute change the decisions on the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis import reading
from harness.metrics import NOTHING, Estimate, mean, wilson
from harness_attributes.analyses.study import KEY, Cell, Study, hits, of_sign


@dataclass(frozen=True, eq=False)
class Flips:
    """Flips are decisions that adversarials changed: of which attribute, by images made for which."""

    made_for: list[str]
    """Columns: the attributes that were to be flipped."""
    networks: list[str]
    """Rows: the attributes whose decisions are asked for."""
    counts: npt.NDArray[np.int64]
    """(rows, columns) adversarials that change the decision."""
    n: npt.NDArray[np.int64]
    """(columns,) adversarials."""
    others: Estimate
    """Share of the other attributes' decisions that an adversarial changes, with a bootstrap over images."""
    by_definition: bool
    """Whether the adversarials were made on these very networks, so that each flips its own attribute."""

    @property
    def rates(self) -> npt.NDArray[np.float64]:
        """(rows, columns) shares; NaN in columns without adversarials."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.n > 0, self.counts / self.n, np.nan)

    @property
    def diagonal(self) -> npt.NDArray[np.bool_]:
        """(rows, columns) True where an attribute meets its own network."""
        return np.array([[row == column for column in self.made_for] for row in self.networks], bool).reshape(
            len(self.networks), len(self.made_for)
        )

    @property
    def mean_diagonal(self) -> float | None:
        """Mean rate over the attributes that have adversarials."""
        return _mean(self.rates[self.diagonal])

    @property
    def mean_off_diagonal(self) -> float | None:
        """Mean rate over the pairs of different attributes that have adversarials."""
        return _mean(self.rates[~self.diagonal])

    def rows(self, known: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a row per pair: made_for, network, count of n, rate with its 95 % interval, and the means.

        Each case of a column is of another image, so that the interval is Wilson's of ``n`` cases.
        """
        rates = self.rates
        means = {"mean_diagonal": self.mean_diagonal, "mean_off_diagonal": self.mean_off_diagonal}
        rows = []
        for column, made_for in enumerate(self.made_for):
            n = int(self.n[column])
            for row, network in enumerate(self.networks):
                count = int(self.counts[row, column])
                low, high = wilson(count, n) if n else (None, None)
                found = {
                    "made_for": made_for,
                    "network": network,
                    "count": count,
                    "n": n,
                    "rate": float(rates[row, column]) if n else None,
                    "low": low,
                    "high": high,
                    "by_definition": self.by_definition and made_for == network,
                }
                rows.append({**known, **found, **means})
        return rows


def within(
    study: Study, cell: Cell, threshold: float, sign: str, attributes: Collection[str] | None = None
) -> Flips:
    """Count what adversarials flip on the model that they were made on; of these attributes alone."""
    frame = study.results.samples(
        columns=[*KEY, "decisions_clean", "decisions_adv"], where={"cell": cell.id, "success": True}
    )
    outputs = reading.outputs(study.results, cell.dataset, cell.model)
    frame = _adversarials(cell, threshold, sign).merge(frame, on=KEY)
    return _counted(frame, cell, outputs, True, attributes)


def across(study: Study, source: Cell, moved: Cell, threshold: float, sign: str) -> Flips:
    """Count what the adversarials of ``source``, with their PASS there, flip on the model of the transfer."""
    frame = study.results.samples(
        columns=[*KEY, "error", "decisions_clean", "decisions_adv"],
        where={"cell": moved.id, "surrogate_success": True},
    )
    frame = frame[frame["error"].isna()].drop(columns="error")
    outputs = reading.outputs(study.results, moved.dataset, moved.model)
    frame = _adversarials(source, threshold, sign).merge(frame, on=KEY)
    return _counted(frame, source, outputs, False, None)


def _adversarials(cell: Cell, threshold: float, sign: str) -> pd.DataFrame:
    return of_sign(cell.cases[hits(cell.cases, threshold)], sign)[KEY]


def _counted(
    frame: pd.DataFrame, made: Cell, outputs: Sequence[str], own: bool, attributes: Collection[str] | None
) -> Flips:
    """Count the changed decisions of adversarials (frame: sample_id, target, decisions before and after)."""
    kept = [place for place, name in enumerate(outputs) if attributes is None or name in attributes]
    networks = [outputs[place] for place in kept]
    attacked = {name for name in made.cases["target"] if attributes is None or name in attributes}
    made_for = [name for name in networks if name in attacked]
    made_for += sorted(attacked - set(made_for))
    told = frame[frame["decisions_clean"].notna() & frame["decisions_adv"].notna()]
    told = told[told["target"].isin(made_for)]
    counts = np.zeros((len(networks), len(made_for)), np.int64)
    n = np.zeros(len(made_for), np.int64)
    others = NOTHING
    if len(told):
        before = np.stack([np.asarray(flags, bool) for flags in told["decisions_clean"]])[
            :, kept
        ]  # (N, rows)
        after = np.stack([np.asarray(flags, bool) for flags in told["decisions_adv"]])[:, kept]
        changed = before != after
        column = told["target"].map({name: place for place, name in enumerate(made_for)}).to_numpy(int)
        np.add.at(counts.T, column, changed.astype(np.int64))
        n = np.bincount(column, minlength=len(made_for))
        other = np.array(networks, object)[None, :] != told["target"].to_numpy(object)[:, None]
        with np.errstate(invalid="ignore"):
            shares = (changed & other).sum(1) / other.sum(1)  # NaN where the model answers nothing else
        others = mean(shares, told["sample_id"])
    return Flips(made_for, networks, counts, n, others, own)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None
