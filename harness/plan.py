"""Planner: suite x catalogue → cells, and the reason for every pair that is skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from harness.catalog import Catalog, Entry
from harness.choices import (
    AttackChoice,
    DatasetChoice,
    MeasureChoice,
    ModelChoice,
    attacks_of,
    datasets_of,
    entry_of,
    measures_of,
    models_of,
)
from harness.errors import CatalogError, ManifestError, nearest
from harness.manifest import Suite, Table
from harness.parameters import Parameter, check
from harness.specs import ACCESS_ORDER, AttackSpec, ModelSpec

GOALS = {"attributes": "flip", "classes": "untargeted"}
"""The goal that a suite pursues by head; Impersonate and Evade need pairs, which no data set offers yet."""

_EXCLUDE_KEYS = {kind: Parameter(kind, str | None, None) for kind in ("dataset", "model", "attack")}


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
    datasets = _labelled(suite, datasets_of(suite, catalog), ("partition", "sample"))
    models = _labelled(suite, models_of(suite, catalog), ())
    attacks = _labelled(suite, attacks_of(suite, catalog), ())
    measures = tuple(measures_of(suite, catalog))
    if suite.analyses:
        for table in suite.analyses:
            entry_of(table, catalog.analyses)
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
