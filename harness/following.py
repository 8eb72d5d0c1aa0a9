"""Gradients may be those of an expectation or of a substitute; the handle of an attack heeds both.

An expectation is approached by a mean over several evaluations (Athalye et al. 2018,
https://arxiv.org/abs/1707.07397, section 3.1), a gradient that is 0 or misleading is replaced by that of a
similar function (Athalye et al. 2018, https://arxiv.org/abs/1802.00420, section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from harness.errors import AttackError
from harness.model import Model


class Draws:
    """Draws says how many evaluations the outputs of a call are the mean of; views of a handle share it."""

    def __init__(self, count: int) -> None:
        self.now = count

    @contextmanager
    def one_by_one(self) -> Iterator[int]:
        """Yield the count to a caller that makes the mean itself; meanwhile each call is one evaluation."""
        count, self.now = self.now, 1
        try:
            yield count
        finally:
            self.now = count


def substitute_of(model: Model) -> Callable[[Tensor], Tensor]:
    """Return the function (B, C, H, W) to (B, M) whose gradient takes the place of the model's.

    Raises:
        AttackError: the module has none.
    """
    function = getattr(model.module, "differentiable", None)
    if not callable(function):
        raise AttackError(
            f"bpda = true needs a module with differentiable(x), which {type(model.module).__name__} does "
            "not have; give it one that returns the same outputs, or leave bpda out"
        )

    def outputs(x: Tensor) -> Tensor:
        found: Tensor = function(x)
        return found if model.order is None else found[:, list(model.order)]

    return outputs
