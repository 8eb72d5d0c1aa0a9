"""A plugin of attacks that reach for the judge instead of the model, or end their process."""

from __future__ import annotations

import harness

NAMES = ("originals", "labels", "budget", "judge", "decisions", "hook", "dying", "drawn")


@harness.hookimpl
def harness_attacks() -> list[harness.AttackSpec]:
    """Attacks whose code lies in another module."""
    return [
        harness.AttackSpec(name=name, summary=name, run=f"cheats_code:{name}", norms=("linf",))
        for name in NAMES
    ]


@harness.hookimpl
def harness_models() -> list[harness.ModelSpec]:
    """A model that is another one whenever it is built."""
    return [
        harness.ModelSpec(name="unsteady", summary="random", build="cheats_models:build", head="attributes")
    ]
