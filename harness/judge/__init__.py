"""One attack is run on one batch, watched while it runs, and judged when it returns."""

from __future__ import annotations

from harness.judge.verdict import Verdict as Verdict, judge as judge
