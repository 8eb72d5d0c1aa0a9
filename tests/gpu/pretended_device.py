"""A device is pretended, so that code that mixes devices fails on machines without a GPU, as it would on one.

Tensors of the pretended device say that they are on "meta", and compute on the CPU. Inside ``pretended``, an
operation on tensors of both kinds raises an error, unless a GPU allows it: copies, numbers without
dimensions, and indices on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from harness.goals.rules import Rules
from harness.judge import trial, verdict

DEVICE = torch.device("meta")
CPU = torch.device("cpu")
_COPIES = {"aten::copy_", "aten::_to_copy"}
_INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


_DRAWS = {
    f"aten::{name}" for name in ("rand", "randn", "randint", "randperm", "uniform_", "normal_", "bernoulli_")
}


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

    def new_tensor(self, data: Any, **more: Any) -> Tensor:
        return _tensor(data, **{"dtype": self.dtype, "device": DEVICE, **more})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise MixedDevicesError(f"{func} outside of the pretended device's world")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            # torch would make tensors of lists on "meta", and forget their numbers
            index = tuple(_made(list(at)) if isinstance(at, list | range) else at for at in index)
            args = (args[0], index, *args[2:])
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


Pretended.__module__ = "torch"  # by this eagerpy knows a tensor


class World(TorchDispatchMode):
    """Runs every operation on the CPU, and gives its results the device that they would have."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name
        given = tree_flatten((args, kwargs))[0]
        there = any(isinstance(value, Pretended) for value in given)
        target = kwargs.get("device")
        away = there if target is None else torch.device(target).type == DEVICE.type
        _check(func, name, args, kwargs, given, there, away)
        if target is not None:
            kwargs["device"] = CPU
        held_args, held_kwargs = tree_map(_held, (args, kwargs))
        held = tree_flatten((held_args, held_kwargs))[0]
        if any(isinstance(value, Tensor) and value.is_meta for value in held):
            raise MixedDevicesError(f"{func} got a tensor whose numbers torch has forgotten")
        with other_numbers() if away and name in _DRAWS else nullcontext():
            found = func(*held_args, **held_kwargs)
        if func._schema.is_mutable and isinstance(args[0] if args else None, Tensor) and name.endswith("_"):
            return args[0]
        if "out" in kwargs:
            return kwargs["out"]
        if not away or (name == "aten::copy_"):
            return found
        return tree_map(lambda value: Pretended(value) if isinstance(value, Tensor) else value, found)


_made = torch.tensor


def _tensor(data: Any, *, device: Any = None, **more: Any) -> Tensor:
    """Make a tensor of numbers; torch itself would forget them on "meta"."""
    made = _made(data, **more)
    return made if device is None else made.to(device)


@contextmanager
def other_numbers() -> Iterator[None]:
    """Draw other numbers than the CPU would, as a GPU does; the CPU's generator stays where it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        yield


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
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend the device, which knows no autocast and no inference mode."""
    with monkeypatch.context() as patch, World():
        patch.setattr(torch, "autocast", lambda *given, **more: nullcontext())
        patch.setattr(torch, "inference_mode", lambda mode=True: torch.set_grad_enabled(not mode))
        patch.setattr(torch, "tensor", _tensor)
        # The pretence is a subclass of Tensor, which a run refuses of attacks.
        patch.setattr(Rules, "check", lambda self, x, cases: None)
        patch.setattr(trial, "images_of", lambda returned, x: returned.detach().to(x))
        patch.setattr(verdict, "images_of", lambda returned, x: returned.detach().to(x))
        yield
