"""The [[attack]] tables of a suite become attacks with resolved parameters, each with its threat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from harness.catalog import Catalog, Choice, Entry
from harness.errors import ManifestError, nearest
from harness.manifest import Suite, Table
from harness.parameters import optional
from harness.plan.tables import (
    combinations,
    each,
    entry_of,
    own_values,
    preset_values,
    refuse_unset,
    split,
)
from harness.specs import AttackSpec, Compute, HeadKind
from harness.threat import LARGEST_EPS, Threat

GOALS: Mapping[HeadKind, tuple[str, ...]] = {
    "attributes": ("flip",),
    "classes": ("untargeted",),
    "embedding": ("impersonate", "evade", "triplet"),
}
"""The goals that a suite pursues, by the type of a model's outputs; each is a module of ``harness.cases``."""
NAMED = frozenset({"triplet"})
"""Goals that an attack pursues only where its table names them."""
_ATTACK_KEYS = optional(
    preset=str,
    norm=str,
    eps=float,
    attributes=list[str],
    goals=list[str],
    compute=Compute,
    keep=bool,
    fit=float,
)
_LISTS = ("preset", "norm", "eps")
"""Keys whose lists are crossed."""


@dataclass(frozen=True, eq=False)
class AttackChoice(Choice[AttackSpec]):
    """An attack of the suite has parameters, a threat, and attributes that it is to flip."""

    threat: Threat
    attributes: tuple[str, ...] | None
    compute: Compute
    keep: bool
    fit: float | None = None
    """The share of images on which an attack learns one change for all; None for other attacks."""
    goals: tuple[str, ...] | None = None
    """The goals that it is to pursue; None: all that it can."""

    def goals_of(self, head: HeadKind) -> tuple[str, ...]:
        """Return the goals that it pursues on models with this head."""
        able = self.entry.spec.goals
        named = self.goals or [name for name in GOALS[head] if name not in NAMED]
        wanted = [name for name in GOALS[head] if name in named]
        return tuple(name for name in wanted if head != "embedding" or able is None or name in able)


Resolve = Callable[[Table, Entry[AttackSpec], Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""Takes a table, its entry and the values of a preset; returns the parameters of all its combinations."""


def resolve(table: Table, entry: Entry[AttackSpec], preset: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the parameters of an attack for every combination of a table's values; this imports its code.

    Raises:
        ManifestError, CatalogError: a parameter is unknown or wrong, or the attack cannot be imported.
    """
    _, values = split(table, _ATTACK_KEYS, entry.parameters(), _LISTS)
    return list(combinations(table, entry, {**preset, **values}))


def attacks_of(suite: Suite, catalog: Catalog, resolve: Resolve = resolve) -> Iterator[AttackChoice]:
    """Yield the attacks of a suite, each with its threat; only ``resolve`` imports their code."""
    for table in suite.attacks:
        entry = entry_of(table, catalog.attacks)
        refuse_unset(table)
        own = own_values(table, _ATTACK_KEYS, _LISTS)
        if own["attributes"] == []:
            raise ManifestError(f"{table.place}.attributes = [] is empty; leave it out to mean all")
        presets = each(own["preset"])
        known = [
            resolve(table, entry, preset_values(table.place, entry.spec.presets, preset))
            for preset in presets
        ]
        for resolved, norm, eps in product(known, each(own["norm"]), each(own["eps"])):
            threat = _threat(table.place, entry.spec, norm, eps)
            for parameters in resolved:
                yield AttackChoice(
                    table.id or entry.spec.name,
                    entry,
                    parameters,
                    table.place,
                    threat,
                    None if own["attributes"] is None else tuple(own["attributes"]),
                    own["compute"] or suite.compute,
                    suite.keep if own["keep"] is None else own["keep"],
                    _fit(table.place, entry.spec, own["fit"]),
                    _goals(table.place, own["goals"]),
                )


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


def _goals(place: str, names: list[str] | None) -> tuple[str, ...] | None:
    """Return the goals that a table names, each of them one that suites have."""
    known = [name for goals in GOALS.values() for name in goals]
    for name in names or ():
        if name not in known:
            raise ManifestError(f'{place}.goals: "{name}" is unknown; {nearest(name, known)}')
    if names == []:
        raise ManifestError(f"{place}.goals = [] is empty; leave it out to mean all")
    return None if names is None else tuple(dict.fromkeys(names))


def _fit(place: str, spec: AttackSpec, share: float | None) -> float | None:
    """Return the share of images that an attack learns on."""
    if "universal" not in spec.traits:
        if share is not None:
            raise ManifestError(f"{place}.fit = {share}: it learns on no images; leave it out")
        return None
    if share is not None and not 0 < share < 1:
        raise ManifestError(f"{place}.fit = {share} must be a share between 0 and 1")
    return 0.5 if share is None else share
