"""Images reach a network in the memory layout that suits the precision of its passes."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakSet

import torch
from torch import Tensor, nn

from harness.errors import ModelError

_NEEDS_ROWS: WeakSet[nn.Module] = WeakSet()
"""Modules that call ``view`` in a way that needs the usual memory layout (B, C, H, W)."""


def in_its_layout(ask: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module, *, coarse: bool) -> Tensor:
    """Return what a function that asks a module returns for images (B, C, H, W).

    In float32 the layout is that of the judge. In bfloat16 (``coarse``), convolutions are much faster with
    channels last; a module that fails on this layout because it calls ``view`` is remembered, and not tried
    again.
    """
    if coarse and module not in _NEEDS_ROWS:
        try:
            return ask(x.contiguous(memory_format=torch.channels_last))
        except ModelError as error:
            if "view size is not compatible" not in str(error):
                raise
            _NEEDS_ROWS.add(module)
    return ask(x.contiguous())
