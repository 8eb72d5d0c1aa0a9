"""Rules say what an attack may ask a model, and which goal it may ask for; its handle enforces them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn, overrides
from torch.autograd import forward_ad
from torch.utils import _python_dispatch as dispatch
from torch.utils._device import DeviceContext

from harness.errors import ContractError
from harness.goals.objective import Objective
from harness.specs import Access


@dataclass(frozen=True, eq=False)
class Rules:
    """Rules belong to one attack on one batch."""

    objective: Objective | None = None
    """The goal of all cases: under "decisions" no other may be focused on. None: any goal may."""
    shape: tuple[int, ...] | None = None
    """(C, H, W) of the images; None: any."""
    device: torch.device | None = None
    modes: tuple[Any, ...] = field(default_factory=lambda: _modes())
    """The modes that were on before the attack."""

    def goal(self, objective: Objective, cases: Tensor, access: Access) -> Objective:
        """Return the objective to focus on for these cases (B,).

        Raises:
            ContractError: it is not the attack's own, while only decisions may be seen. Decisions on other
                goals, such as distances to many thresholds, would amount to scores.
        """
        if self.objective is None or access != "decisions":
            return objective
        own = self.objective.take(cases.to(self.objective.correct.device))
        if not _equal(own, objective):
            raise ContractError(
                "the attack may see only decisions on its own goal; focus on the objective that it was "
                "given, or on the rows of it that model.take has"
            )
        return own

    def check(self, x: Tensor, cases: int) -> None:
        """Refuse what is no plain batch of so many images.

        Raises:
            ContractError: such as images that a transform has wrapped, whose passes cannot be counted.
        """
        if type(x) not in (Tensor, nn.Parameter):
            raise ContractError(f"the attack asked about {type(x).__name__}; ask about a plain tensor")
        if torch._C._functorch.is_functorch_wrapped_tensor(x):
            raise ContractError(
                "the attack asked inside torch.vmap or torch.func, where passes cannot be counted; ask about "
                "several images per case with model.take(cases), and for gradients with model.gradient"
            )
        if forward_ad._current_level >= 0 and _is_dual(x):
            raise ContractError("the attack asked for forward-mode derivatives; ask model.gradient instead")
        if torch._C._is_tracing() or self._watched():
            raise ContractError(
                "the attack asked while tracing, or in a function or dispatch mode, which would see inside "
                "the model; ask outside"
            )
        if len(x) != cases:
            raise ContractError(
                f"the attack asked about {len(x)} images with a handle of {cases} cases; "
                "model.take(cases) says which cases they are"
            )
        if self.shape is not None and tuple(x.shape[1:]) != self.shape:
            raise ContractError(f"the attack asked about images {tuple(x.shape[1:])}; they are {self.shape}")
        if self.device is not None and x.device != self.device:
            raise ContractError(f"the attack asked about images on {x.device}; the model is on {self.device}")

    def _watched(self) -> bool:
        """Tell whether a mode is on that sees what the model computes; a default device does not."""
        if not torch._C._len_torch_function_stack() and not torch._C._len_torch_dispatch_stack():
            return False
        return any(type(mode) is not DeviceContext and mode not in self.modes for mode in _modes())


def _is_dual(x: Tensor) -> bool:
    return forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def _modes() -> tuple[Any, ...]:
    functions = overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return (*functions, *dispatch._get_current_dispatch_mode_stack())


def _equal(one: Objective, other: object) -> bool:
    """Tell whether two objectives ask for the same of every case."""
    if type(one) is not type(other) or not is_dataclass(one):
        return False
    for each in fields(one):
        if not each.compare:
            continue
        mine, yours = getattr(one, each.name), getattr(other, each.name)
        if isinstance(mine, Tensor):
            if type(yours) is not Tensor or mine.dtype != yours.dtype or not torch.equal(mine, yours):
                return False
        elif not callable(mine) and mine != yours:
            return False
    return True
