"""How fast synthetic-faces annotates and draws, in processor time: the machine may be shared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from harness_faces.synthetic import load


@dataclass(frozen=True)
class Sizes:
    """How many images are annotated, and how many drawn."""

    annotated: int
    drawn: int


FULL = Sizes(annotated=6000, drawn=128)
"""The first is the default of the data set."""
TINY = Sizes(annotated=20, drawn=2)


@pytest.mark.benchmark(timer=time.process_time)
def test_annotations_of_the_default_data_set(timed: Any, report: Any, sizes: Sizes) -> None:
    size = {"size": (88, 72), "count": sizes.annotated}
    dataset, seconds = timed(load, kwargs=size, rounds=3, warmup_rounds=1)
    assert len(dataset) == sizes.annotated
    report("synthetic-faces, annotations", min(seconds), "s", at_most=1.0)


@pytest.mark.benchmark(timer=time.process_time)
def test_drawing_at_the_quick_size(timed: Any, report: Any, sizes: Sizes) -> None:
    dataset = load(size=(88, 72), count=sizes.drawn, cache_bytes=0)  # each image is drawn anew
    images, seconds = timed(dataset.read, args=(np.arange(sizes.drawn),), rounds=5, warmup_rounds=1)
    assert len(images) == sizes.drawn
    # about 400 images a second on one core of 2020s hardware; half of that is a regression
    report("synthetic-faces, drawing", sizes.drawn / min(seconds), "images a second", at_least=200)
