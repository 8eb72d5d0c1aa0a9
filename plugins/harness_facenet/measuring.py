"""How good a network is on triplets of persons it never learns from is measured after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.metrics import rate
from harness.model import frozen
from harness.randomness import derived_seed
from harness.training.persons import Persons
from harness_facenet.inner_attack import InnerAttack
from harness_facenet.losses import apart
from harness_facenet.triplets import triplets_of

EACH = 12
"""The number of triplets of each person who is held out."""
AT_ONCE = 96
COLUMNS = ("sa", "sa_low", "sa_high", "ra", "ra_low", "ra_high")
"""What is measured: standard and robust accuracy at the margin 0, with their 95 % intervals over persons."""
Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """HeldOut triplets are of persons that nothing is learned from; the same ones are measured each time."""

    persons: Persons
    attack: InnerAttack
    seed: int
    device: torch.device

    def measure(self, net: torch.nn.Module, embed: Embed) -> tuple[float, ...]:
        """Return standard and robust accuracy, each with the ends of its interval.

        A triplet is right where d(a, p) < d(a, n). Under attack, p is changed to be far from a; the attack is
        that of training, so that this is no more than a curve: suites attack with more steps.

        Args:
            embed: returns the embeddings (B, D) of images by the set of batch norms that will judge.
        """
        random = np.random.default_rng(derived_seed(self.seed, "held-out"))
        anchors = np.concatenate(
            [random.choice(rows, min(EACH, len(rows)), replace=False) for rows in self.persons.rows_of]
        )
        triplets = triplets_of(self.persons, anchors, random)
        clean, robust = [], []
        with frozen(net):
            for start in range(0, len(anchors), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                x, positive, negative = (
                    self.persons.images(rows[part], self.device)
                    for rows in (triplets.anchor, triplets.positive, triplets.negative)
                )
                with torch.no_grad():
                    anchor, other = embed(x), embed(negative)
                far = apart(anchor, other, squared=True)

                def distance(p: Tensor, anchor: Tensor = anchor) -> Tensor:
                    return apart(anchor, embed(p), squared=True)

                attacked = self.attack.attacked(positive, lambda p: distance(p).sum(), random)
                with torch.no_grad():
                    clean.append(distance(positive) < far)
                    robust.append(distance(attacked) < far)
        who = self.persons.who[anchors]
        found: list[float] = []
        for flags in (clean, robust):
            estimate = rate(torch.cat(flags).cpu().numpy(), who)
            found += [_number(value) for value in (estimate.value, estimate.low, estimate.high)]
        return tuple(found)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
