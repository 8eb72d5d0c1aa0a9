"""The contract of attacks lists all checks, and makes the cases of an attack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from harness.catalog import Entry
from harness.specs import AttackSpec
from harness.testing.attacks import limits, promises, strength
from harness.testing.attacks.subject import SHAPE, AttackSubject
from harness.testing.contract import Case, Check, cases

_BOUNDS = ("images", "pixel-range", "budget", "region")
_STEADY = (*_BOUNDS, "seeds", "batch-independence", "constant-model")
ATTACK_CHECKS = (
    Check(promises.images),
    Check(promises.pixel_range, after=("images",)),
    Check(promises.budget, after=("images",)),
    Check(promises.region, after=("images", "pixel-range", "budget")),
    Check(promises.inputs, after=("images",)),
    Check(promises.empty, after=("images",)),
    Check(promises.seeds, after=("images",)),
    Check(promises.batch_independence, after=("images", "seeds")),
    Check(promises.access, after=("images",)),
    Check(promises.precision, after=_BOUNDS),
    Check(limits.constant_model, after=("images",)),
    Check(limits.nan_model, after=("images", "seeds", "batch-independence", "constant-model")),
    Check(limits.passes, after=("images",)),
    Check(strength.distance, after=_STEADY),
    Check(strength.goals, after=_STEADY),
    Check(strength.direction, after=_STEADY, after_any=("distance", "goals")),
    Check(limits.reached, after=_STEADY, after_any=("distance", "goals", "direction")),
)
"""All checks, in the order in which failures are best repaired."""


def attack_checks(
    attack: str | AttackSpec | Entry[AttackSpec],
    *,
    params: Mapping[str, Any] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    function: Callable[..., Any] | None = None,
    shape: tuple[int, int, int] = SHAPE,
) -> list[Case]:
    """Return the checks of an attack, one per promise and head, as functions without arguments.

    Args:
        attack: its name in the catalogue, or the spec of an attack that is not installed.
        params: its parameters, as in a manifest.
        only: names of checks to run; all if empty.
        skip: names of checks to leave out.
        function: the function that is run, if the spec's ``run`` cannot be imported.
        shape: the channels, height and width of the images.

    Raises:
        HarnessError: a name is unknown, or a parameter is wrong.
    """
    subject = AttackSubject.of(attack, params, function=function, shape=shape)
    return cases(subject, ATTACK_CHECKS, only, skip)
