"""How often an attack waits for the device: a number, or the places of some cases, brought to the CPU.

Waits are counted as operations, which are the same on every device, so that a machine without a GPU counts
what one with a GPU would wait for; copies from a GPU are counted where there is one. An iteration's share is
the difference of two runs of different length, over the difference of their lengths: what an attack does once
does not count. Not counted are attacks whose iterations differ (ffa), and universal-patch,
component-gradient and distal.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from tests.gpu.networks import Small
from tests.gpu.report import Row
from tests.gpu.same_attacks import Case, attacked

MOST = 2.0
"""The most waits of one iteration: which cases go on, and which are better than before."""
WAITING = {
    "aten::_local_scalar_dense": "item",  # also bool(), int(), tolist() of one number, and branches
    "aten::nonzero": "nonzero",
    "aten::masked_select": "masked_select",
    "aten::equal": "equal",
    "aten::_unique2": "unique",
    "aten::is_nonzero": "is_nonzero",
}
_INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
STEPS = (6, 18)
LONGER: dict[str, tuple[str, dict[str, Any]]] = {
    "pgd": ("steps", {"early_stop": False}),
    "cw-l2": ("iterations", {"searches": 1, "rescues": 0, "abort_early": False}),
    "gradient-descent": ("iterations", {"step_size": 1e-4}),
    "ddn": ("steps", {"radius": 3.0, "neighbours": 0, "polish": 0}),  # found at once, however few
    "fmn": ("steps", {}),
    "fgs": ("max_iterations", {"search": "iterative"}),
    "noise": ("draws", {}),
    "eyeglasses": ("iterations", {"restarts": 1}),
    "square": ("iterations", {"search_iterations": 1, "restarts": 1}),
}
"""What makes an attack longer, and what else it is given so that it does not end before its time."""


class Waits(TorchDispatchMode):
    """Counts operations that make the CPU wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in WAITING:
            self.counts[WAITING[name]] += 1
        elif name in _INDEXED and _by_mask(args[1]):
            self.counts["index by mask"] += 1
        found = func(*args, **(kwargs or {}))
        if name in ("aten::_to_copy", "aten::copy_") and _comes_back(args, found):
            self.counts["copy"] += 1
        return found


def _by_mask(indices: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8) for one in indices)


def _comes_back(args: Any, found: Any) -> bool:
    """Say whether a copy brings something from a GPU to the CPU."""
    given = [one for one in tree_flatten(args)[0] if isinstance(one, torch.Tensor)]
    return isinstance(found, torch.Tensor) and not found.is_cuda and any(one.is_cuda for one in given)


def counted(case: Case, small: Small, device: torch.device, steps: tuple[int, int] = STEPS) -> Row:
    """Count the waits of one iteration of an attack."""
    key, more = LONGER[case.attack]
    counts = []
    for length in steps:
        longer = Case(case.attack, case.network, case.threat, {**case.given, **more, key: length}, case.note)
        with Waits() as waits:
            attacked(longer, small, device)
        counts.append(waits.counts)
    each = {
        name: (counts[1][name] - counts[0][name]) / (steps[1] - steps[0]) for name in {*counts[0], *counts[1]}
    }
    total = sum(each.values())
    figures = {"waits": round(total, 2)} | {name: round(count, 2) for name, count in each.items() if count}
    status = "measured" if total <= MOST else "differs"
    return Row("waiting", case.label, status, "" if total <= MOST else f"more than {MOST:.0f}", figures)


def counted_cases() -> list[Case]:
    """Return an attack of each kind."""
    from harness.threat import L2, Linf, Minimal

    return [
        Case("pgd", threat=Linf(1e-3), note="linf"),
        Case("pgd", threat=L2(1e-2), note="l2"),
        Case("cw-l2"),
        Case("gradient-descent", threat=Minimal("l2")),
        Case("ddn", threat=Minimal("l2")),
        Case("fmn", threat=Minimal("linf")),
        Case("fgs", "attributes"),
        Case("noise", threat=Linf(1e-3)),
        Case("eyeglasses"),
        Case("square"),
    ]
