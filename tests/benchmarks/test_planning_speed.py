"""How long it takes to plan a large suite, in processor time: the machine may be shared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from harness.catalog import GROUP, read_catalog
from harness.manifest import read_suite
from harness.plan.planner import plan
from tests.plan import fakes


@dataclass(frozen=True)
class Sizes:
    """How many of each a suite has; their product is the number of cells."""

    datasets: int
    models: int
    attacks: int


FULL = Sizes(datasets=4, models=50, attacks=500)
TINY = Sizes(datasets=2, models=2, attacks=3)


@pytest.mark.benchmark(timer=time.process_time)
def test_planning_a_hundred_thousand_cells(timed: Any, report: Any, sizes: Sizes) -> None:
    catalog = read_catalog([EntryPoint("fakes", fakes.__name__, GROUP)])
    document = {
        "schema": 1,
        "name": "large",
        "dataset": [{"use": "drawn", "count": list(range(1, sizes.datasets + 1))}],
        "model": [{"use": "linear", "width": list(range(1, sizes.models + 1))}],
        "attack": [{"use": "pgd", "eps": 0.1, "steps": list(range(1, sizes.attacks + 1))}],
        "exclude": [{"model": f"linear[width={sizes.models}]", "attack": "pgd[steps=1]"}],
    }
    made, seconds = timed(lambda: plan(read_suite(document), catalog), rounds=3, warmup_rounds=1)
    pairs = len(made.cells) + len(made.skipped)
    assert pairs == sizes.datasets * sizes.models * sizes.attacks
    assert len(made.skipped) == sizes.datasets
    report(f"planning {pairs:,} cells", min(seconds), "s", at_most=1)
