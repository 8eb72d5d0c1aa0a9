"""Choices: the tables of a suite resolved against the catalogue, with crossed lists taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from harness.analysis import AnalysisChoice
from harness.catalog import Catalog, Entry
from harness.errors import CatalogError, ManifestError, nearest
from harness.manifest import FILE_NAME, Suite, Table
from harness.parameters import Parameter, check, convert, keyword_parameters
from harness.records import RECORD_SCHEMA
from harness.region import attack_parameters
from harness.specs import AttackSpec, Compute, DatasetSpec, MeasureSpec, ModelSpec
from harness.threat import LARGEST_EPS, Threat

Partition = Literal["train", "validation", "test", "all"]
_DATASET_KEYS = {
    parameter.name: parameter
    for parameter in (
        Parameter("stand_in", str | None, None),
        Parameter("partition", Partition, "all"),
        Parameter("sample", int | None, None),
        Parameter("source", str | None, None),
    )
}
_SOURCE_KEYS = {name: _DATASET_KEYS[name] for name in ("stand_in", "source")}
_MODEL_KEYS = {
    parameter.name: parameter
    for parameter in (Parameter("preset", str | None, None), Parameter("weights", str | None, None))
}
_ATTACK_KEYS = {
    parameter.name: parameter
    for parameter in (
        Parameter("preset", str | None, None),
        Parameter("norm", str | None, None),
        Parameter("eps", float | None, None),
        Parameter("attributes", list[str] | None, None),
        Parameter("compute", Compute | None, None),
        Parameter("keep", bool | None, None),
        Parameter("fit", float | None, None),
    )
}


_MEASURE_KEYS = {
    parameter.name: parameter
    for parameter in (
        Parameter("at_least", float | None, None),
        Parameter("at_most", float | None, None),
    )
}


@dataclass(frozen=True, eq=False)
class DatasetChoice:
    """A data set with its parameters, and which of its images are attacked."""

    label: str
    entry: Entry[DatasetSpec]
    parameters: Mapping[str, Any]
    partition: str
    sample: int | None
    stand_in_for: str | None
    place: str
    source: DatasetChoice | None = None
    """The data set that it is made from."""


@dataclass(frozen=True, eq=False)
class ModelChoice:
    """A model with its parameters."""

    label: str
    entry: Entry[ModelSpec]
    parameters: Mapping[str, Any]
    weights: str | None
    place: str

    @property
    def attributes(self) -> tuple[str, ...] | None:
        """The attributes that it answers, where fewer than all."""
        named = self.parameters.get("attributes")
        return None if named is None else tuple(named)


@dataclass(frozen=True, eq=False)
class AttackChoice:
    """An attack with its parameters, its threat, and what it is to change."""

    label: str
    entry: Entry[AttackSpec]
    parameters: Mapping[str, Any]
    threat: Threat
    attributes: tuple[str, ...] | None
    compute: Compute
    keep: bool
    place: str
    fit: float | None = None
    """Of an attack that learns one change for many images: on which share of them; None of the others."""


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


def sources_of(suite: Suite, catalog: Catalog) -> dict[str, DatasetChoice]:
    """The data sets that others are made from, by the name by which those call them."""
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
    """The data sets of a suite; a stand-in where an environment variable is unset."""
    for table in suite.datasets:
        yield from _datasets(table, catalog, _DATASET_KEYS, sources)


def _datasets(
    table: Table, catalog: Catalog, keys: Mapping[str, Parameter], sources: Mapping[str, DatasetChoice]
) -> Iterator[DatasetChoice]:
    entry = entry_of(table, catalog.datasets)
    parameters = dataset_parameters(entry)
    own, values = _split(table, keys, parameters)
    stand_in_for = None
    if table.unset:
        key, variable = next(iter(table.unset.items()))
        if not own["stand_in"]:
            raise ManifestError(
                f'{table.place}: {key} = "{table.values[key]}": the environment variable {variable} is '
                f"unset; set it, or --set {table.kind}.{table.use}.{key}=PATH"
            )
        # A source's id is the part that it plays, such as "faces".
        stand_in_for = table.use if table.kind == "source" else table.id or table.use
        entry = entry_of(table, catalog.datasets, own["stand_in"])
        parameters = dataset_parameters(entry)
        # The stand-in takes what it knows; what is left speaks of files that are not there.
        values = {key: value for key, value in values.items() if key in parameters and key not in table.unset}
    if own.get("sample") is not None and own["sample"] < 1:
        raise ManifestError(f"{table.place}.sample = {own['sample']} must be at least 1")
    label = entry.spec.name if stand_in_for else table.id or entry.spec.name
    source = _source(table, entry, own["source"], sources)
    if source is not None and source.stand_in_for:
        stand_in_for = source.stand_in_for
    for crossed in _crossed(table.place, values, parameters):
        yield DatasetChoice(
            label,
            entry,
            check(table.place, crossed, parameters, ManifestError),
            own.get("partition", "all"),
            own.get("sample"),
            stand_in_for,
            table.place,
            source,
        )


def _source(
    table: Table, entry: Entry[DatasetSpec], name: str | None, sources: Mapping[str, DatasetChoice]
) -> DatasetChoice | None:
    """What a derived data set is made from; None for the others."""
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


def models_of(suite: Suite, catalog: Catalog) -> Iterator[ModelChoice]:
    """The models of a suite."""
    for table in suite.models:
        entry = entry_of(table, catalog.models)
        _no_unset(table)
        parameters = model_parameters(entry)
        own, values = _split(table, _MODEL_KEYS, parameters, crossed=("preset",))
        for preset in _each(own["preset"]):
            chosen = preset_values(table.place, entry.spec.presets, preset)
            for crossed in _crossed(table.place, {**chosen, **values}, parameters):
                resolved = check(table.place, crossed, parameters, ManifestError)
                yield ModelChoice(table.id or entry.spec.name, entry, resolved, own["weights"], table.place)


def attacks_of(suite: Suite, catalog: Catalog) -> Iterator[AttackChoice]:
    """The attacks of a suite, each with its threat."""
    for table in suite.attacks:
        entry = entry_of(table, catalog.attacks)
        _no_unset(table)
        parameters = attack_parameters(entry)
        own, values = _split(table, _ATTACK_KEYS, parameters, crossed=("preset", "norm", "eps"))
        if own["attributes"] == []:
            raise ManifestError(f"{table.place}.attributes = [] is empty; leave it out to mean all")
        for preset, norm, eps in product(_each(own["preset"]), _each(own["norm"]), _each(own["eps"])):
            threat = _threat(table.place, entry.spec, norm, eps)
            chosen = preset_values(table.place, entry.spec.presets, preset)
            for crossed in _crossed(table.place, {**chosen, **values}, parameters):
                yield AttackChoice(
                    table.id or entry.spec.name,
                    entry,
                    check(table.place, crossed, parameters, ManifestError),
                    threat,
                    None if own["attributes"] is None else tuple(own["attributes"]),
                    own["compute"] or suite.compute,
                    suite.keep if own["keep"] is None else own["keep"],
                    table.place,
                    _fit(table.place, entry.spec, own["fit"]),
                )


def measures_of(suite: Suite, catalog: Catalog) -> Iterator[MeasureChoice]:
    """The measures of a suite."""
    taken = set(RECORD_SCHEMA.names)
    for table in suite.measures:
        entry = entry_of(table, catalog.measures)
        _no_unset(table)
        parameters = keyword_parameters(entry.load(entry.spec.run))
        own, values = _split(table, _MEASURE_KEYS, parameters)
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


def analyses_of(suite: Suite, catalog: Catalog) -> Iterator[AnalysisChoice]:
    """The analyses of a suite."""
    taken: set[str] = set()
    for table in suite.analyses:
        entry = entry_of(table, catalog.analyses)
        _no_unset(table)
        parameters = keyword_parameters(entry.load(entry.spec.run))
        _, values = _split(table, {}, parameters)
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


def dataset_parameters(entry: Entry[DatasetSpec]) -> dict[str, Parameter]:
    """The parameters of a data set: those of its ``load`` and of its ``fit``."""
    load = keyword_parameters(entry.load(entry.spec.load))
    fit = keyword_parameters(entry.load(entry.spec.fit)) if entry.spec.fit else {}
    return load | fit


def model_parameters(entry: Entry[ModelSpec]) -> dict[str, Parameter]:
    """The parameters of a model: those of its ``build`` and of its ``train``."""
    build = keyword_parameters(entry.load(entry.spec.build))
    train = keyword_parameters(entry.load(entry.spec.train)) if entry.spec.train else {}
    return build | train


def preset_values(
    place: str, presets: Mapping[str, Mapping[str, Any]], preset: str | None
) -> Mapping[str, Any]:
    """The values of a preset; of the first where none is named."""
    if preset is None:
        return next(iter(presets.values()), {})
    if preset not in presets:
        raise ManifestError(f'{place}: preset "{preset}" is unknown; {nearest(preset, presets)}')
    return presets[preset]


def _threat(place: str, spec: AttackSpec, norm: str | None, eps: float | None) -> Threat:
    chosen = norm or next(iter(spec.norms), None)
    if chosen is not None and chosen not in spec.norms:
        raise ManifestError(f'{place}: norm "{chosen}" is unknown to it; {nearest(chosen, spec.norms)}')
    if chosen is None and eps is not None:
        raise ManifestError(f"{place}: eps = {eps} bounds nothing: only its region bounds it")
    if eps is None and spec.budget == "fixed" and spec.norms:
        raise ManifestError(f'{place}: "eps" is missing; it is a number, or a fraction such as "8/255"')
    if eps is not None and not 0 < eps <= LARGEST_EPS:
        raise ManifestError(f"{place}: eps = {eps} must be above zero, and at most {LARGEST_EPS:g}")
    return Threat(chosen, eps, access=spec.access, region=spec.name if spec.region else "")


def _fit(place: str, spec: AttackSpec, share: float | None) -> float | None:
    """The share of images that an attack learns on."""
    if "universal" not in spec.traits:
        if share is not None:
            raise ManifestError(f"{place}.fit = {share}: it learns on no images; leave it out")
        return None
    if share is not None and not 0 < share < 1:
        raise ManifestError(f"{place}.fit = {share} must be a share between 0 and 1")
    return 0.5 if share is None else share


def entry_of(table: Table, section: Any, name: str | None = None) -> Entry[Any]:
    """What a table, or a name in it, means in a section of the catalogue."""
    try:
        entry: Entry[Any] = section[name or table.use]
    except CatalogError as error:
        raise ManifestError(f"{table.place.rsplit(': ', 1)[0]}: {error}") from None
    return entry


def _no_unset(table: Table) -> None:
    for key, variable in table.unset.items():
        raise ManifestError(
            f'{table.place}: {key} = "{table.values[key]}" needs the environment variable {variable}, '
            "which is unset"
        )


def _split(
    table: Table,
    keys: Mapping[str, Parameter],
    parameters: Mapping[str, Parameter],
    crossed: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The harness's own keys of a table, converted (those of ``crossed`` may be lists), and the plugin's."""
    for name in table.values:
        if name not in ("use", "id", *keys, *parameters):
            remedy = nearest(name, ("id", *keys, *parameters))
            raise ManifestError(f'{table.place}: "{name}" is unknown; {remedy}')
    own = {}
    for name, parameter in keys.items():
        value = table.values.get(name, parameter.default)
        place = f"{table.place}.{name}"
        if name in crossed and isinstance(value, list):
            _not_empty(place, value)
            own[name] = [convert(place, item, parameter, ManifestError) for item in value]
        else:
            own[name] = convert(place, value, parameter, ManifestError)
    rest = {key: value for key, value in table.values.items() if key not in ("use", "id", *keys)}
    return own, rest


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _not_empty(place: str, values: Sequence[Any]) -> None:
    if not values:
        raise ManifestError(f"{place} = [] is empty; give at least one value, or leave it out")


def _crossed(
    place: str, values: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> Iterator[dict[str, Any]]:
    """All combinations of the values that are lists where their parameter takes none."""
    axes = []
    for name, value in values.items():
        takes_list = name in parameters and parameters[name].takes_list
        many = isinstance(value, list) and (
            not takes_list or (bool(value) and all(isinstance(item, list) for item in value))
        )
        if many:
            _not_empty(f"{place}.{name}", value)
        axes.append([(name, item) for item in value] if many else [(name, value)])
    return (dict(combination) for combination in product(*axes))
