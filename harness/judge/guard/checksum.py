"""A checksum tells whether a tensor has changed: fast, and not meant against forgery."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALL = 1 << 14
"""Tensors of at most so many octets on the CPU are read by Python, which is faster for them."""


def fingerprint(module: nn.Module) -> int:
    """Return a fast checksum of all parameters and buffers, which depends on their positions too.

    It detects one changed element, and two elements that were exchanged. It is not a cryptographic digest,
    and it does not cover tensors that are neither parameters nor buffers.
    """
    total = 0
    for number in checksums((*module.parameters(), *module.buffers())):
        if number is not None:
            total = (total * 0x100000001B3 + number) % 2**64
    return total


def checksums(tensors: Iterable[Tensor]) -> list[int | None]:
    """Return the checksum of each tensor; None of one that is empty, or has no elements to read."""
    found: list[int | Tensor | None] = []
    with torch.no_grad():
        for tensor in tensors:
            try:
                found.append(_checksum(tensor) if tensor.numel() and not tensor.is_meta else None)
            except (RuntimeError, ValueError, TypeError):  # a layout without octets, or not yet made
                found.append(_writes(tensor))
        return [int(number) if isinstance(number, Tensor) else number for number in found]


def _checksum(tensor: Tensor) -> int | Tensor:
    tensor = tensor.int_repr() if tensor.is_quantized else tensor.detach()
    octets = tensor.contiguous().view(-1).view(torch.uint8)
    if len(octets) <= SMALL and octets.device.type == "cpu":
        return hash(octets.numpy().tobytes())
    if octets.storage_offset() % 8:  # only aligned octets can be read as 64-bit words
        octets = octets.clone()
    whole = len(octets) // 8 * 8
    words = octets[:whole].view(torch.int64)
    square = words[: len(words) // 4096 * 4096].view(-1, 4096)
    # The sums of rows and of columns together depend on positions; sums of int64 are by far the fastest.
    sums = torch.cat([square.sum(0), square.sum(1), words[square.numel() :], octets[whole:].long()])
    weights = torch.arange(1, len(sums) + 1, device=sums.device) * 0x1E3779B97F4A7C15
    weights = (weights ^ (weights >> 31)) * 0x3F58476D1CE4E5B9 | 1
    return (sums * weights).sum()


def _writes(tensor: Tensor) -> int | None:
    """Return how often a tensor has been written to, where that is known."""
    try:
        return tensor._version
    except RuntimeError:  # made in inference mode
        return None
