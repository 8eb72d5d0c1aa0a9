"""What the harness itself costs: an attack that does nothing, against the model's own forward passes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.cases.cases import enumerate_cases
from harness.cases.datasets import open_dataset
from harness.catalog import catalog
from harness.manifest import read_suite
from harness.plan.cells import Cell
from harness.plan.planner import plan
from harness.shards.bench import Bench, CleanAnswers, images
from harness.shards.shard import run_shard
from harness.specs import AttackSpec
from harness.zoo.build import build, ready

IMAGES, BAR = 64, 2e-3  # seconds a case
ATTRIBUTES = ["Male", "Smiling", "Young", "Eyeglasses"]
SUITE = {
    "schema": 1,
    "name": "overhead",
    "keep": True,
    "dataset": [{"use": "synthetic-faces", "size": [88, 72], "count": 200}],
    "model": [{"use": "moon"}],
    "attack": [{"use": "noise", "eps": "8/255", "attributes": ATTRIBUTES}],
}


def idle(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any, draws: int = 0) -> Tensor:
    """Returns what it was given."""
    return x.clone()


@pytest.mark.benchmark(group="overhead")
def test_an_idle_attack_costs_at_most_2_ms_a_case(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(read_suite(SUITE), catalog())
    (cell,) = planned.cells
    dataset = open_dataset(cell.dataset)
    device = torch.device("cpu")
    model = ready(cell.model, build(cell.model, dataset, 0), device)
    rows = np.arange(IMAGES)
    cases = enumerate_cases(cell, dataset, rows, model.names)
    clean = CleanAnswers(model, dataset, rows)
    bench = Bench(_with(cell, idle), dataset, model, clean, (), 0, 64)
    run_shard(bench, cases)  # images drawn, clean answers known
    table = benchmark.pedantic(run_shard, (bench, cases), rounds=5)
    assert table["error"].null_count == len(cases)
    bare = []
    for _ in range(5):
        start = time.perf_counter()
        for first in range(0, len(cases), 64):
            model.scores(images(dataset, cases.rows[first : first + 64], device))
        bare.append(time.perf_counter() - start)
    over = (benchmark.stats.stats.median - sorted(bare)[2]) / len(cases)
    benchmark.extra_info |= {
        "bare_ms_a_case": sorted(bare)[2] / len(cases) * 1e3,
        "over_ms_a_case": over * 1e3,
    }
    print(
        f"idle attack: {over * 1e3:.2f} ms a case above the bare {sorted(bare)[2] / len(cases) * 1e3:.2f} ms"
    )
    assert over <= BAR


def _with(cell: Cell, function: Any) -> Cell:
    """The same cell with another attack."""
    from dataclasses import replace

    spec = AttackSpec(name="idle", summary="nothing", run=f"{__name__}:idle")
    entry = replace(cell.attack.entry, spec=spec)
    object.__setattr__(entry, "load", lambda target: function)
    return Cell(cell.dataset, cell.model, replace(cell.attack, entry=entry), cell.goal)
