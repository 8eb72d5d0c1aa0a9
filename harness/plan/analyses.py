"""The [[analysis]] tables of a suite become analyses with resolved parameters."""

from __future__ import annotations

from collections.abc import Iterator

from harness.catalog import Catalog, Choice
from harness.errors import ManifestError
from harness.manifest import FILE_NAME, Suite
from harness.plan.tables import checked, entries_of
from harness.specs import AnalysisSpec


def analyses_of(suite: Suite, catalog: Catalog) -> Iterator[Choice[AnalysisSpec]]:
    """Yield the analyses of a suite."""
    taken: set[str] = set()
    for table, entry, _, values in entries_of(suite.analyses, catalog.analyses, {}):
        label = table.id or entry.spec.name
        if not FILE_NAME.fullmatch(label):
            raise ManifestError(
                f'{table.place}: "{label}" names files: use letters, digits, ".", "_" and "-"'
            )
        if label in taken:
            raise ManifestError(f"{table.place} stands there twice; give each an id")
        taken.add(label)
        yield Choice(label, entry, checked(table, entry, values), table.place)
