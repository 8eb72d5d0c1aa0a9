"""Triplets are drawn by identity: an anchor, another image of its person, and an image of another person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.training.persons import Persons, Rows


@dataclass(frozen=True, eq=False)
class Triplets:
    """Triplets are rows of persons' images, (B,) each."""

    anchor: Rows
    positive: Rows
    negative: Rows

    def images(self, persons: Persons, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return anchors, positives and negatives (B, C, H, W) in [0, 1]."""
        anchor, positive, negative = (
            persons.images(rows, device) for rows in (self.anchor, self.positive, self.negative)
        )
        return anchor, positive, negative


def triplets_of(persons: Persons, anchors: Rows, random: np.random.Generator) -> Triplets:
    """Return a triplet for each anchor (B,)."""
    return Triplets(anchors, persons.others(random, anchors), persons.strangers(random, anchors, 1)[0])


def epoch_rows(persons: Persons, random: np.random.Generator, images: int | None) -> Rows:
    """Return the rows of an epoch's images, in its order: all, or so many of them.

    Args:
        random: that of the epoch, so that each of its steps finds the same order.
    """
    order: npt.NDArray[np.intp] = random.permutation(len(persons.who))
    return order[:images]
