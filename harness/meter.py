"""A Meter counts what an attack spends on each case, and notes when and by what its image was found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Meter:
    """A Meter counts the forward and backward passes of each case (N,), in whatever batches they are made."""

    def __init__(self, cases: int) -> None:
        self.forwards = torch.zeros(cases, dtype=torch.int64)
        self.backwards = torch.zeros(cases, dtype=torch.int64)
        self.zero_gradients = torch.zeros(cases, dtype=torch.int64)
        """Backward passes whose gradient at the image was zero everywhere, or not finite."""
        self.found = torch.full((cases,), -1, dtype=torch.int64)
        """The forward passes made when the attack last found a better image; -1 if it never reported one."""
        self.found_by = torch.full((cases,), -1, dtype=torch.int64)
        """Which of ``finders`` found that image; -1 if the attack names none."""
        self.finders: list[str] = []
        """What finds images in an attack that consists of several, by its own names."""

    def number_of(self, finder: str) -> int:
        """Return the number of a finder, which is added if it is new."""
        if finder not in self.finders:
            self.finders.append(finder)
        return self.finders.index(finder)

    def names_of_finders(self) -> list[str | None]:
        """Return what found the image of each case, or None."""
        return [self.finders[number] if number >= 0 else None for number in self.found_by.tolist()]

    def shared(self, rows: Tensor) -> Meter:
        """Return a meter of some cases (K,) to which the cost of all others is added in equal parts."""
        shared = Meter(len(rows))
        rows = rows.to(self.forwards.device)
        for name in ("forwards", "backwards"):
            spent = getattr(self, name)
            others = int(spent.sum() - spent[rows].sum())
            setattr(shared, name, spent[rows] + -(-others // max(len(rows), 1)))
        shared.zero_gradients = self.zero_gradients[rows]
        shared.found_by, shared.finders = self.found_by[rows], list(self.finders)
        return shared


class CountBackwards(torch.autograd.Function):
    """An identity function that counts each backward pass through it for the cases of the batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, meter: Meter, cases: Tensor) -> Tensor:
        ctx.meter, ctx.cases = meter, cases
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ctx.meter.backwards.index_add_(0, ctx.cases, torch.ones_like(ctx.cases))
        size = gradient.new_zeros(len(gradient))
        if gradient.numel():
            flat = gradient.flatten(1)
            size = torch.maximum(flat.amax(1), -flat.amin(1))  # no copy, unlike the absolute values'
        lost = ~((size > 0) & size.isfinite())
        ctx.meter.zero_gradients.index_add_(0, ctx.cases, lost.long().to(ctx.cases.device))
        return gradient, None, None
