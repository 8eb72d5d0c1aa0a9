"""Goals say what must become of each image: a changed decision, another class, another identity."""

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
