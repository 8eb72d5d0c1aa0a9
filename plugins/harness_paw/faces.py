"""The training faces come in batches that depend on the seed and the number of the step alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError, nearest
from harness.randomness import derived_seed

Rows = npt.NDArray[np.intp]
VALIDATED = 128
"""The images of a batch that is only answered."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A Batch has images, their labels, and where the images stand in the training set."""

    images: Tensor  # (B, C, H, W) in [0, 1]
    labels: Tensor  # (B, M), -1 or +1
    places: Tensor  # (B,) positions in the training set
    mirrored: Tensor  # (B,) 0 or 1


class Faces:
    """Faces are the training and validation images of a data set, with the attributes to learn."""

    def __init__(
        self,
        dataset: Dataset,
        names: tuple[str, ...],
        *,
        batch_size: int,
        flip: bool,
        seed: int,
        device: torch.device,
    ) -> None:
        """Find the attributes and the partitions.

        Raises:
            DatasetError: there is no training set.
            ModelError: the data set lacks an attribute.
        """
        for name in names:
            if name not in dataset.attribute_names:
                raise ModelError(
                    f'{dataset.name}: attribute "{name}" is unknown; {nearest(name, dataset.attribute_names)}'
                )
        if dataset.attributes is None:
            raise ModelError(f"{dataset.name} has no attributes to learn")
        self.names = names
        columns = [dataset.attribute_names.index(name) for name in names]
        self.present = dataset.attributes[:, columns]  # (N, M)
        self.dataset, self.seed, self.device = dataset, seed, device
        self.batch_size, self.flip = batch_size, flip
        self.rows = dataset.rows("train")
        have = set() if dataset.partitions is None else set(dataset.partitions.tolist())
        self.unseen: Rows = dataset.rows("validation") if "validation" in have else np.empty(0, np.intp)
        self.labels = torch.from_numpy(np.where(self.present, np.float32(1), np.float32(-1)))
        self._thread = ThreadPoolExecutor(1)
        self._coming: tuple[tuple[str, int], Future[Batch]] | None = None
        self._drawn: tuple[tuple[str, int], Rows, npt.NDArray[np.bool_]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def steps(self) -> int:
        """Return the number of steps of an epoch."""
        return -(-len(self.rows) // self.batch_size)

    @property
    def rates(self) -> Tensor:
        """Return the share (M,) of the training images that have each attribute, and never 0 or 1."""
        present = torch.from_numpy(self.present[self.rows]).double().sum(0)
        return ((present + 0.5) / (len(self.rows) + 1)).float()

    def batch(self, stage: str, step: int) -> Batch:
        """Return the batch of a step of a stage, counted from 1; the next one is read meanwhile."""
        if self._coming is not None and self._coming[0] == (stage, step):
            found = self._coming[1].result()
        else:
            if self._coming is not None:
                self._coming[1].result()
            found = self._read(stage, step)
        self._coming = ((stage, step + 1), self._thread.submit(self._read, stage, step + 1))
        return Batch(
            *(tensor.to(self.device) for tensor in (found.images, found.labels, found.places, found.mirrored))
        )

    def close(self) -> None:
        """End the thread that reads ahead."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def images(self, rows: Rows) -> Tensor:
        """Return the images (B, C, H, W) in [0, 1] of rows of the data set."""
        if self._coming is not None:
            self._coming[1].result()  # two threads must not read at once
        return torch.tensor(self.dataset.images(rows)).to(self.device).float() / 255

    def answers(self, rows: Rows, answer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what a function answers to images, in batches, without gradients, on the CPU."""
        parts = []
        with torch.no_grad():
            for start in range(0, len(rows), VALIDATED):
                parts.append(answer(self.images(rows[start : start + VALIDATED])).cpu())
        return torch.cat(parts)

    def accuracy(self, scores: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the accuracy (M,) on the validation images; none (0,) without such images."""
        if not len(self.unseen):
            return torch.empty(0)
        decided = self.answers(self.unseen, scores) > 0
        truth = torch.from_numpy(self.present[self.unseen])
        return (decided == truth).float().mean(0)

    def _read(self, stage: str, step: int) -> Batch:
        epoch, place = divmod(step - 1, self.steps)
        if self._drawn is None or self._drawn[0] != (stage, epoch):
            random = np.random.default_rng(derived_seed(self.seed, stage, "order", epoch))
            order = random.permutation(len(self.rows))
            flips = random.random(len(self.rows)) < 0.5
            self._drawn = ((stage, epoch), order, flips if self.flip else np.zeros_like(flips))
        _, order, flips = self._drawn
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        rows, mirrored = self.rows[chosen], flips[chosen]
        images = self.dataset.images(rows)
        images = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
        return Batch(
            torch.from_numpy(images).float() / 255,
            self.labels[torch.from_numpy(rows)],
            torch.from_numpy(chosen),
            torch.from_numpy(mirrored.astype(np.intp)),
        )
