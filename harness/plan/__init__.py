"""Planning crosses a suite with the catalogue: cells, and the reason for every pair that is skipped."""

from __future__ import annotations

from harness.plan.cells import Cell, Plan, Skipped
from harness.plan.planner import plan

__all__ = [
    "Cell",
    "Plan",
    "Skipped",
    "plan",
]
