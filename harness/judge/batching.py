"""Batching decides how many cases are attacked at once, and halves a batch that does not fit into memory."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.model import Model, exact, frozen, ordinary, out_of_memory

Result = TypeVar("Result")

LARGEST = {"cpu": 256, "cuda": 1024}
"""The largest batch sizes: beyond these, no device gains speed."""
SHARE = 0.5
"""The share of the free memory to use; the attack's copies of images, and the allocator's gaps, need the
rest."""


class BatchSize:
    """A BatchSize is a number of cases that is halved whenever so many did not fit into memory."""

    def __init__(self, cases: int) -> None:
        self.cases = cases

    def halve(self) -> bool:
        """Halve the size, and tell whether that was possible."""
        if self.cases == 1:
            return False
        self.cases //= 2
        return True


def in_batches(total: int, size: BatchSize, work: Callable[[slice], Result]) -> Iterator[Result]:
    """Yield the result of ``work`` for each batch of ``total`` cases; halve batches that do not fit.

    A size that did not fit is not tried again: ``size`` stays small. A single case that does not fit raises.
    """
    start = 0
    while start < total:
        rows = slice(start, min(start + size.cases, total))
        try:
            result = work(rows)
        except Exception as error:
            if not out_of_memory(error) or not size.halve():
                raise
            # The traceback holds the frames, and the frames hold tensors, which must be freed.
            error.__traceback__ = None
            _release()
            continue
        start = rows.stop
        yield result


def fitting(model: Model, shape: Sequence[int]) -> BatchSize:
    """Return how many images (C, H, W) fit into memory with their gradients, as a power of two.

    The bytes that two images keep for a backward pass are counted; they grow in proportion to the images.
    """
    device = model.device
    largest = LARGEST.get(device.type, 256)
    try:
        each = _kept(model, torch.full((2, *shape), 0.5, device=device)) / 2
    except (HarnessError, RuntimeError, MemoryError):  # the model fails with gradients, or on grey images
        return BatchSize(min(64, largest))
    fits = int(SHARE * free_memory(device) / max(each, 1))
    return BatchSize(1 << max(0, min(fits, largest).bit_length() - 1))


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a device; on the CPU, those of the machine or of the container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:  # memory that the kernel can free at once counts as free
        words = Path("/proc/meminfo").read_text().split()
        free = int(words[words.index("MemAvailable:") + 1]) * 1024
    except (OSError, ValueError):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit, used = (Path("/sys/fs/cgroup", name).read_text() for name in ("memory.max", "memory.current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # another system, or no limit ("max")
        return free


def _kept(model: Model, x: Tensor) -> int:
    """Return the bytes that the graph of a forward pass keeps, without the weights, which exist anyway."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.module.parameters()}
    seen: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        frozen(model.module),
        ordinary(),
        exact(model.device),
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
    ):
        model._outputs(x.requires_grad_())
    return sum(seen.values())


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
