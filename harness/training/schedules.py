"""Schedules give the learning rate of each step of a training, counted from 1."""

from __future__ import annotations

from math import cos, pi

RISE = 0.2
"""The share of a training in which the learning rate of one cycle rises."""


def cosine(step: int, steps: int, highest: float, lowest: float) -> float:
    """Return half a cosine from the highest learning rate, at the first step, to nearly the lowest."""
    return lowest + (highest - lowest) * (1 + cos(pi * (step - 1) / steps)) / 2


def one_cycle(step: int, steps: int, highest: float) -> float:
    """Return a learning rate that rises to the highest, and then falls to 0 along half a cosine."""
    done = (step - 0.5) / steps
    if done < RISE:
        return highest * done / RISE
    return highest * (1 + cos(pi * (done - RISE) / (1 - RISE))) / 2
