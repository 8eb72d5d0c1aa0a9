"""How long it takes to plan a large suite, in processor time: the machine may be shared."""

from __future__ import annotations

import time
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from harness.catalog import GROUP, read_catalog
from harness.manifest import read_suite
from harness.plan.planner import plan

DATASETS, MODELS, ATTACKS = 4, 50, 500


@pytest.mark.benchmark(timer=time.process_time)
def test_planning_a_hundred_thousand_cells(benchmark: Any) -> None:
    catalog = read_catalog([EntryPoint("fakes", "tests.plan.fakes", GROUP)])
    document = {
        "schema": 1,
        "name": "large",
        "dataset": [{"use": "drawn", "count": list(range(1, DATASETS + 1))}],
        "model": [{"use": "linear", "width": list(range(1, MODELS + 1))}],
        "attack": [{"use": "pgd", "eps": 0.1, "steps": list(range(1, ATTACKS + 1))}],
        "exclude": [{"model": f"linear[width={MODELS}]", "attack": "pgd[steps=1]"}],
    }
    made = benchmark.pedantic(
        lambda: plan(read_suite(document), catalog), rounds=3, iterations=1, warmup_rounds=1
    )
    assert len(made.cells) + len(made.skipped) == DATASETS * MODELS * ATTACKS == 100_000
    assert len(made.skipped) == DATASETS
    benchmark.extra_info["cells"] = len(made.cells)
    assert benchmark.stats["min"] < 2
