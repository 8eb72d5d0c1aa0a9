"""The [[analysis]] tables of a suite become analyses with resolved parameters."""

from __future__ import annotations

from collections.abc import Iterator

from harness.catalog import AnalysisChoice, Catalog
from harness.errors import ManifestError
from harness.manifest import FILE_NAME, Suite
from harness.parameters import check, keyword_parameters
from harness.plan.tables import entry_of, no_unset, split


def analyses_of(suite: Suite, catalog: Catalog) -> Iterator[AnalysisChoice]:
    """The analyses of a suite."""
    taken: set[str] = set()
    for table in suite.analyses:
        entry = entry_of(table, catalog.analyses)
        no_unset(table)
        parameters = keyword_parameters(entry.load(entry.spec.run))
        _, values = split(table, {}, parameters)
        label = table.id or entry.spec.name
        if not FILE_NAME.fullmatch(label):
            raise ManifestError(
                f'{table.place}: "{label}" names files: use letters, digits, ".", "_" and "-"'
            )
        if label in taken:
            raise ManifestError(f"{table.place} stands there twice; give each an id")
        taken.add(label)
        checked = check(table.place, values, parameters, ManifestError)
        yield AnalysisChoice(label, entry, checked, table.place)
