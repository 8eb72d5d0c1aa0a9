"""The [[transfer]] tables of a suite become cells in which a model judges what was made on another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

from harness.errors import ManifestError
from harness.manifest import Suite, Table
from harness.parameters import Parameter, check, optional
from harness.plan.attacks import AttackChoice
from harness.plan.cells import Cell, Skipped
from harness.plan.datasets import DatasetChoice
from harness.plan.labels import meant
from harness.plan.models import ModelChoice

_TRANSFER_KEYS = {"surrogate": Parameter("surrogate", str)} | optional(
    victim=str | list[str], attack=str | list[str], dataset=str
)


def with_transfers(
    suite: Suite,
    datasets: Sequence[DatasetChoice],
    models: Sequence[ModelChoice],
    attacks: Sequence[AttackChoice],
    cells: Sequence[Cell],
    skipped: Sequence[Skipped],
) -> tuple[list[Cell], list[Skipped]]:
    """Return the cells with those of transfers last, and the transfers that are skipped."""
    wanted: dict[tuple[DatasetChoice, ModelChoice, ModelChoice, AttackChoice], None] = {}
    for table in suite.transfers:
        wanted |= dict.fromkeys(_transfers_of(table, datasets, models, attacks))
    sources = {(dataset, surrogate, attack) for dataset, surrogate, _, attack in wanted}
    made: dict[tuple[DatasetChoice, ModelChoice, AttackChoice], list[Cell]] = {}
    kept: list[Cell] = []
    for cell in cells:
        key = cell.dataset, cell.model, cell.attack
        kept.append(replace(cell, keep=True) if key in sources else cell)
        made.setdefault(key, []).append(kept[-1])
    reasons = {(item.dataset, item.model, item.attack): item.reason for item in skipped}
    found: list[Cell] = []
    left: list[Skipped] = []
    for dataset, surrogate, victim, attack in wanted:
        own = made.get((dataset, surrogate, attack), [])
        if not own:
            reason: str | None = f"not run on {surrogate.label}: {reasons[dataset, surrogate, attack]}"
        else:
            reason = _no_transfer(surrogate, victim, attack)
        if reason is None:
            found += [Cell(dataset, victim, attack, source.goal, source=source) for source in own]
        else:
            left.append(Skipped(dataset, victim, attack, reason, surrogate))
    return [*kept, *found], left


def _transfers_of(
    table: Table,
    datasets: Sequence[DatasetChoice],
    models: Sequence[ModelChoice],
    attacks: Sequence[AttackChoice],
) -> Iterable[tuple[DatasetChoice, ModelChoice, ModelChoice, AttackChoice]]:
    """Return the data set, surrogate, victim and attack of each transfer that a table means."""
    named = check(table.place, table.values, _TRANSFER_KEYS, ManifestError)
    surrogates = meant(table.place, "model", models, named["surrogate"], key="surrogate")
    victims = meant(table.place, "model", models, named["victim"], key="victim")
    combinations = product(
        meant(table.place, "dataset", datasets, named["dataset"]),
        surrogates,
        victims,
        meant(table.place, "attack", attacks, named["attack"]),
    )
    found = [each for each in combinations if each[1] is not each[2]]
    if not found:
        raise ManifestError(f"{table.place}: the victim is the surrogate; name another model of this suite")
    return found


def _no_transfer(surrogate: ModelChoice, victim: ModelChoice, attack: AttackChoice) -> str | None:
    """Return why the victim cannot judge the surrogate's adversarials, or None."""
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
