"""A recipe holds what decides the weights of a cascade, beside its design, the data and the seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import nn

from harness.precision import Precision
from harness.training.schedules import one_cycle

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "constant"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A Recipe trains in five stages; the defaults are those of the quick presets.

    Stages are those of the section "Training Methodology": (1) the localisation network, (2) the whole
    image's subnet, first by hints and then by attributes, (3) the parts' subnets, (4) the two combining
    layers, (5) everything but the localisation network.
    """

    optimizer: Optimizer = "adamw"
    """"sgd", with a momentum of 0.9, is the published one."""
    schedule: Schedule = "one-cycle"
    """"one-cycle" rises to a stage's learning rate and falls to 0; "constant" is the published one."""
    weight_decay: Annotated[float, Ge(0)] = 0.05
    """Decoupled from the gradient with "adamw"; part of the gradient with "sgd"; published: 5e-4."""
    batch_size: Annotated[int, Ge(2)] = 64
    """Published: 128 in stage 1; the paper does not state the others."""
    flip: bool = True
    """Whether a random half of the training images is mirrored left to right in each epoch."""
    precision: Precision = "mixed"
    """"mixed" computes passes in bfloat16 if the processor supports it, and keeps weights in float32."""
    multi_net: bool = True
    """Whether the localisation network learns beside a classification branch (MNL, table 1)."""
    branch_width: Annotated[int, Ge(1)] = 64
    """The hidden units of the classification branch's two fully connected layers; not stated."""
    localiser_epochs: Annotated[int, Ge(1)] = 16
    """Published: 10."""
    localiser_rate: Annotated[float, Gt(0)] = 3e-3
    """Published: 1e-4."""
    localiser_balance: Annotated[float, Ge(0), Le(1)] = 1.0
    """How far the loss of stage 1 evens out rare and frequent values of an attribute: at 1 both weigh the
    same in total, at 0 each image does; published: 0."""
    hint_epochs: Annotated[int, Ge(0)] = 2
    """The epochs with only the hint loss (λ = 1, 0); 0: no hints. Not stated."""
    hint_rate: Annotated[float, Gt(0)] = 3e-3
    """Published: 1e-7."""
    whole_epochs: Annotated[int, Ge(1)] = 8
    """The epochs with only the attributes' loss (λ = 0, 1); not stated."""
    whole_rate: Annotated[float, Gt(0)] = 3e-3
    """Published: 1e-4."""
    part_epochs: Annotated[int, Ge(1)] = 4
    """Published: 15."""
    part_rate: Annotated[float, Gt(0)] = 2e-3
    """Not stated; 1e-4 in ``paper``."""
    layer_epochs: Annotated[int, Ge(1)] = 8
    """The epochs of the two combining layers with all subnets fixed; not stated."""
    layer_rate: Annotated[float, Gt(0)] = 2e-3
    """Published: 0.1."""
    final_epochs: Annotated[int, Ge(0)] = 1
    """The epochs end to end; 0: none. Not stated."""
    final_rate: Annotated[float, Gt(0)] = 3e-4
    """Published: 0.001."""

    def chosen(self, *names: str) -> dict[str, object]:
        """Return the fields that a stage depends on: those of every stage, and the named ones."""
        common = ("optimizer", "schedule", "weight_decay", "batch_size", "flip", "precision")
        return {name: getattr(self, name) for name in (*common, *names)}

    def rate(self, highest: float, step: int, steps: int) -> float:
        """Return the learning rate of a step of a stage, counted from 1."""
        if self.schedule == "constant":
            return highest
        return one_cycle(step, steps, highest)

    def optimiser(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Return the optimiser of a stage."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=self.weight_decay)
