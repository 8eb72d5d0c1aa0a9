"""Made-up persons, recipes that take a second, and contexts that keep what a recipe asks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.dataset import Dataset
from harness.training import Task
from harness_verification import verifier
from harness_verification.lord import Design
from harness_verification.network import Verifier
from harness_verification.recipe import GeneratorRecipe, Recipe
from tests.surroundings import Surroundings

DESIGN = Design(generator_width=4, generator_hidden=8)
GENERATOR = GeneratorRecipe(generator_epochs=1, encoder_epochs=1, generator_batch=12)
TINY: dict[str, Any] = {
    "steps": 3,
    "batch_size": 4,
    "start_steps": 2,
    "attack_steps": 1,
    "validate_every": 1,
    "held_out": 2,
    "keep": "last",
    "precision": "float32",
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Train on one thread."""


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """60 images of 40 x 32 pixels (height x width) of 10 persons, who differ in colour; 8 are to train."""
    random = np.random.default_rng(3)
    who = np.arange(60) % 10
    colours = random.integers(0, 160, (10, 3, 1, 1))
    pixels = (colours[who] + random.integers(0, 90, (60, 3, 40, 32))).astype(np.uint8)
    pixels.setflags(write=False)

    def read(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        return pixels[rows]

    return Dataset(
        name="colours",
        ids=[f"{row:02}" for row in range(60)],
        shape=(3, 40, 32),
        read=read,
        fingerprint="colours",
        identities=100 + who,
        partitions=np.where(who < 8, "train", "test"),
    )


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def trained(
    dataset: Dataset, surroundings: Surroundings, recipe: str = "proposed", seed: int = 0, **more: Any
) -> Verifier:
    """A verifier of the recipe, trained in a second."""
    torch.manual_seed(seed)
    module = verifier.build(Task.of(dataset), width=2, dimensions=6, design=DESIGN)
    chosen = Recipe(**{"recipe": recipe, **TINY, **more})
    verifier.train(module, dataset, surroundings.context(seed), recipe=chosen, generator=GENERATOR)
    return module
