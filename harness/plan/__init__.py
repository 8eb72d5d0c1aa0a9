"""Planning crosses a suite with the catalogue: cells, and the reason for every pair that is skipped."""

from __future__ import annotations

from harness.plan.cells import Cell as Cell, Plan as Plan, Skipped as Skipped
from harness.plan.planner import plan as plan
