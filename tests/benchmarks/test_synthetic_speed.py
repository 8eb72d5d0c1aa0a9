"""How fast synthetic-faces annotates and draws, in processor time: the machine may be shared."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from harness_faces.synthetic import load


@pytest.mark.benchmark(timer=time.process_time)
def test_annotations_of_the_default_data_set(benchmark: Any) -> None:
    benchmark.pedantic(load, kwargs={"size": (88, 72)}, rounds=3, warmup_rounds=1)
    assert benchmark.stats["min"] < 1.0


@pytest.mark.benchmark(timer=time.process_time)
def test_drawing_at_the_quick_size(benchmark: Any) -> None:
    dataset = load(size=(88, 72), count=128)
    benchmark.extra_info["images"] = len(dataset)
    benchmark.pedantic(dataset.read, args=(np.arange(128),), rounds=5, warmup_rounds=1)
    # about 400 images a second on one core of 2020s hardware; half of that is a regression
    assert 128 / benchmark.stats["min"] > 200
