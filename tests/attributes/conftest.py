"""Made-up images whose attributes anybody can see, and a context that keeps what a recipe tells it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.dataset import Dataset
from harness.parameters import jsonable
from harness.training import Context, StateDict

ATTRIBUTES = ("Red_Corner", "Green_Corner", "Blue_Corner")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Train on one thread."""


@pytest.fixture
def dataset() -> Dataset:
    """64 noisy images of 24 x 20 pixels (height x width): 48 to train, 16 to validate; 3 attributes.

    Attribute k is a bright corner in colour k.
    """
    random = np.random.default_rng(7)
    images = random.integers(0, 120, (64, 3, 24, 20), dtype=np.uint8)
    attributes = random.random((64, 3)) < (0.5, 0.3, 0.7)
    for color in range(3):
        corner = 12 * (color % 2)
        images[attributes[:, color], color, corner : corner + 12, :10] += 100
    images.setflags(write=False)  # a recipe must not write into what a data set keeps

    def read(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        return images[rows] if len(rows) != 1 else images[rows[0] : rows[0] + 1]

    return Dataset(
        name="corners",
        ids=[f"{row:03}" for row in range(64)],
        shape=(3, 24, 20),
        read=read,
        fingerprint="corners",
        attribute_names=ATTRIBUTES,
        attributes=attributes,
        partitions=np.array(["train"] * 48 + ["validation"] * 16),
    )


@dataclass
class Surroundings:
    """Makes contexts; ``units``, ``states`` and ``reports`` hold what was asked and told."""

    units: list[dict[str, Any]] = field(default_factory=list)
    reports: list[tuple[float, str]] = field(default_factory=list)
    folder: Path | None = None
    """Where contexts keep states of trainings; None: they offer no such place."""
    states: list[dict[str, Any]] = field(default_factory=list)
    told: Callable[[str], None] = lambda word: None
    """Called with each word that is reported."""

    def context(self, seed: int = 0) -> Context:
        def unit(identity: Mapping[str, Any], make: Callable[[], StateDict]) -> StateDict:
            self.units.append(dict(identity))
            return make()

        def state(identity: Mapping[str, Any]) -> Path:
            assert self.folder is not None
            self.states.append(dict(identity))
            name = hashlib.sha256(json.dumps(jsonable(identity)).encode()).hexdigest()[:8]
            return self.folder / f"{name}.safetensors"

        def report(share: float, word: str) -> None:
            self.reports.append((share, word))
            self.told(word)

        more = {} if self.folder is None else {"state": state}
        return Context(seed=seed, device=torch.device("cpu"), report=report, unit=unit, **more)


@pytest.fixture
def surroundings() -> Surroundings:
    return Surroundings()
