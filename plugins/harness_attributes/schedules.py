"""Schedules say how the learning rate changes from step to step."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

Schedule = Literal["one-cycle", "inverse-decay", "constant"]


def scheduler_of(
    optimizer: Optimizer, schedule: Schedule, highest: float, steps: int, *, gamma: float, power: float
) -> LRScheduler:
    """Return what sets the learning rate of an optimizer, to be called after each step.

    Args:
        highest: the highest learning rate.
        steps: the steps of the whole training.
        gamma: of the inverse decay, as is ``power``.
    """
    if schedule == "one-cycle":
        return OneCycleLR(optimizer, max_lr=highest, total_steps=steps)
    if schedule == "constant":
        return LambdaLR(optimizer, lambda step: 1.0)
    return LambdaLR(optimizer, lambda step: inverse_decay(step, gamma=gamma, power=power))


def inverse_decay(step: int, *, gamma: float, power: float) -> float:
    """Return Caffe's "inv" policy, the share (1 + γ·step)^−power of the learning rate; steps begin at 0."""
    return float((1 + gamma * step) ** -power)
