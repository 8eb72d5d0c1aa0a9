"""Goals say what an attack must change: the decision on an attribute, the class, or the accepted identity."""

from __future__ import annotations

from harness.goals.attributes import FlipAttribute, FlipObjective
from harness.goals.classes import ClassObjective, Targeted, Untargeted
from harness.goals.embeddings import Evade, Impersonate, VerificationObjective
from harness.goals.objective import Goal, Loss, Objective

__all__ = [
    "ClassObjective",
    "Evade",
    "FlipAttribute",
    "FlipObjective",
    "Goal",
    "Impersonate",
    "Loss",
    "Objective",
    "Targeted",
    "Untargeted",
    "VerificationObjective",
]
