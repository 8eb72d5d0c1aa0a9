"""A device is pretended, so that code that mixes devices fails on machines without a GPU, as it would on one.

Tensors of the pretended device say that they are on "meta", and compute on the CPU. Inside ``pretended``, an
operation on tensors of both kinds raises an error, unless a GPU allows it: copies, numbers without
dimensions, and indices on the CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
CPU = torch.device("cpu")
_COPIES = {"aten::copy_", "aten::_to_copy"}
_INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"}
"""Operations for which a program waits until the GPU has computed; so are copies to the CPU."""


class MixedDevicesError(RuntimeError):
    """An operation got tensors of two devices, or a generator of the wrong one."""


class Pretended(Tensor):
    """A tensor that says it is on the pretended device; ``held`` is on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.held})"

    def tolist(self) -> Any:
        return self.to(CPU).tolist()  # torch refuses this to subclasses

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise MixedDevicesError(f"{func} outside of the pretended device's world")

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class World(TorchDispatchMode):
    """Runs every operation on the CPU, and gives its results the device that they would have."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name
        given = tree_flatten((args, kwargs))[0]
        there = any(isinstance(value, Pretended) for value in given)
        target = kwargs.get("device")
        away = there if target is None else torch.device(target).type == DEVICE.type
        _check(func, name, args, kwargs, given, there, away)
        if name in WAITS and there:
            self.waits[name] += 1
        elif name in _COPIES and there and not (away if name == "aten::_to_copy" else _is(args[0])):
            self.waits["to the CPU"] += 1
        if target is not None:
            kwargs["device"] = CPU
        held_args, held_kwargs = tree_map(_held, (args, kwargs))
        found = func(*held_args, **held_kwargs)
        if func._schema.is_mutable and isinstance(args[0] if args else None, Tensor) and name.endswith("_"):
            return args[0]
        if "out" in kwargs:
            return kwargs["out"]
        if not away or (name == "aten::copy_"):
            return found
        return tree_map(lambda value: Pretended(value) if isinstance(value, Tensor) else value, found)


def _is(value: object) -> bool:
    return isinstance(value, Pretended)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _check(
    func: Any, name: str, args: Any, kwargs: dict[str, Any], given: list[Any], there: bool, away: bool
) -> None:
    """Refuse what a GPU refuses."""
    if kwargs.get("generator") is not None and away:
        raise MixedDevicesError(f"{func}: a generator on the CPU draws for another device")
    here = [value for value in given if isinstance(value, Tensor) and not _is(value) and value.ndim]
    if not there or not here or name in _COPIES:
        return
    if name in _INDEXED and _is(args[0]):
        values = [args[2]] if len(args) > 2 else []
        here = [value for value in values if isinstance(value, Tensor) and not _is(value) and value.ndim]
    if here:
        shapes = [tuple(value.shape) for value in here]
        raise MixedDevicesError(f"{func} on the device got tensors on the CPU of the shapes {shapes}")


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Pretend the device; no autocast is known for it, so none is switched off or on."""
    with monkeypatch.context() as patch, World() as world:
        patch.setattr(torch, "autocast", lambda *given, **more: nullcontext())
        yield world
