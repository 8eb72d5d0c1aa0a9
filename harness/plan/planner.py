"""The planner crosses the tables of a suite and says why a pair is skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from harness.catalog import Catalog, Choice, Entry
from harness.errors import CatalogError, ManifestError, nearest
from harness.manifest import FILE_NAME, Suite, Table
from harness.parameters import check, optional
from harness.plan.attacks import AttackChoice, Resolve, attacks_of, resolve
from harness.plan.cells import Cell, Plan, Skipped
from harness.plan.comparisons import KEY as COMPARISONS
from harness.plan.datasets import DatasetChoice, datasets_of, sources_of
from harness.plan.labels import labelled, meant
from harness.plan.measures import measures_of
from harness.plan.models import ModelChoice, models_of, observation_columns
from harness.plan.tables import checked, entries_of
from harness.plan.transfers import with_transfers
from harness.specs import ACCESS_ORDER, AnalysisSpec, AttackSpec, ModelSpec

_EXCLUDE_KEYS = optional(dataset=str | list[str], model=str | list[str], attack=str | list[str])


def plan(suite: Suite, catalog: Catalog, resolve: Resolve = resolve) -> Plan:
    """Resolve names and parameters and cross the tables.

    Args:
        resolve: resolves the parameters of attacks; by default their code is imported here for that.

    Raises:
        ManifestError, CatalogError: a name is unknown, or a value is wrong.
    """
    sources = sources_of(suite, catalog)
    datasets = labelled(datasets_of(suite, catalog, sources), ("partition", "sample"))
    models = labelled(models_of(suite, catalog))
    attacks = labelled(attacks_of(suite, catalog, resolve))
    measures = tuple(measures_of(suite, catalog, observation_columns(models)))
    analyses = tuple(analyses_of(suite, catalog))
    excluded = [_exclusion(table, datasets, models, attacks) for table in suite.excludes]
    cells: list[Cell] = []
    skipped: list[Skipped] = []
    # Whether a pair fits depends on model and attack alone, so it is asked once, not once a data set.
    flips = any(model.entry.spec.head == "attributes" for model in models)
    reasons = {(model, attack): _unfit(model, attack, flips) for model, attack in product(models, attacks)}
    for dataset, (pair, reason) in product(datasets, reasons.items()):
        model, attack = pair
        reason = reason or _incomparable(dataset, model)
        if reason is None and any(dataset in d and model in m and attack in a for d, m, a in excluded):
            reason = f"excluded by {suite.place}"
        if reason is None:
            cells += [
                Cell(dataset, model, attack, goal, attack.keep)
                for goal in attack.goals_of(model.entry.spec.head)
            ]
        else:
            skipped.append(Skipped(dataset, model, attack, reason))
    if suite.transfers:
        cells, more = with_transfers(suite, datasets, models, attacks, cells, skipped)
        skipped += more
    labels = {attack.threat.label for attack in attacks}
    if suite.order_by is not None and suite.order_by not in labels:
        raise ManifestError(
            f'{suite.place}: order_by = "{suite.order_by}" is no threat of the suite; '
            f"{nearest(suite.order_by, labels)}"
        )
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
        set(meant(table.place, "dataset", datasets, wanted["dataset"])),
        set(meant(table.place, "model", models, wanted["model"])),
        set(meant(table.place, "attack", attacks, wanted["attack"])),
    )


def _unfit(model: ModelChoice, attack: AttackChoice, flips: bool) -> str | None:
    """Return why this attack cannot be run on this model, or None.

    Args:
        flips: whether a model of the suite answers attributes. Those that an attack names then concern such
            models alone; where there is none, they are a mistake.
    """
    spec, target = attack.entry.spec, _spec_of(model)
    if target.head not in spec.heads:
        return f'{spec.name} does not attack the head "{target.head}"'
    if ACCESS_ORDER.index(target.access) < ACCESS_ORDER.index(spec.access):
        return f"{spec.name} needs {spec.access}, and {target.name} shows no more than {target.access}"
    if not attack.goals_of(target.head):
        goals = " or ".join(attack.goals or sorted(spec.goals or ()))
        return f'it is to {goals}, which asks nothing of the head "{target.head}"'
    if spec.refuses and (reason := _refused(attack.entry, target, attack.parameters)):
        return reason
    if attack.attributes is None:
        return None
    if target.head != "attributes":
        return None if flips else "it is to flip attributes, and the model answers none"
    if model.attributes is not None and not set(attack.attributes) & set(model.attributes):
        return f"{model.label} answers none of the attributes {', '.join(attack.attributes)}"
    return None


def _spec_of(model: ModelChoice) -> ModelSpec:
    """Return the spec of a model with the traits that its parameters give it."""
    spec = model.entry.spec
    if spec.traits_of is None:
        return spec
    try:
        return replace(spec, traits=spec.traits | spec.traits_of(model.parameters))
    except Exception as error:
        raise CatalogError(
            f'"{model.entry.qualified}" of {model.entry.plugin.distribution} {model.entry.plugin.version} '
            f"cannot say what traits it has: {type(error).__name__}: {error}"
        ) from error


def _incomparable(dataset: DatasetChoice, model: ModelChoice) -> str | None:
    """Return why nothing is known that a verifier could compare on a data set, or None."""
    if model.entry.spec.head != "embedding" or dataset.comparisons is not None:
        return None
    return (
        f"{model.label} compares faces, and {dataset.label} has no comparisons; write a table "
        f"[dataset.{COMPARISONS}] below it"
    )


def _refused(entry: Entry[AttackSpec], model: ModelSpec, parameters: Mapping[str, Any]) -> str | None:
    try:
        return entry.spec.refuses(model, parameters) if entry.spec.refuses else None
    except Exception as error:
        raise CatalogError(
            f'"{entry.qualified}" of {entry.plugin.distribution} {entry.plugin.version} cannot say whether '
            f"it refuses {model.name}: {type(error).__name__}: {error}"
        ) from error


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
