"""A goal says what an attack must achieve on each image; a model's clean outputs make an objective of it.

Goals are frozen values with one entry per case (B,). The three functions of an objective take the model's
outputs:

- ``margin`` (B,) is differentiable, and positive once the goal is reached;
- ``loss`` (B,) is the model's own training loss (which FGS needs); it is to be ascended where ``ascend``;
- ``reached`` (B,) is the model's exact decision, ties included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from harness.errors import AttackError, ModelError

if TYPE_CHECKING:
    from harness.model import Model

Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(Protocol):
    """An Objective tells an attack, with one entry per case, what to maximise and when it is done."""

    @property
    def correct(self) -> Tensor:
        """Tell (B,) whether the clean decision was correct."""

    @property
    def ascend(self) -> Tensor:
        """Tell (B,) whether ``loss`` must be ascended (True) or descended to reach the goal."""

    @property
    def columns(self) -> Tensor | None:
        """Return (B,) the only output column that each case needs, or None if it needs them all."""

    @property
    def groups(self) -> Tensor:
        """Return (B,) int64, equal for cases that want the same outcome, which one change may serve."""

    def margin(self, outputs: Tensor) -> Tensor:
        """Return (B,) a differentiable number that is positive once the goal is reached."""

    def loss(self, outputs: Tensor) -> Tensor:
        """Return (B,) the differentiable training loss."""

    def reached(self, outputs: Tensor) -> Tensor:
        """Tell (B,) whether the model's decision is what the goal asks for."""

    def take(self, cases: Tensor) -> Objective:
        """Return the objective of the given cases (K,)."""

    def __len__(self) -> int: ...


class Goal(Protocol):
    """A Goal is what a caller asks an attack to achieve."""

    kind: ClassVar[str]
    """The name of the goal in records."""

    def objective(self, model: Model, outputs: Tensor) -> Objective:
        """Return the objective for a model's clean outputs on the batch."""

    def part(self, rows: slice) -> Goal:
        """Return the goal of some of the images; values that hold for all images stay."""


def check_head(model: Model, head: str, kind: str) -> None:
    if model.head != head:
        raise AttackError(f'goal "{kind}" needs a model with head "{head}"; this one has "{model.head}"')


def some_rows(values: Tensor | None, rows: slice) -> Any:
    """Return the entries of some images; None, and a single value for all images, stay."""
    if values is None:
        return None
    values = torch.as_tensor(values)
    return values if values.ndim == 0 else values[rows]


def per_case(values: Tensor, outputs: Tensor) -> Tensor:
    """Return one value per case (B,) on the device of the outputs; one value alone serves all cases."""
    values = torch.as_tensor(values).to(outputs.device)
    if values.ndim == 0:
        values = values.expand(len(outputs))
    if values.shape != (len(outputs),):
        raise AttackError(f"the goal has shape {tuple(values.shape)} for {len(outputs)} images")
    return values


def numbers(values: Tensor, outputs: Tensor, what: str) -> Tensor:
    """Return the number of an output column per case (B,), int64; refuse what is no whole number inside."""
    found = per_case(values, outputs)
    columns = found.long()
    if not torch.equal(columns.to(found), found):
        raise AttackError(f"a goal names each {what} by a whole number, not by {found.tolist()[:3]}")
    for value in (columns.min(), columns.max()) if len(columns) else ():
        if not 0 <= int(value) < outputs.shape[1]:
            raise AttackError(f"{what} {int(value)} is outside the model's {outputs.shape[1]}")
    return columns


def class_numbers(values: Tensor, outputs: Tensor) -> Tensor:
    """Return the class of each case (B,), int64; refuse a model that has a single class."""
    if outputs.shape[1] < 2:
        raise ModelError('the model has one output under the head "classes", so no decision can change')
    return numbers(values, outputs, "class")
