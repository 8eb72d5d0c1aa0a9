"""The [[measure]] tables of a suite become measures with resolved parameters and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.catalog import Catalog, Entry
from harness.errors import ManifestError
from harness.manifest import Suite
from harness.parameters import Parameter, check, keyword_parameters
from harness.plan.tables import entry_of, no_unset, split
from harness.specs import MeasureSpec
from harness.store.schema import RECORD_SCHEMA

_MEASURE_KEYS = {
    parameter.name: parameter
    for parameter in (
        Parameter("at_least", float | None, None),
        Parameter("at_most", float | None, None),
    )
}


@dataclass(frozen=True, eq=False)
class MeasureChoice:
    """A measure with its parameters."""

    entry: Entry[MeasureSpec]
    parameters: Mapping[str, Any]
    column: str
    """Its column in the records: its id, or what the measure is called."""
    at_least: float | None = None
    """A success counts only where the measure is no less."""
    at_most: float | None = None
    """A success counts only where the measure is no more."""


def measures_of(suite: Suite, catalog: Catalog) -> Iterator[MeasureChoice]:
    """The measures of a suite."""
    taken = set(RECORD_SCHEMA.names)
    for table in suite.measures:
        entry = entry_of(table, catalog.measures)
        no_unset(table)
        parameters = keyword_parameters(entry.load(entry.spec.run))
        own, values = split(table, _MEASURE_KEYS, parameters)
        column = table.id or entry.spec.column or entry.spec.name
        if column in taken:
            raise ManifestError(f'{table.place}: the records have a column "{column}" already; give it an id')
        taken.add(column)
        if own["at_least"] is not None and own["at_most"] is not None and own["at_least"] > own["at_most"]:
            raise ManifestError(
                f"{table.place}: at_least = {own['at_least']} lies above at_most = {own['at_most']}"
            )
        checked = check(table.place, values, parameters, ManifestError)
        yield MeasureChoice(entry, checked, column, own["at_least"], own["at_most"])
