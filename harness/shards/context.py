"""A cell's context is what all its shards share: model, data set, clean answers, measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.cases.datasets import OpenedDataset, pixels
from harness.dataset import Dataset
from harness.judge.batching import BatchSize, fitting
from harness.model import Model
from harness.plan.cells import Cell
from harness.plan.measures import MeasureChoice
from harness.threat import pixels as on_grid
from harness.zoo.trained import TrainedModel

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class CleanAnswers:
    """Clean answers are a model's outputs on the attacked images, computed once for all attacks.

    They are computed in chunks that do not depend on shards or batches, so that every case sees the same
    clean answer wherever it runs.
    """

    model: Model
    dataset: Dataset
    rows: npt.NDArray[np.intp]  # (N,) sorted
    _chunks: dict[int, Tensor] = field(default_factory=dict)

    def at(self, rows: npt.NDArray[np.intp]) -> Tensor:
        """Return the outputs (B, M) of the given rows."""
        positions = np.searchsorted(self.rows, rows)
        for chunk in np.unique(positions // _CHUNK).tolist():
            if chunk not in self._chunks:
                wanted = self.rows[chunk * _CHUNK : (chunk + 1) * _CHUNK]
                self._chunks[chunk] = self.model.scores(images(self.dataset, wanted, self.model.device))
        return torch.stack([self._chunks[at // _CHUNK][at % _CHUNK] for at in positions.tolist()])


@dataclass(frozen=True, eq=False)
class ReadyModel:
    """A ready model is trained, and knows the data set that it is attacked on and its clean answers."""

    trained: TrainedModel
    data: OpenedDataset
    clean: CleanAnswers
    wanted: int | Literal["auto"]
    """Cases of a batch, as the suite says."""

    @cached_property
    def batch_size(self) -> BatchSize:
        """Return one size for all attacks on the model: a size that did not fit is not tried again."""
        if self.wanted == "auto":
            return fitting(self.trained.model, self.data.dataset.shape)
        return BatchSize(self.wanted)

    @cached_property
    def randomised(self) -> bool | None:
        """Return whether the model answers the same images in two ways; None where it does not answer."""
        x = images(self.data.dataset, self.data.rows[:32], self.trained.model.device)
        try:
            one, other = self.trained.model.scores(x), self.trained.model.scores(x)
        except Exception:  # whatever a model raises; its cells will say so
            return None
        # Some kernels add in an order of their own; noise that is meant to confuse an attacker is far larger.
        return not torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the outputs: the model's own, else the data set's attributes."""
        return self.trained.model.names or self.data.dataset.attribute_names


@dataclass(frozen=True, eq=False)
class CellContext:
    """A cell's context is what all its shards share."""

    cell: Cell
    dataset: Dataset
    model: Model
    clean: CleanAnswers
    measures: tuple[MeasureChoice, ...]
    seed: int
    batch_size: BatchSize
    restore: Callable[[], None] = lambda: None
    """Puts the model's weights back after an attack wrote to them."""


def images(dataset: Dataset, rows: npt.NDArray[np.intp], device: torch.device) -> Tensor:
    """Return the images (B, C, H, W) of the given rows, float32 in [0, 1].

    Raises:
        DatasetError: they cannot be read.
    """
    return on_grid(torch.from_numpy(pixels(dataset, rows)).to(device).float())
