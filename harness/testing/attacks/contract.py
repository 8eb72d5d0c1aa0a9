"""The attack contract: all checks, and the cases of an attack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from harness.catalog import Entry
from harness.specs import AttackSpec
from harness.testing.attacks import limits, promises, strength
from harness.testing.attacks.subject import SHAPE, AttackSubject
from harness.testing.contract import Case, Check, cases

ATTACK_CHECKS = (
    Check(promises.images),
    Check(promises.box),
    Check(promises.budget),
    Check(promises.region),
    Check(promises.inputs),
    Check(promises.empty),
    Check(promises.companions),
    Check(promises.seeds),
    Check(promises.access),
    Check(promises.precision),
    Check(limits.reached),
    Check(limits.constant_model),
    Check(limits.nan_model),
    Check(limits.passes),
    Check(strength.distance),
    Check(strength.goals),
)
"""In the order in which they are worth mending."""


def attack_checks(
    attack: str | AttackSpec | Entry[AttackSpec],
    *,
    params: Mapping[str, Any] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    function: Callable[..., Any] | None = None,
    shape: tuple[int, int, int] = SHAPE,
) -> list[Case]:
    """The checks of an attack, one per promise and head, each to be called without arguments.

    Args:
        attack: its name in the catalogue, or the spec of one that is not installed.
        params: its parameters, as in a manifest.
        only: names of checks; all where empty.
        skip: names of checks to leave out.
        function: what is run, where the spec's ``run`` cannot be imported.
        shape: channels, height, width of the images.

    Raises:
        HarnessError: a name is unknown, or a parameter is wrong.
    """
    subject = AttackSubject.of(attack, params, function=function, shape=shape)
    return cases(subject, ATTACK_CHECKS, only, skip)
