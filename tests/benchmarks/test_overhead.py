"""What the harness itself costs: an attack that does nothing, against the model's own forward passes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.cases import GOALS
from harness.cases.datasets import open_dataset
from harness.catalog import GROUP, read_catalog
from harness.hookspecs import hookimpl
from harness.judge.batching import BatchSize
from harness.manifest import read_suite
from harness.plan.planner import plan
from harness.shards.context import CellContext, CleanAnswers, images
from harness.shards.shard import run_shard
from harness.specs import AttackSpec
from harness.zoo.build import build, ready

BAR = 0.4  # ms a case
BATCH = 256  # what "auto" takes of such a network
ATTRIBUTES = ["Male", "Smiling", "Young", "Eyeglasses"]


@dataclass(frozen=True)
class Sizes:
    """How many images the data set has, and how many are attacked."""

    count: int
    images: int


FULL = Sizes(count=200, images=64)
TINY = Sizes(count=4, images=2)


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    return [AttackSpec(name="idle", summary="returns what it was given", run=f"{__name__}:idle")]


def idle(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
    """Return what it was given."""
    return x.clone()


@pytest.mark.benchmark(group="overhead")
def test_an_idle_attack_costs_little(timed: Any, report: Any, sizes: Sizes) -> None:
    suite = {
        "schema": 1,
        "name": "overhead",
        "keep": True,
        "dataset": [{"use": "synthetic-faces", "size": [88, 72], "count": sizes.count}],
        "model": [{"use": "moon"}],
        "attack": [{"use": "idle", "eps": "8/255", "attributes": ATTRIBUTES}],
    }
    catalog = read_catalog([*entry_points(group=GROUP), EntryPoint("idle", __name__, GROUP)])
    (cell,) = plan(read_suite(suite), catalog).cells
    dataset = open_dataset(cell.dataset)
    device = torch.device("cpu")
    model = ready(cell.model, build(cell.model, dataset, 0), dataset, device)
    rows = np.arange(sizes.images)
    cases = GOALS[cell.goal].enumerate(cell, dataset, rows, model.names)
    clean = CleanAnswers(model, dataset, rows)
    context = CellContext(cell, dataset, model, clean, (), 0, BatchSize(BATCH))
    run_shard(context, cases)  # images drawn, clean answers known
    table, whole = timed(run_shard, args=(context, cases), rounds=5)
    assert table["error"].null_count == len(cases) == sizes.images * len(ATTRIBUTES)
    bare = []
    for _ in range(5):
        start = time.perf_counter()
        for first in range(0, len(cases), BATCH):
            model.scores(images(dataset, cases.rows[first : first + BATCH], device))
        bare.append(time.perf_counter() - start)
    over = (median(whole) - median(bare)) / len(cases)
    report("an idle attack, beside the forward passes", over * 1e3, "ms a case", at_most=BAR)
    report("forward passes of the quick MOON", median(bare) / len(cases) * 1e3, "ms a case")
