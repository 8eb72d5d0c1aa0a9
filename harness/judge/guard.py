"""Guards detect what an attack must not change: weights, code, modes and global random generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import ContractError
from harness.randomness import seed_torch


@contextmanager
def unharmed(module: nn.Module) -> Iterator[None]:
    """Raise a ContractError where what runs inside changes a module's weights, buffers, hooks or forward."""
    before, code = fingerprint(module), code_of(module)

    def check() -> None:
        if fingerprint(module) != before:
            raise ContractError("the attack changed the model's weights or buffers")
        if code_of(module) != code:
            raise ContractError("the attack left hooks in the model, or replaced its forward")

    try:
        yield
    except Exception:
        check()  # a model that the attack has changed must not be used for the next batch
        raise
    check()


def fingerprint(module: nn.Module) -> int:
    """Return a fast checksum of all parameters and buffers, which depends on their positions too.

    It detects one changed element, and two elements that were exchanged. It is not a cryptographic digest,
    and it does not cover tensors that are neither parameters nor buffers.
    """
    total = 0
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.numel() and not tensor.is_meta:
                total = (total * 0x100000001B3 + _checksum(tensor)) % 2**64
    return total


def _checksum(tensor: Tensor) -> int:
    octets = tensor.detach().contiguous().view(-1).view(torch.uint8)
    if octets.storage_offset() % 8:  # only aligned octets can be read as 64-bit words
        octets = octets.clone()
    whole = len(octets) // 8 * 8
    words = octets[:whole].view(torch.int64)
    square = words[: len(words) // 4096 * 4096].view(-1, 4096)
    # The sums of rows and of columns together depend on positions; sums of int64 are by far the fastest.
    sums = torch.cat([square.sum(0), square.sum(1), words[square.numel() :], octets[whole:].long()])
    weights = torch.arange(1, len(sums) + 1, device=sums.device) * 0x1E3779B97F4A7C15
    weights = (weights ^ (weights >> 31)) * 0x3F58476D1CE4E5B9 | 1
    return int((sums * weights).sum())


def code_of(module: nn.Module) -> list[tuple[object, ...]]:
    """Return what, beside weights and modes, decides a module's outputs: its parts, hooks and forwards."""
    return [
        (name, id(part), id(part.__dict__.get("forward")), *part._forward_hooks, *part._forward_pre_hooks)
        for name, part in module.named_modules()
    ]


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators, so that attacks that use them can be repeated; restore them afterwards."""
    numpy_state = np.random.get_state()  # noqa: NPY002  (the global generator is what third parties use)
    python_state = random.getstate()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        seed_torch(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
