"""Attacks get objectives from whose functions no module can be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from harness.goals.objective import Objective


class LentFunction:
    """A LentFunction calls a function of a model, and does not show whose it is."""

    __slots__ = ("__weakref__",)

    def __call__(self, *tensors: Tensor) -> Any:
        """Return what the function returns."""
        return _FUNCTIONS[self](*tensors)


_FUNCTIONS: WeakKeyDictionary[LentFunction, Callable[..., Any]] = WeakKeyDictionary()


def lent_objective(objective: Objective) -> Objective:
    """Return a copy of an objective, with tensors of its own, that does not lead to the model."""
    copy: Any = objective.take(torch.arange(len(objective), device=objective.correct.device))
    lent: dict[str, Any] = {}
    for each in fields(copy):
        value = getattr(copy, each.name)
        if callable(value) and not isinstance(value, Tensor):
            lent[each.name] = function = LentFunction()
            _FUNCTIONS[function] = value
        elif isinstance(value, Tensor) and value is getattr(objective, each.name):
            lent[each.name] = value.clone()
    lent_copy: Objective = replace(copy, **lent)
    return lent_copy
