"""A goal says what must become of each image; tied to a model's clean answers it becomes an objective.

Goals are frozen values that hold what the caller asks for, (B,) per case. The three functions of an objective
take the model's outputs:

- ``margin`` (B,), differentiable, positive once the goal is reached;
- ``loss`` (B,), the model's own training loss (which FGS needs), to ascend where ``ascend`` is true;
- ``reached`` (B,), exactly by the model's decision rule, ties included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from harness.errors import AttackError

if TYPE_CHECKING:
    from harness.model import Model

Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(Protocol):
    """What an attack pursues, one entry per case."""

    @property
    def correct(self) -> Tensor:
        """(B,) whether the clean decision was right."""

    @property
    def ascend(self) -> Tensor:
        """(B,) whether the goal lies uphill (True) or downhill of ``loss``."""

    @property
    def columns(self) -> Tensor | None:
        """(B,) the only output column that each case reads, or None where it reads them all."""

    @property
    def groups(self) -> Tensor:
        """(B,) int64: cases of equal numbers want the same outcome, so that one change may serve them all."""

    def margin(self, outputs: Tensor) -> Tensor:
        """(B,) differentiable, positive once the goal is reached."""

    def loss(self, outputs: Tensor) -> Tensor:
        """(B,) differentiable training loss."""

    def reached(self, outputs: Tensor) -> Tensor:
        """(B,) bool by the model's decision rule."""

    def take(self, cases: Tensor) -> Objective:
        """The objective of the given cases (K,)."""

    def __len__(self) -> int: ...


class Goal(Protocol):
    """What a caller asks for."""

    kind: ClassVar[str]
    """How records name it."""

    def objective(self, model: Model, outputs: Tensor) -> Objective:
        """The objective for a model's clean outputs on the batch."""

    def part(self, rows: slice) -> Goal:
        """The goal of some of the images; what is the same for all images stays."""


def check_head(model: Model, head: str, kind: str) -> None:
    if model.head != head:
        raise AttackError(f'goal "{kind}" needs a model with head "{head}"; this one has "{model.head}"')


def some_rows(values: Tensor | None, rows: slice) -> Any:
    """The entries of some images; None, and one value for all, stay."""
    if values is None:
        return None
    values = torch.as_tensor(values)
    return values if values.ndim == 0 else values[rows]


def per_case(values: Tensor, outputs: Tensor) -> Tensor:
    values = torch.as_tensor(values).to(outputs.device)
    if values.ndim == 0:
        values = values.expand(len(outputs))
    if values.shape != (len(outputs),):
        raise AttackError(f"the goal has shape {tuple(values.shape)} for {len(outputs)} images")
    return values if values.dtype == torch.bool else values.long()


def class_numbers(values: Tensor, outputs: Tensor) -> Tensor:
    classes = per_case(values, outputs)
    check_inside(classes, outputs, "class")
    return classes


def check_inside(values: Tensor, outputs: Tensor, what: str) -> None:
    for value in (values.min(), values.max()) if len(values) else ():
        if not 0 <= int(value) < outputs.shape[1]:
            raise AttackError(f"{what} {int(value)} is outside the model's {outputs.shape[1]}")
