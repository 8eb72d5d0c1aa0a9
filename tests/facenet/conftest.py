"""Made-up persons of one colour each, a network of a few weights, and trainings of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.dataset import Dataset
from harness.training import Task
from harness_facenet.facenet import build, train
from harness_facenet.network import Design, FaceNet
from harness_facenet.recipe import Recipe
from harness_facenet.views import ViewRecipe
from tests.surroundings import Surroundings

DESIGN = Design(width=2, dimensions=8, image_size=(16, 16))
TINY: dict[str, Any] = {
    "batch_size": 8,
    "epoch_images": 16,
    "held_out": 2,
    "standard_epochs": 2,
    "tuning_epochs": 2,
    "pretraining_epochs": 2,
    "projector_width": 4,
    "attack_steps": 1,
    "precision": "float32",
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Train on one thread."""


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """60 images of 16 x 16 pixels of 10 persons, who differ in colour; 8 are to train."""
    random = np.random.default_rng(3)
    who = np.arange(60) % 10
    colours = random.integers(0, 160, (10, 3, 1, 1))
    pixels = (colours[who] + random.integers(0, 90, (60, 3, 16, 16))).astype(np.uint8)
    pixels.setflags(write=False)

    def read(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        return pixels[rows]

    return Dataset(
        name="colours",
        ids=[f"{row:02}" for row in range(60)],
        shape=(3, 16, 16),
        read=read,
        fingerprint="colours",
        identities=100 + who,
        partitions=np.where(who < 8, "train", "test"),
    )


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def trained(
    dataset: Dataset,
    surroundings: Surroundings,
    recipe: str = "contrastive",
    seed: int = 0,
    judging: Any = "adversarial",
    views: ViewRecipe | None = None,
    **changes: Any,
) -> FaceNet:
    """A FaceNet trained in a second."""
    torch.manual_seed(seed)
    module = build(Task.of(dataset), design=DESIGN)
    given: dict[str, Any] = {**TINY, **changes, "recipe": recipe}
    train(
        module,
        dataset,
        surroundings.context(seed),
        recipe=Recipe(**given),
        judging=judging,
        views=views or ViewRecipe(),
    )
    return module
