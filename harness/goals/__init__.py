"""Goals say what an attack must change: the decision on an attribute, the class, or the accepted identity."""

from __future__ import annotations

from harness.goals.attributes import FlipAttribute as FlipAttribute, FlipObjective as FlipObjective
from harness.goals.classes import (
    ClassObjective as ClassObjective,
    Targeted as Targeted,
    Untargeted as Untargeted,
)
from harness.goals.embeddings import (
    Evade as Evade,
    Impersonate as Impersonate,
    VerificationObjective as VerificationObjective,
)
from harness.goals.lent import lent_objective as lent_objective
from harness.goals.mirrored import mirrored as mirrored, twice as twice
from harness.goals.objective import Goal as Goal, Loss as Loss, Objective as Objective
from harness.goals.triplets import Triplet as Triplet, TripletObjective as TripletObjective
