"""The [[dataset]] and [[source]] tables of a suite become data sets with resolved parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.catalog import Catalog, Choice, Entry
from harness.errors import ManifestError, nearest
from harness.manifest import Suite, Table
from harness.parameters import Parameter, optional
from harness.plan.comparisons import KEY as COMPARISONS, Comparisons, comparisons_of
from harness.plan.tables import combinations, entry_of, split
from harness.specs import DatasetSpec

Partition = Literal["train", "validation", "test", "all"]
_SOURCE_KEYS = optional(stand_in=str, source=str)
_DATASET_KEYS = (
    _SOURCE_KEYS
    | optional(sample=int)
    | {
        "partition": Parameter("partition", Partition, "all"),
        COMPARISONS: Parameter(COMPARISONS, Any, None),
    }
)


@dataclass(frozen=True, eq=False)
class DatasetChoice(Choice[DatasetSpec]):
    """A data set of the suite has parameters, and a sample of images that are attacked."""

    partition: str
    sample: int | None
    stand_in_for: str | None
    source: DatasetChoice | None = None
    """The data set that it is made from."""
    comparisons: Comparisons | None = None
    """What verifiers compare; None: no verifier is attacked on it."""


def sources_of(suite: Suite, catalog: Catalog) -> dict[str, DatasetChoice]:
    """Return the data sets that others are made from, by the name that those use."""
    sources: dict[str, DatasetChoice] = {}
    for table in suite.sources:
        name = table.id or table.use
        if name in sources:
            raise ManifestError(f"{table.place} stands there twice; give each an id")
        found = list(_datasets(table, catalog, _SOURCE_KEYS, sources))
        if len(found) > 1:
            raise ManifestError(f"{table.place}: lists make {len(found)} data sets of it; write a table each")
        sources[name] = replace(found[0], label=name)
    return sources


def datasets_of(
    suite: Suite, catalog: Catalog, sources: Mapping[str, DatasetChoice]
) -> Iterator[DatasetChoice]:
    """Yield the data sets of a suite, or their stand-ins where an environment variable is unset."""
    for table in suite.datasets:
        yield from _datasets(table, catalog, _DATASET_KEYS, sources)


def _datasets(
    table: Table, catalog: Catalog, keys: Mapping[str, Parameter], sources: Mapping[str, DatasetChoice]
) -> Iterator[DatasetChoice]:
    entry = entry_of(table, catalog.datasets)
    own, values = split(table, keys, entry.parameters())
    stand_in_for = None
    if table.unset:
        key, (text, variable) = next(iter(table.unset.items()))
        if not own["stand_in"]:
            raise ManifestError(
                f'{table.place}: {key} = "{text}": the environment variable {variable} is '
                f"unset; set it, or --set {table.kind}.{table.use}.{key}=PATH"
            )
        # A source's id is the part that it plays, such as "faces".
        stand_in_for = table.use if table.kind == "source" else table.id or table.use
        entry = entry_of(table, catalog.datasets, own["stand_in"])
        known = entry.parameters()
        # The stand-in takes what it knows; what is left speaks of files that are not there.
        unset = {key.partition(".")[0] for key in table.unset}
        values = {key: value for key, value in values.items() if key in known and key not in unset}
    if own.get("sample") is not None and own["sample"] < 1:
        raise ManifestError(f"{table.place}.sample = {own['sample']} must be at least 1")
    label = entry.spec.name if stand_in_for else table.id or entry.spec.name
    source = _source(table, entry, own["source"], sources)
    if source is not None and source.stand_in_for:
        stand_in_for = source.stand_in_for
    comparisons = comparisons_of(table, stand_in=stand_in_for is not None)
    for parameters in combinations(table, entry, values):
        yield DatasetChoice(
            label,
            entry,
            parameters,
            table.place,
            own.get("partition", "all"),
            own.get("sample"),
            stand_in_for,
            source,
            comparisons,
        )


def _source(
    table: Table, entry: Entry[DatasetSpec], name: str | None, sources: Mapping[str, DatasetChoice]
) -> DatasetChoice | None:
    """Return the data set that a derived one is made from; None for others."""
    if not entry.spec.derived:
        if name is not None:
            raise ManifestError(f'{table.place}.source = "{name}": {entry.spec.name} is made from no other')
        return None
    if not sources:
        raise ManifestError(
            f"{table.place}: {entry.spec.name} is made from another data set; write that as a [[source]] "
            'table above it, and its id as source = "…"'
        )
    if name is None:
        raise ManifestError(f'{table.place}: "source" is missing; it is one of {", ".join(sources)}')
    if name not in sources:
        raise ManifestError(f'{table.place}: source "{name}" is unknown; {nearest(name, sources)}')
    return sources[name]
