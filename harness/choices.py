"""Choices: the tables of a suite resolved against the catalogue, with crossed lists taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from harness.analysis import AnalysisChoice
from harness.catalog import Catalog, Entry
from harness.errors import ManifestError, nearest
from harness.manifest import FILE_NAME, Suite
from harness.parameters import Parameter, check, keyword_parameters
from harness.records import RECORD_SCHEMA
from harness.region import attack_parameters
from harness.specs import AttackSpec, Compute, MeasureSpec, ModelSpec
from harness.tables import crossed, each, entry_of, no_unset, split
from harness.threat import LARGEST_EPS, Threat

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


def models_of(suite: Suite, catalog: Catalog) -> Iterator[ModelChoice]:
    """The models of a suite."""
    for table in suite.models:
        entry = entry_of(table, catalog.models)
        no_unset(table)
        parameters = model_parameters(entry)
        own, values = split(table, _MODEL_KEYS, parameters, lists=("preset",))
        for preset in each(own["preset"]):
            chosen = preset_values(table.place, entry.spec.presets, preset)
            for single in crossed(table.place, {**chosen, **values}, parameters):
                resolved = check(table.place, single, parameters, ManifestError)
                yield ModelChoice(table.id or entry.spec.name, entry, resolved, own["weights"], table.place)


def attacks_of(suite: Suite, catalog: Catalog) -> Iterator[AttackChoice]:
    """The attacks of a suite, each with its threat."""
    for table in suite.attacks:
        entry = entry_of(table, catalog.attacks)
        no_unset(table)
        parameters = attack_parameters(entry)
        own, values = split(table, _ATTACK_KEYS, parameters, lists=("preset", "norm", "eps"))
        if own["attributes"] == []:
            raise ManifestError(f"{table.place}.attributes = [] is empty; leave it out to mean all")
        for preset, norm, eps in product(each(own["preset"]), each(own["norm"]), each(own["eps"])):
            threat = _threat(table.place, entry.spec, norm, eps)
            chosen = preset_values(table.place, entry.spec.presets, preset)
            for single in crossed(table.place, {**chosen, **values}, parameters):
                yield AttackChoice(
                    table.id or entry.spec.name,
                    entry,
                    check(table.place, single, parameters, ManifestError),
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
