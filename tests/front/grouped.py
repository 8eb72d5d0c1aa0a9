"""Functions of fake specs that share a parameter, one of them with a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    epochs: int = 1
    rate: float = 0.1


def build(task: Any, *, width: int = 4, shared: int = 1) -> tuple[Any, int, int]:
    return task, width, shared


def train(module: Any, *, shared: float = 0.5, recipe: Recipe = Recipe()) -> tuple[Any, float, Recipe]:
    return module, shared, recipe


def region(height: int, width: int, *, border: int = 1, shared: int = 1) -> None: ...


def run(model: Any, *, rng: Any, fit: Any = None, shared: int = 2, steps: int = 5) -> None: ...
