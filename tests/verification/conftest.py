"""Made-up persons, recipes that take a second, and contexts that keep what a recipe asks of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.dataset import Dataset
from harness.parameters import digest_of, jsonable
from harness.training import Context, StateDict, Task
from harness_verification import verifier
from harness_verification.lord import Design
from harness_verification.network import Verifier
from harness_verification.recipe import GeneratorRecipe, Recipe

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


@dataclass
class Surroundings:
    """Makes contexts that keep finished parts in memory, and states of unfinished ones in a folder."""

    folder: Path
    parts: dict[str, StateDict] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    """The names of the parts that were not there before."""
    told: Callable[[str], None] = lambda word: None
    words: list[str] = field(default_factory=list)

    def context(self, seed: int = 0) -> Context:
        def unit(part: Mapping[str, Any], make: Callable[[], StateDict]) -> StateDict:
            key = digest_of(jsonable({**part, "seed": seed}))
            if key not in self.parts:
                self.parts[key] = {name: tensor.clone() for name, tensor in make().items()}
                self.made.append(part["part"])
            return self.parts[key]

        def state(part: Mapping[str, Any]) -> Path:
            return self.folder / f"{digest_of(jsonable({**part, 'seed': seed}))}.state.safetensors"

        def report(share: float, word: str) -> None:
            self.words.append(word)
            self.told(word)

        return Context(seed, torch.device("cpu"), report, unit, state)


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
