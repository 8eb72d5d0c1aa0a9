"""Planner: suite x catalogue → cells, and the reason for every pair that is skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from harness.analysis import AnalysisChoice
from harness.catalog import Catalog, Entry
from harness.choices import (
    AttackChoice,
    MeasureChoice,
    ModelChoice,
    analyses_of,
    attacks_of,
    measures_of,
    models_of,
)
from harness.dataset_choice import DatasetChoice, datasets_of, sources_of
from harness.errors import CatalogError, ManifestError, nearest
from harness.manifest import Suite, Table
from harness.parameters import Parameter, check
from harness.specs import ACCESS_ORDER, AttackSpec, ModelSpec

GOALS = {"attributes": "flip", "classes": "untargeted"}
"""The goal that a suite pursues by head; Impersonate and Evade need pairs, which no data set offers yet."""

_EXCLUDE_KEYS = {
    kind: Parameter(kind, str | list[str] | None, None) for kind in ("dataset", "model", "attack")
}
_TRANSFER_KEYS = {
    "surrogate": Parameter("surrogate", str),
    "victim": Parameter("victim", str | list[str] | None, None),
    "attack": Parameter("attack", str | list[str] | None, None),
    "dataset": Parameter("dataset", str | None, None),
}


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One dataset x model x attack x threat x goal; the seed is the suite's."""

    dataset: DatasetChoice
    model: ModelChoice
    attack: AttackChoice
    goal: str
    keep: bool = False
    """Whether the adversarials are stored: the suite asks for them, or other models are to judge them."""
    source: Cell | None = None
    """Transfer: the cell whose adversarials this one's model, the victim, judges; nothing is attacked."""

    @property
    def attack_label(self) -> str:
        """What boards call the attack, and the model that it saw where that is not the one that is judged."""
        return attack_label(self.attack, self.source.model if self.source else None)


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A combination that is not run, and why."""

    dataset: DatasetChoice
    model: ModelChoice
    attack: AttackChoice
    reason: str
    surrogate: ModelChoice | None = None

    @property
    def attack_label(self) -> str:
        """As of a cell."""
        return attack_label(self.attack, self.surrogate)


def attack_label(attack: AttackChoice, surrogate: ModelChoice | None) -> str:
    """The attack's label, and the model that it saw where that is not the one that is judged."""
    return f"{attack.label} from {surrogate.label}" if surrogate else attack.label


@dataclass(frozen=True, eq=False)
class Plan:
    """What a suite comes to."""

    suite: Suite
    sources: tuple[DatasetChoice, ...]
    """Data sets that others are made from."""
    datasets: tuple[DatasetChoice, ...]
    models: tuple[ModelChoice, ...]
    attacks: tuple[AttackChoice, ...]
    measures: tuple[MeasureChoice, ...]
    analyses: tuple[AnalysisChoice, ...]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]

    @property
    def trainings(self) -> list[tuple[DatasetChoice, ModelChoice]]:
        """The data sets and models of all cells, once each; what is excluded needs no training."""
        return list(dict.fromkeys((cell.dataset, cell.model) for cell in self.cells))


def plan(suite: Suite, catalog: Catalog) -> Plan:
    """Resolve names and parameters and cross the tables.

    Raises:
        ManifestError, CatalogError: a name is unknown, or a value is wrong.
    """
    sources = sources_of(suite, catalog)
    datasets = _labelled(suite, datasets_of(suite, catalog, sources), ("partition", "sample"))
    models = _labelled(suite, models_of(suite, catalog), ())
    attacks = _labelled(suite, attacks_of(suite, catalog), ())
    measures = tuple(measures_of(suite, catalog))
    analyses = tuple(analyses_of(suite, catalog))
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
            cells.append(Cell(dataset, model, attack, GOALS[model.entry.spec.head], attack.keep))
        else:
            skipped.append(Skipped(dataset, model, attack, reason))
    if suite.transfers:
        cells, more = _with_transfers(suite, datasets, models, attacks, cells, skipped)
        skipped += more
    return Plan(
        suite,
        tuple(sources.values()),
        datasets,
        models,
        attacks,
        measures,
        analyses,
        tuple(cells),
        tuple(skipped),
    )


# --- transfer ---------------------------------------------------------------------------------------------


