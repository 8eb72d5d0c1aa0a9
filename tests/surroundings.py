"""A context for recipes in tests, which keeps what a recipe asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.parameters import digest_of, jsonable
from harness.training import Context, StateDict


@dataclass
class Surroundings:
    """Makes contexts that keep finished parts in memory, and states of unfinished ones in a folder."""

    folder: Path
    parts: dict[str, StateDict] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    """The names of the parts that were not there before."""
    told: Callable[[str], None] = lambda word: None
    words: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def context(self, seed: int = 0) -> Context:
        def unit(part: Mapping[str, Any], make: Callable[[], StateDict]) -> StateDict:
            key = digest_of(jsonable({**part, "seed": seed}))
            if key not in self.parts:
                made = {name: tensor.clone() for name, tensor in make().items()}
                self.parts[key] = made
                self.made.append(part["part"])
            return self.parts[key]

        def state(part: Mapping[str, Any]) -> Path:
            return self.folder / f"{digest_of(jsonable({**part, 'seed': seed}))}.state.safetensors"

        def report(share: float, word: str) -> None:
            self.words.append(word)
            self.shares.append(share)
            self.told(word)

        return Context(seed, torch.device("cpu"), report, unit, state)
