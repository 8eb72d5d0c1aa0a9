"""The [[measure]] tables of a suite become measures with resolved parameters and bounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from harness.catalog import Catalog, Choice
from harness.errors import ManifestError
from harness.manifest import Suite
from harness.parameters import optional
from harness.plan.tables import checked, entries_of
from harness.specs import MeasureSpec
from harness.store.schema import RECORD_SCHEMA

_MEASURE_KEYS = optional(at_least=float, at_most=float)


@dataclass(frozen=True, eq=False)
class MeasureChoice(Choice[MeasureSpec]):
    """A measure of the suite has parameters, and bounds that a success must keep."""

    at_least: float | None = None
    """A success counts only where the measure is at least this."""
    at_most: float | None = None
    """A success counts only where the measure is at most this."""

    @property
    def column(self) -> str:
        """Return its column in the records: its id, or the name of the measure."""
        return self.label


def measures_of(suite: Suite, catalog: Catalog, observed: Collection[str] = ()) -> Iterator[MeasureChoice]:
    """Yield the measures of a suite.

    Args:
        observed: the record columns of what its models observe.
    """
    taken = {*RECORD_SCHEMA.names, *observed}
    for table, entry, own, values in entries_of(suite.measures, catalog.measures, _MEASURE_KEYS):
        column = table.id or entry.spec.column or entry.spec.name
        if column in taken:
            raise ManifestError(f'{table.place}: the records have a column "{column}" already; give it an id')
        taken.add(column)
        low, high = own["at_least"], own["at_most"]
        if low is not None and high is not None and low > high:
            raise ManifestError(f"{table.place}: at_least = {low} lies above at_most = {high}")
        yield MeasureChoice(column, entry, checked(table, entry, values), table.place, low, high)