def _with_transfers(
    suite: Suite,
    datasets: Sequence[DatasetChoice],
    models: Sequence[ModelChoice],
    attacks: Sequence[AttackChoice],
    cells: Sequence[Cell],
    skipped: Sequence[Skipped],
) -> tuple[list[Cell], list[Skipped]]:
    """The cells, those of transfers last, and the transfers that are skipped."""
    wanted: dict[tuple[DatasetChoice, ModelChoice, ModelChoice, AttackChoice], None] = {}
    for table in suite.transfers:
        wanted |= dict.fromkeys(_transfers_of(table, datasets, models, attacks))
    sources = {(dataset, surrogate, attack) for dataset, surrogate, _, attack in wanted}
    made = {(cell.dataset, cell.model, cell.attack): cell for cell in cells}
    kept = {key: replace(cell, keep=True) if key in sources else cell for key, cell in made.items()}
    reasons = {(item.dataset, item.model, item.attack): item.reason for item in skipped}
    found: list[Cell] = []
    left: list[Skipped] = []
    for dataset, surrogate, victim, attack in wanted:
        source = kept.get((dataset, surrogate, attack))
        if source is None:
            reason: str | None = f"not run on {surrogate.label}: {reasons[dataset, surrogate, attack]}"
        else:
            reason = _no_transfer(surrogate, victim, attack)
        if reason is None and source is not None:
            found.append(Cell(dataset, victim, attack, source.goal, source=source))
        else:
            left.append(Skipped(dataset, victim, attack, reason or "", surrogate))
    return [*kept.values(), *found], left


def _transfers_of(
    table: Table,
    datasets: Sequence[DatasetChoice],
    models: Sequence[ModelChoice],
    attacks: Sequence[AttackChoice],
) -> Iterable[tuple[DatasetChoice, ModelChoice, ModelChoice, AttackChoice]]:
    """Data set, surrogate, victim and attack of all that a [[transfer]] table means."""
    named = check(table.place, table.values, _TRANSFER_KEYS, ManifestError)
    surrogates = _meant(table.place, "model", models, named["surrogate"], key="surrogate")
    victims = _meant(table.place, "model", models, named["victim"], key="victim")
    combinations = product(
        _meant(table.place, "dataset", datasets, named["dataset"]),
        surrogates,
        victims,
        _meant(table.place, "attack", attacks, named["attack"]),
    )
    found = [each for each in combinations if each[1] is not each[2]]
    if not found:
        raise ManifestError(f"{table.place}: the victim is the surrogate; name another model of this suite")
    return found


def _no_transfer(surrogate: ModelChoice, victim: ModelChoice, attack: AttackChoice) -> str | None:
    """Why adversarials of the surrogate mean nothing to the victim, or None."""
    one, other = surrogate.entry.spec.head, victim.entry.spec.head
    if one != other:
        return f'adversarials of a model with head "{one}" ask nothing of one with head "{other}"'
    if surrogate.attributes is None or victim.attributes is None:
        asked = victim.attributes if surrogate.attributes is None else surrogate.attributes
    else:
        asked = tuple(name for name in surrogate.attributes if name in victim.attributes)
    if asked is not None and attack.attributes is not None:
        asked = tuple(name for name in asked if name in attack.attributes)
    return None if asked is None or asked else f"{victim.label} answers no attribute that was flipped"


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
            more |= {"attributes": choice.attributes, "compute": choice.compute, "fit": choice.fit}
        if isinstance(choice, ModelChoice):
            more |= {"weights": choice.weights}
        if isinstance(choice, DatasetChoice):
            more |= {"source": choice.source.label if choice.source else None}
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
    return (
        set(_meant(table.place, "dataset", datasets, wanted["dataset"])),
        set(_meant(table.place, "model", models, wanted["model"])),
        set(_meant(table.place, "attack", attacks, wanted["attack"])),
    )


def _meant(place: str, kind: str, choices: Sequence[Any], names: Any, key: str | None = None) -> list[Any]:
    """The choices that a name, or a list of names, in another table means; all where there is none."""
    if names is None:
        return list(choices)
    found: dict[Any, None] = {}
    for name in [names] if isinstance(names, str) else names:
        meant = [choice for choice in choices if name in _names(choice)]
        if not meant:
            known = [known for choice in choices for known in _names(choice)]
            raise ManifestError(
                f'{place}: {key or kind} "{name}" is not in this suite; {nearest(name, known)}'
            )
        found |= dict.fromkeys(meant)
    return list(found)


def _names(choice: Any) -> tuple[str, ...]:
    """What a choice answers to: its label, that of its table, and what it uses."""
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
