"""A stage of a training is a loss and a number of epochs: it is learned here, and goes on after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.errors import ModelError
from harness.precision import Precision, passes
from harness.training import Context
from harness.training.unfinished import Unfinished, run

Loss = Callable[[int], Tensor]
"""Returns the loss of a step, which is counted from 1. It draws what it needs from the seed and this number,
so that a training that goes on sees what it would have seen."""
Rate = Callable[[int, int], float]
"""Returns the learning rate of a step, given its number and the number of all steps."""
Measure = Callable[[int], tuple[float, ...]]
"""Returns what is measured after an epoch, counted from 1: as many numbers each time."""


@dataclass(frozen=True)
class Stage:
    """A Stage has a name, a length, the highest learning rate, and its place in the whole training."""

    name: str
    epochs: int
    rate: float
    share: tuple[float, float]


def learn(
    stage: Stage,
    modules: Mapping[str, nn.Module],
    loss: Loss,
    optimizer: Optimizer,
    *,
    steps: int,
    rate: Rate,
    precision: Precision,
    context: Context,
    state: Path | None,
    measure: Measure | None = None,
    terms: int = 1,
    key: str = "a lower learning rate",
) -> Tensor:
    """Train modules in place, and leave them in eval mode; return (epochs, 1 + measured) what was measured.

    Each row has the mean loss of the epoch's steps, and what ``measure`` returns after it. A killed training
    goes on after the last epoch that was kept, with the same result as one that was not.

    Args:
        modules: what learns, by the names that its state has in the file; with the optimiser's parameters.
        steps: the number of steps of an epoch.
        state: the file that keeps the state after an epoch; None keeps none.
        measure: is called in eval mode.
        terms: a loss is told divided by this, such as the number of attributes that it is summed over.
        key: what the error of a training that diverged advises to set lower.

    Raises:
        ModelError: the loss is no longer finite.
    """
    total = stage.epochs * steps
    begun = Unfinished(modules=modules, optimizer=optimizer)
    losses: list[float] = []  # of the epoch

    def step(number: int) -> str:
        _put(modules, training=True)
        for group in optimizer.param_groups:
            group["lr"] = rate(number, total)
        with passes(precision, context.device):
            value = loss(number)
        shown = _finite(value.item() / terms, stage, key)
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        losses.append(shown)
        if number % steps == 0:
            _put(modules, training=False)
            measured = measure(number // steps) if measure else ()
            begun.curves.append((sum(losses) / len(losses), *measured))
            losses.clear()
        return f"epoch {-(-number // steps)}/{stage.epochs}, loss {shown:.3f}"

    run(begun, total, step, context, stage.name, stage.share, state, every=steps)
    _put(modules, training=False)
    return torch.tensor(begun.curves, dtype=torch.float64)


def _put(modules: Mapping[str, nn.Module], *, training: bool) -> None:
    for module in modules.values():
        module.train(training)


def _finite(loss: float, stage: Stage, key: str) -> float:
    if not isfinite(loss):
        raise ModelError(
            f"training diverged in the stage {stage.name}: the loss is {loss}; give {key} than {stage.rate:g}"
        )
    return loss
