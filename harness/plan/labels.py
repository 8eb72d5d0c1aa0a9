"""Labels tell the choices of a suite apart, and resolve what a name in another table means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from harness.catalog import Choice
from harness.errors import ManifestError, nearest
from harness.plan.attacks import AttackChoice
from harness.plan.datasets import DatasetChoice
from harness.plan.models import ModelChoice

_WAYS = ("mirror", "selection", "references")
"""Keys of [dataset.comparisons] in which data sets may differ, beside the numbers of persons and images."""
C = TypeVar("C", bound=Choice[Any])


def labelled(choices: Iterable[C], extra: tuple[str, ...] = ()) -> tuple[C, ...]:
    """Return the choices with labels that differ: equal labels get the parameters that differ added."""
    found = list(choices)

    def key(choice: C) -> tuple[str, str]:
        # Attacks that differ in their threat stand in different rows anyway.
        return choice.label, choice.threat.label if isinstance(choice, AttackChoice) else ""

    def traits(choice: C) -> dict[str, Any]:
        more = {name: getattr(choice, name) for name in extra}
        if isinstance(choice, AttackChoice):
            more |= {"attributes": choice.attributes, "compute": choice.compute, "fit": choice.fit}
            more |= {"goals": choice.goals}
        if isinstance(choice, ModelChoice):
            more |= {"weights": choice.weights}
        if isinstance(choice, DatasetChoice):
            more |= {"source": choice.source.label if choice.source else None}
            told = choice.comparisons.table if choice.comparisons else {}
            more |= {key: told.get(key) for key in (*_WAYS, "targets", "intruders", "genuine", "file")}
        return {**choice.parameters, **more}

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    owners: dict[str, C] = {}
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


def meant(place: str, kind: str, choices: Sequence[C], names: Any, key: str | None = None) -> list[C]:
    """Return the choices that a name or a list of names in another table means; None means all."""
    if names is None:
        return list(choices)
    found: dict[C, None] = {}
    for name in [names] if isinstance(names, str) else names:
        meant = [choice for choice in choices if name in _names(choice)]
        if not meant:
            known = [known for choice in choices for known in _names(choice)]
            raise ManifestError(
                f'{place}: {key or kind} "{name}" is not in this suite; {nearest(name, known)}'
            )
        found |= dict.fromkeys(meant)
    return list(found)


def _names(choice: Choice[Any]) -> tuple[str, ...]:
    """Return the names of a choice: its label, the label of its table, and what it uses."""
    plain = choice.label.partition("[")[0]
    names = (choice.label, plain, choice.entry.spec.name, choice.entry.qualified)
    if isinstance(choice, DatasetChoice) and choice.stand_in_for:
        return (*names, choice.stand_in_for)
    return names
