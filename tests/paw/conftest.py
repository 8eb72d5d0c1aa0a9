"""Made-up faces whose attributes anybody can see, designs of a few weights, and trainings of a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.dataset import Dataset
from harness.training import Task
from harness_paw.cascade import Scored
from harness_paw.layers import Design
from harness_paw.models import build_grid, build_part_only, build_paw, build_whole_only
from harness_paw.recipe import Recipe
from harness_paw.training import train
from tests.surroundings import Surroundings

NAMES = ("Red_Corner", "Green_Corner", "Blue_Corner")
DESIGN = Design(
    subnet_width=2,
    localiser_width=2,
    localiser_modules=4,
    localiser_depth=1,
    maps=2,
    poolings=2,
    crop_share=0.5,
)
RECIPE = Recipe(
    batch_size=16,
    localiser_epochs=2,
    hint_epochs=2,
    whole_epochs=2,
    part_epochs=2,
    layer_epochs=2,
    final_epochs=2,
    branch_width=4,
    precision="float32",
)
BUILDS: Mapping[str, Callable[..., Scored]] = {
    "paw": build_paw,
    "paw-part-only": build_part_only,
    "paw-whole-only": build_whole_only,
    "paw-grid": build_grid,
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Train on one thread."""


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """56 noisy images of 24 x 20 pixels (height x width): 40 to train, 16 to validate; 3 attributes.

    Attribute k is a bright corner in colour k.
    """
    random = np.random.default_rng(7)
    images = random.integers(0, 120, (56, 3, 24, 20), dtype=np.uint8)
    attributes = random.random((56, 3)) < (0.5, 0.3, 0.7)
    for colour in range(3):
        row, column = 14 * (colour % 2), 10 * (colour // 2)
        images[attributes[:, colour], colour, row : row + 10, column : column + 10] += 100
    images.setflags(write=False)

    def read(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        return images[rows]

    return Dataset(
        name="corners",
        ids=[f"{row:03}" for row in range(56)],
        shape=(3, 24, 20),
        read=read,
        fingerprint="corners",
        attribute_names=NAMES,
        attributes=attributes,
        partitions=np.array(["train"] * 40 + ["validation"] * 16),
    )


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def trained(
    dataset: Dataset,
    surroundings: Surroundings,
    model: str = "paw",
    seed: int = 0,
    recipe: Recipe = RECIPE,
    **build: Any,
) -> Any:
    """A model trained in a second."""
    torch.manual_seed(seed)
    module = BUILDS[model](Task.of(dataset), **{"design": DESIGN, **build})
    train(module, dataset, surroundings.context(seed), recipe=recipe)
    return module
