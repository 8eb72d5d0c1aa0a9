"""Cases are what a cell attacks: data sets opened, the sample drawn, and a module for each goal of suites."""

from __future__ import annotations

from collections.abc import Mapping

from harness.cases import classes, evade, flip, impersonate, triplet
from harness.cases.cases import SuiteGoal

__all__ = ["GOALS"]

GOALS: Mapping[str, SuiteGoal] = {
    "flip": flip,
    "untargeted": classes,
    "impersonate": impersonate,
    "evade": evade,
    "triplet": triplet,
}
"""The goals of suites by name; ``harness.plan.attacks.GOALS`` says which a suite pursues by output type."""
