"""A cell's context is what all its shards share: model, data set, clean answers, measures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.cases.datasets import pixels
from harness.dataset import Dataset
from harness.judge.batching import BatchSize
from harness.model import Model
from harness.plan.cells import Cell
from harness.plan.measures import MeasureChoice

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class CleanAnswers:
    """A model's outputs on the attacked images, computed once for all attacks, in fixed chunks.

    The chunks do not depend on shards or batches, so every case sees the same clean answer wherever it runs.
    """

    model: Model
    dataset: Dataset
    rows: npt.NDArray[np.intp]  # (N,) sorted
    _chunks: dict[int, Tensor] = field(default_factory=dict)

    def at(self, rows: npt.NDArray[np.intp]) -> Tensor:
        """Outputs (B, M) of the given rows."""
        positions = np.searchsorted(self.rows, rows)
        for chunk in np.unique(positions // _CHUNK).tolist():
            if chunk not in self._chunks:
                wanted = self.rows[chunk * _CHUNK : (chunk + 1) * _CHUNK]
                self._chunks[chunk] = self.model.scores(images(self.dataset, wanted, self.model.device))
        return torch.stack([self._chunks[at // _CHUNK][at % _CHUNK] for at in positions.tolist()])


@dataclass(frozen=True, eq=False)
class Bench:
    """All that the shards of a cell have in common."""

    cell: Cell
    dataset: Dataset
    model: Model
    clean: CleanAnswers
    measures: tuple[MeasureChoice, ...]
    seed: int
    batch_size: BatchSize


def images(dataset: Dataset, rows: npt.NDArray[np.intp], device: torch.device) -> Tensor:
    """float32 (B, C, H, W) in [0, 1] of the given rows.

    Raises:
        DatasetError: they cannot be read.
    """
    return torch.from_numpy(pixels(dataset, rows)).to(device).float() / 255
