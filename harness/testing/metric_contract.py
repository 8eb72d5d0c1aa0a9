"""The contract of metrics asks for an estimate of every table of records, also of one without any."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite
from numbers import Real
from typing import Any

import pandas as pd

from harness.catalog import Entry, catalog
from harness.errors import nearest
from harness.metrics import Estimate
from harness.specs import MetricSpec
from harness.store.schema import RECORD_SCHEMA
from harness.testing.contract import Case, Check, ContractFailure, EntrySubject, cases, one_line, require
from harness.testing.records import frame, measured, records

TABLES: dict[str, list[dict[str, Any]]] = {
    "many records": records(60, errors=3),
    "one record": records(1),
    "records without a success": records(12, hits=False),
    "no record without an error": records(2, errors=2),
}
"""What boards give a metric; records with errors are left out of it."""
NOTHING = "where there is nothing to estimate from, return harness.metrics.NOTHING"


class MetricSubject(EntrySubject[MetricSpec]):
    """A MetricSubject is a metric."""

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of records with the columns that the spec declares, and no others."""
        columns = self.entry.spec.columns
        rows = [{**dict.fromkeys(measured(columns), 0.5), **row} for row in TABLES[name]]
        return frame(rows, columns)

    def estimate(self, table: pd.DataFrame, name: str) -> Estimate:
        """Return the estimate of a table.

        Raises:
            ContractFailure: it raised an exception, or returned something else.
        """
        try:
            found = self.entry.load(self.entry.spec.run)(table)
        except KeyError as error:
            raise ContractFailure(
                f"on {name}: it reads the column {error}, which its spec does not declare; add it to columns"
            ) from error
        except Exception as error:
            raise ContractFailure(f"on {name}: it raised {one_line(error)}; {NOTHING}") from error
        require(
            isinstance(found, Estimate),
            f"on {name}: it returned {type(found).__name__}; return a harness.metrics.Estimate",
        )
        assert isinstance(found, Estimate)
        return found


def columns(subject: MetricSubject, variant: str) -> None:
    """The columns that the spec declares are those of records, or of a measure."""
    known = [*RECORD_SCHEMA.names, "cluster"]
    known += [entry.spec.column or entry.spec.name for entry in catalog().measures.values()]
    for name in subject.entry.spec.columns:
        require(
            name in known,
            f'no record and no measure has the column "{name}", so that boards leave the metric empty; '
            f"{nearest(name, known)}",
        )


def estimates(subject: MetricSubject, variant: str) -> None:
    """The metric returns an Estimate of many records, of one, of failures only, and of none."""
    for name in TABLES:
        table = subject.table(name)
        found = subject.estimate(table, name)
        for part in (found.value, found.low, found.high):
            require(
                part is None or (isinstance(part, Real) and not isinstance(part, bool) and isfinite(part)),
                f"on {name}: the value or a limit is {part!r}; return finite numbers, or None; {NOTHING}",
            )
        if found.value is not None and found.low is not None and found.high is not None:
            require(
                found.low <= found.value <= found.high,
                f"on {name}: {found.value:.4g} is outside its interval from {found.low:.4g} to "
                f"{found.high:.4g}; return the limits in the order low, high",
            )
        require(
            0 <= found.n <= len(table),
            f"on {name}: n is {found.n} of {len(table)} records; it is the number of cases that count",
        )


def repeatable(subject: MetricSubject, variant: str) -> None:
    """The number depends on the records alone, not on their order or on chance."""
    name = "many records"
    table = subject.table(name)
    first = subject.estimate(table, name).value
    for other, how in ((table, "in a second call"), (table[::-1].reset_index(drop=True), "in another order")):
        found = subject.estimate(other, name).value
        same = found == first or (
            found is not None and first is not None and abs(found - first) <= 1e-6 * abs(first)
        )
        require(same, f"the same records {how} give {found} instead of {first}; seed what is drawn")


def inputs(subject: MetricSubject, variant: str) -> None:
    """The metric does not change the table that it is given."""
    table = subject.table("many records")
    kept = table.copy(deep=True)
    subject.estimate(table, "many records")
    require(table.equals(kept), "it changes the table in place; work on a copy")


METRIC_CHECKS = (
    Check(estimates),
    Check(columns),
    Check(repeatable, after=("estimates",)),
    Check(inputs, after=("estimates",)),
)


def metric_checks(
    metric: str | Entry[MetricSpec],
    *,
    params: dict[str, Any] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Case]:
    """Return the checks of a metric, which has no parameters, as functions; see ``attack_checks``."""
    entry = catalog().metrics[metric] if isinstance(metric, str) else metric
    return cases(MetricSubject(entry), METRIC_CHECKS, only, skip)
