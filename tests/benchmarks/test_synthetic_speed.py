"""How fast synthetic-faces annotates and draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness_faces.synthetic import load


def test_annotations_of_the_default_data_set(benchmark: Any) -> None:
    benchmark.pedantic(load, kwargs={"size": (88, 72)}, rounds=3, warmup_rounds=1)
    assert benchmark.stats["mean"] < 1.0


def test_drawing_at_the_quick_size(benchmark: Any) -> None:
    dataset = load(size=(88, 72), count=128)
    benchmark.extra_info["images"] = len(dataset)
    benchmark.pedantic(dataset.read, args=(np.arange(128),), rounds=3, warmup_rounds=1)
    # a third of what is measured on two cores: the machine may be shared
    assert 128 / benchmark.stats["min"] > 100
