"""A DerivedBuffers module keeps what it computes from its buffers, and computes it again when they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from harness.errors import ModelError

T = TypeVar("T")


class DerivedBuffers(nn.Module, Generic[T]):
    """DerivedBuffers is a module without parameters whose buffers have shapes that only training decides."""

    def __init__(self) -> None:
        super().__init__()
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._kept: tuple[list[tuple[Tensor, int]], T] | None = None

    def hold(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Register a buffer; training decides the sizes that are 0 in ``shape``."""
        self._shapes[name] = shape
        self.register_buffer(name, torch.zeros(shape, dtype=dtype))

    def derive(self) -> T:
        """Compute what the outputs of the module are made of."""
        raise NotImplementedError

    def derived(self) -> T:
        """Return what ``derive`` computes; it is kept until a buffer is written to, replaced or moved."""
        state = [(tensor, tensor._version) for tensor in self.buffers()]
        if self._kept is not None:
            seen, value = self._kept
            if all(a is b and m == n for (a, m), (b, n) in zip(seen, state, strict=True)):
                return value
        with torch.no_grad():
            value = self.derive()
        self._kept = state, value
        return value

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Give the buffers these shapes, which are those of weights that will be loaded.

        Raises:
            ModelError: the shapes are for images of another size.
        """
        for name, wanted in self._shapes.items():
            shape, buffer = shapes.get(name, wanted), self.get_buffer(name)
            if len(shape) != len(wanted) or any(a not in (0, b) for a, b in zip(wanted, shape, strict=True)):
                raise ModelError(f"{name} has the shape {tuple(shape)}, which is for images of another size")
            setattr(self, name, buffer.new_zeros(shape))

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Resize the buffers, and load the results of training."""
        self.resize({name: tuple(tensor.shape) for name, tensor in state.items()})
        self.load_state_dict(dict(state))
