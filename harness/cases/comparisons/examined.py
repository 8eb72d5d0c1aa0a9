"""A verifier is examined on a few images of a few persons, who are not attacked."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.cases.comparisons.drawn import Drawn, Rows

IMAGES = 4
"""So many images of each person are looked at."""


def some_people(drawn: Drawn, count: int) -> list[Rows]:
    """Return the rows of at most so many images, of the persons of the calibration that come first."""
    people = drawn.calibration.targets[: max(2, count // IMAGES)]
    return [person.rows[:IMAGES] for person in people]


def separation(apart: Tensor, images: list[int]) -> Tensor:
    """Return for each person the share of pairs, one of the person and one of others, in the right order.

    Args:
        apart: (N, N) distances of all images, person by person.
        images: how many each person has.
    """
    who = torch.repeat_interleave(torch.arange(len(images)), torch.tensor(images)).to(apart.device)
    shares = []
    for person in range(len(images)):
        own, others = apart[who == person][:, who == person], apart[who == person][:, who != person]
        genuine = own[~torch.eye(len(own), dtype=torch.bool, device=own.device)]
        if genuine.numel() and others.numel():
            nearer = genuine[:, None] < others.flatten()
            level = genuine[:, None] == others.flatten()
            shares.append((nearer.float() + level.float() / 2).mean())
    return torch.stack(shares) if shares else torch.zeros(0)
