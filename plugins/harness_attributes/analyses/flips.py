"""Flips count how often adversarials of one attribute change the decisions on the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis import reading
from harness.analysis.reading import estimate_columns
from harness.metrics import NOTHING, Estimate, rate
from harness.metrics.paired import mean_over_groups
from harness_attributes.analyses.study import KEY, Cell, Study, hits, of_sign


@dataclass(frozen=True, eq=False)
class Flips:
    """Flips are decisions that adversarials changed: of which attribute, by images made for which."""

    made_for: list[str]
    """Columns: the attributes that were to be flipped."""
    networks: list[str]
    """Rows: the attributes whose decisions are asked for."""
    changed: npt.NDArray[np.bool_]
    """(N, rows) which decisions each adversarial changes."""
    cases: pd.DataFrame
    """(N) sample_id, target and cluster of the adversarials."""
    by_definition: bool
    """Whether the adversarials were made on these very networks, so that each flips its own attribute."""

    @cached_property
    def n(self) -> npt.NDArray[np.int64]:
        """(columns,) adversarials."""
        return np.array([np.count_nonzero(self.cases["target"] == name) for name in self.made_for], np.int64)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """(rows, columns) adversarials that change the decision."""
        own = [self._by_target[name][0] for name in self.made_for]
        return np.array([flags.sum(0) for flags in own], np.int64).reshape(len(own), len(self.networks)).T

    @property
    def others(self) -> pd.DataFrame:
        """Return of each adversarial what share of the other attributes' decisions it changes.

        Columns: value, group (the attribute that it was made for), cluster. The mean over groups is the mean
        of the rates of all pairs; adversarials of a model that answers nothing else are left out.
        """
        other = np.array(self.networks, object)[None, :] != self.cases["target"].to_numpy(object)[:, None]
        asked = other.sum(1)  # (N,)
        shares = (self.changed & other).sum(1) / np.maximum(asked, 1)
        found: pd.DataFrame = self._frame(shares)[asked > 0]
        return found

    @property
    def own(self) -> pd.DataFrame:
        """Return of each adversarial whether it changes the attribute that it was made for, as ``others``."""
        same = np.array(self.networks, object)[None, :] == self.cases["target"].to_numpy(object)[:, None]
        found: pd.DataFrame = self._frame((self.changed & same).any(1).astype(float))[same.any(1)]
        return found

    def _frame(self, values: npt.NDArray[np.float64]) -> pd.DataFrame:
        return pd.DataFrame(
            {"value": values, "group": self.cases["target"], "cluster": self.cases["cluster"]}
        )

    @cached_property
    def _by_target(self) -> dict[str, tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]]:
        """By attribute: what its adversarials change (n, rows), and of which cluster each is (n,)."""
        found = {}
        for name in self.made_for:
            mine = (self.cases["target"] == name).to_numpy(bool)
            found[name] = self.changed[mine], pd.factorize(self.cases["cluster"][mine])[0]
        return found

    def pair(self, made_for: str, network: str) -> Estimate:
        """Return the share of the adversarials made for an attribute that change another's decision."""
        if network not in self.networks or made_for not in self._by_target:
            return NOTHING
        changed, clusters = self._by_target[made_for]
        return rate(changed[:, self.networks.index(network)], clusters)

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
        """Return the mean rate over the attributes that have adversarials."""
        return _mean(self.rates[self.diagonal])

    @property
    def mean_off_diagonal(self) -> float | None:
        """Return the mean rate over the pairs of different attributes that have adversarials."""
        return _mean(self.rates[~self.diagonal])

    def rows(self, known: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a row per pair: made_for, network, count of n, rate with its 95 % interval, and the means.

        The means have intervals over clusters too.
        """
        means = {
            **estimate_columns("mean_diagonal", mean_over_groups(self.own)),
            **estimate_columns("mean_off_diagonal", mean_over_groups(self.others)),
        } | {"mean_diagonal": self.mean_diagonal, "mean_off_diagonal": self.mean_off_diagonal}
        rows = []
        for column, made_for in enumerate(self.made_for):
            for row, network in enumerate(self.networks):
                share = self.pair(made_for, network)
                found = {
                    "made_for": made_for,
                    "network": network,
                    "count": int(self.counts[row, column]),
                    "n": int(self.n[column]),
                    "rate": share.value,
                    "low": share.low,
                    "high": share.high,
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
    return of_sign(cell.cases[hits(cell.cases, threshold)], sign)[[*KEY, "cluster"]]


def _counted(
    frame: pd.DataFrame, made: Cell, outputs: Sequence[str], own: bool, attributes: Collection[str] | None
) -> Flips:
    """Compare decisions before and after (frame: sample_id, cluster, target, both decisions)."""
    kept = [place for place, name in enumerate(outputs) if attributes is None or name in attributes]
    networks = [outputs[place] for place in kept]
    attacked = {name for name in made.cases["target"] if attributes is None or name in attributes}
    made_for = [name for name in networks if name in attacked]
    made_for += sorted(attacked - set(made_for))
    told = frame[frame["decisions_clean"].notna() & frame["decisions_adv"].notna()]
    told = told[told["target"].isin(made_for)].reset_index(drop=True)
    before, after = (
        np.array([np.asarray(flags, bool) for flags in told[name]], bool).reshape(len(told), len(outputs))
        for name in ("decisions_clean", "decisions_adv")
    )
    return Flips(made_for, networks, (before != after)[:, kept], told[[*KEY, "cluster"]], own)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None
