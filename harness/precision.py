"""Precision: the states of a module in which its answers can be trusted: eval mode, float32 as written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.backends import cudnn


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and no parameter gradients inside; modes and flags as they were outside."""
    modes = [(part, part.training) for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.eval()
    module.requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, requires in wanted:
            parameter.requires_grad_(requires)


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """float32 as it is written: no autocast that somebody left on, no convolutions in TF32."""
    convolutions = (
        cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)
        if device.type == "cuda"
        else nullcontext()
    )
    with torch.autocast(device.type, enabled=False), convolutions:
        yield
