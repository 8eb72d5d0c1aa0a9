"""Planner: suite x catalogue → cells, and the reason for every pair that is skipped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from harness.catalog import Catalog, Entry
from harness.errors import CatalogError, ManifestError, nearest
from harness.manifest import Suite, Table
from harness.parameters import Parameter, check, convert, keyword_parameters
from harness.records import RECORD_SCHEMA
from harness.specs import ACCESS_ORDER, AttackSpec, Compute, DatasetSpec, MeasureSpec, ModelSpec
from harness.threat import Threat

GOALS = {"attributes": "flip", "classes": "untargeted"}
"""The goal that a suite pursues by head; Impersonate and Evade need pairs, which no data set offers yet."""

Partition = Literal["train", "validation", "test", "all"]
_DATASET_KEYS = {
    parameter.name: parameter
    for parameter in (
        Parameter("stand_in", str | None, None),
        Parameter("partition", Partition, "all"),
        Parameter("sample", int | None, None),
    )
}
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
    )
}
_EXCLUDE_KEYS = {kind: Parameter(kind, str | None, None) for kind in ("dataset", "model", "attack")}


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


@dataclass(frozen=True, eq=False)
class MeasureChoice:
    """A measure with its parameters."""

    entry: Entry[MeasureSpec]
    parameters: Mapping[str, Any]
    column: str
    """Its column in the records: its id, or what the measure is called."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One dataset x model x attack x threat x goal; the seed is the suite's."""

    dataset: DatasetChoice
    model: ModelChoice
    attack: AttackChoice
    goal: str


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A combination that is not run, and why."""

    dataset: DatasetChoice
    model: ModelChoice
    attack: AttackChoice
    reason: str


@dataclass(frozen=True, eq=False)
class Plan:
    """What a suite comes to."""

    suite: Suite
    datasets: tuple[DatasetChoice, ...]
    models: tuple[ModelChoice, ...]
    attacks: tuple[AttackChoice, ...]
    measures: tuple[MeasureChoice, ...]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]


def plan(suite: Suite, catalog: Catalog) -> Plan:
    """Resolve names and parameters and cross the tables.

    Raises:
        ManifestError, CatalogError: a name is unknown, or a value is wrong.
    """
    datasets = _labelled(suite, _datasets(suite, catalog), ("partition", "sample"))
    models = _labelled(suite, _models(suite, catalog), ())
    attacks = _labelled(suite, _attacks(suite, catalog), ())
    measures = tuple(_measures(suite, catalog))
    if suite.analyses:
        for table in suite.analyses:
            _entry(table, catalog.analyses)
    excluded = [_exclusion(table, datasets, models, attacks) for table in suite.excludes]
    cells: list[Cell] = []
    skipped: list[Skipped] = []
    # Whether a pair fits depends on model and attack alone, so it is asked once, not once a data set.
    reasons = {(model, attack): _unfit(model, attack) for model, attack in product(models, attacks)}
    for dataset, (pair, reason) in product(datasets, reasons.items()):
        model, attack = pair
        if reason is None and any(dataset in d and model in m and attack in a for d, m, a in excluded):
            reason = f"excluded by {suite.place}"
        if reason is None:
            cells.append(Cell(dataset, model, attack, GOALS[model.entry.spec.head]))
        else:
            skipped.append(Skipped(dataset, model, attack, reason))
    return Plan(suite, datasets, models, attacks, measures, tuple(cells), tuple(skipped))


# --- resolving tables -------------------------------------------------------------------------------------


def _datasets(suite: Suite, catalog: Catalog) -> Iterator[DatasetChoice]:
    for table in suite.datasets:
        entry = _entry(table, catalog.datasets)
        parameters = keyword_parameters(entry.load(entry.spec.load))
        own, values = _split(table, _DATASET_KEYS, parameters)
        stand_in_for = None
        if table.unset:
            key, variable = next(iter(table.unset.items()))
            if not own["stand_in"]:
                raise ManifestError(
                    f'{table.place}: {key} = "{table.values[key]}": the environment variable {variable} is '
                    f"unset; set it, or --set dataset.{table.use}.{key}=PATH"
                )
            stand_in_for = table.id or table.use
            entry = _entry(table, catalog.datasets, own["stand_in"])
            parameters = keyword_parameters(entry.load(entry.spec.load))
            # The stand-in takes what it knows; what is left speaks of files that are not there.
            values = {
                key: value for key, value in values.items() if key in parameters and key not in table.unset
            }
        if own["sample"] is not None and own["sample"] < 1:
            raise ManifestError(f"{table.place}.sample = {own['sample']} must be at least 1")
        label = entry.spec.name if stand_in_for else table.id or entry.spec.name
        for crossed in _crossed(table.place, values, parameters):
            yield DatasetChoice(
                label,
                entry,
                check(table.place, crossed, parameters, ManifestError),
                own["partition"],
                own["sample"],
                stand_in_for,
                table.place,
            )


def _models(suite: Suite, catalog: Catalog) -> Iterator[ModelChoice]:
    for table in suite.models:
        entry = _entry(table, catalog.models)
        _no_unset(table)
        parameters = model_parameters(entry)
        own, values = _split(table, _MODEL_KEYS, parameters, crossed=("preset",))
        for preset in _each(own["preset"]):
            chosen = preset_values(table.place, entry.spec.presets, preset)
            for crossed in _crossed(table.place, {**chosen, **values}, parameters):
                resolved = check(table.place, crossed, parameters, ManifestError)
                yield ModelChoice(table.id or entry.spec.name, entry, resolved, own["weights"], table.place)


def _attacks(suite: Suite, catalog: Catalog) -> Iterator[AttackChoice]:
    for table in suite.attacks:
        entry = _entry(table, catalog.attacks)
        _no_unset(table)
        parameters = keyword_parameters(entry.load(entry.spec.run), ("rng",))
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
                )


def _measures(suite: Suite, catalog: Catalog) -> Iterator[MeasureChoice]:
    taken = set(RECORD_SCHEMA.names)
    for table in suite.measures:
        entry = _entry(table, catalog.measures)
        _no_unset(table)
        parameters = keyword_parameters(entry.load(entry.spec.run))
        _, values = _split(table, {}, parameters)
        column = table.id or entry.spec.column or entry.spec.name
        if column in taken:
            raise ManifestError(f'{table.place}: the records have a column "{column}" already; give it an id')
        taken.add(column)
        yield MeasureChoice(entry, check(table.place, values, parameters, ManifestError), column)


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
    if eps is None and spec.budget == "fixed":
        raise ManifestError(f'{place}: "eps" is missing; it is a number, or a fraction such as "8/255"')
    if eps is not None and not 0 < eps < math.inf:
        raise ManifestError(f"{place}: eps = {eps} must be above zero, and finite")
    return Threat(chosen, eps, access=spec.access)


def _entry(table: Table, section: Any, name: str | None = None) -> Entry[Any]:
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


# --- labels, exclusions, fitness --------------------------------------------------------------------------


def _labelled(suite: Suite, choices: Iterable[Any], extra: tuple[str, ...]) -> tuple[Any, ...]:
    """Choices with labels that differ: where one name stands for several, what they differ in is added."""
    found = list(choices)

    def key(choice: Any) -> tuple[str, str]:
        # Attacks that differ in their threat stand in different rows anyway.
        return choice.label, choice.threat.label if isinstance(choice, AttackChoice) else ""

    def traits(choice: Any) -> dict[str, Any]:
        more = {name: getattr(choice, name) for name in extra}
        if isinstance(choice, AttackChoice):
            more |= {"attributes": choice.attributes, "compute": choice.compute}
        if isinstance(choice, ModelChoice):
            more |= {"weights": choice.weights}
        return {**choice.parameters, **more}

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    owners: dict[str, Any] = {}
    for choice in found:
        owner = owners.setdefault(choice.label, choice)
        if owner.entry is not choice.entry:
            one, other = owner.entry.qualified, choice.entry.qualified
            raise ManifestError(
                f'{choice.place}: "{choice.label}" would name both {one} and {other}; give each an id'
            )
        groups.setdefault(key(choice), []).append(traits(choice))
    differing = {
        group: [name for name in members[0] if any(other[name] != members[0][name] for other in members)]
        for group, members in groups.items()
    }
    labelled = []
    for choice in found:
        if differing[key(choice)]:
            mine = traits(choice)
            suffix = ",".join(f"{name}={_brief(mine[name])}" for name in differing[key(choice)])
            choice = replace(choice, label=f"{choice.label}[{suffix}]")
        labelled.append(choice)
    twice = [choice for choice, count in Counter(map(key, labelled)).items() if count > 1]
    if twice:
        place = next(choice.place for choice in reversed(labelled) if key(choice) == twice[0])
        raise ManifestError(f"{place} stands there twice; take one out, or give each an id")
    return tuple(labelled)


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "+".join(map(_brief, value))
    return str(value)


def _exclusion(
    table: Table,
    datasets: Sequence[DatasetChoice],
    models: Sequence[ModelChoice],
    attacks: Sequence[AttackChoice],
) -> tuple[set[DatasetChoice], set[ModelChoice], set[AttackChoice]]:
    wanted = check(table.place, table.values, _EXCLUDE_KEYS, ManifestError)
    if not any(wanted.values()):
        raise ManifestError(f"{table.place}: name a dataset, a model or an attack")

    def meant(kind: str, choices: Sequence[Any]) -> set[Any]:
        name = wanted[kind]
        if name is None:
            return set(choices)
        found = {choice for choice in choices if name in _names(choice)}
        if not found:
            known = [known for choice in choices for known in _names(choice)]
            raise ManifestError(
                f'{table.place}: {kind} "{name}" is not in this suite; {nearest(name, known)}'
            )
        return found

    return meant("dataset", datasets), meant("model", models), meant("attack", attacks)


def _names(choice: Any) -> tuple[str, ...]:
    plain = choice.label.partition("[")[0]
    names = (choice.label, plain, choice.entry.spec.name, choice.entry.qualified)
    if isinstance(choice, DatasetChoice) and choice.stand_in_for:
        return (*names, choice.stand_in_for)
    return names


def _unfit(model: ModelChoice, attack: AttackChoice) -> str | None:
    """Why this attack cannot be run on this model, or None."""
    spec, target = attack.entry.spec, model.entry.spec
    if target.head not in spec.heads:
        return f'{spec.name} does not attack the head "{target.head}"'
    if ACCESS_ORDER.index(target.access) < ACCESS_ORDER.index(spec.access):
        return f"{spec.name} needs {spec.access}, and {target.name} shows no more than {target.access}"
    if target.head not in GOALS:
        return f'there is no goal yet for the head "{target.head}" in a suite'
    if spec.refuses and (reason := _refused(attack.entry, target, attack.parameters)):
        return reason
    if attack.attributes is not None:
        if target.head != "attributes":
            return "it is to flip attributes, and the model answers none"
        if model.attributes is not None and not set(attack.attributes) & set(model.attributes):
            return f"{model.label} answers none of the attributes {', '.join(attack.attributes)}"
    return None


def _refused(entry: Entry[AttackSpec], model: ModelSpec, parameters: Mapping[str, Any]) -> str | None:
    try:
        return entry.spec.refuses(model, parameters) if entry.spec.refuses else None
    except Exception as error:
        raise CatalogError(
            f'"{entry.qualified}" of {entry.plugin.distribution} {entry.plugin.version} cannot say whether '
            f"it refuses {model.name}: {type(error).__name__}: {error}"
        ) from error
