"""What the harness hands to a model's ``build`` and ``train`` functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.dataset import Dataset

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """What a model is built for: the data set's grid and what there is to answer."""

    shape: tuple[int, int, int]
    """Channels, height, width."""
    attribute_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset) -> Task:
        """The task that a data set poses."""
        return cls(dataset.shape, dataset.attribute_names, dataset.class_names)


@dataclass(frozen=True)
class Context:
    """What a training recipe needs from its surroundings."""

    seed: int
    """torch's global generators are seeded with it already, before ``build``."""
    device: torch.device
    report: Callable[[float, str], None]
    """Tell the share that is done, in [0, 1], and a word on where it stands; cheap, call it every step."""
    unit: Callable[[Mapping[str, Any], Callable[[], StateDict]], StateDict]
    """Train a part of the model once: ``unit({"attribute": name}, make)`` gives the cached weights of that
    part, or those that ``make()`` returns, which are then kept. What is finished survives a kill. The
    identity must hold every parameter that changes the part; data set, seed, model and versions are added."""
    state: Callable[[Mapping[str, Any]], Path] | None = None
    """The file in the cache where a recipe may keep the state of a part whose training is not finished, by
    the identity of ``unit`` without what says where training stops. It outlives this process: the recipe
    writes it whole, judges what it finds there, and removes it once the part is kept."""
