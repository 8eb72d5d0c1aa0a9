"""A memory keeps what a module consists of: attributes, hooks, tensors, classes and functions.

Objects of PyTorch's own, beside modules and tensors, and more than ``MOST`` objects are kept as a whole only:
that another one has taken their place is noticed, but not what has changed inside.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from harness.judge.guard.checksum import checksums
from harness.judge.guard.kept import (
    PLAIN,
    Cell,
    Code,
    Elements,
    Items,
    Kept,
    Kind,
    Members,
    Names,
    Slots,
    Values,
)

MOST = 20_000
"""How many objects of a module are looked into."""
ROOM = 256 << 20
"""The octets of tensors, per module, of which copies are kept to put them back."""
_COPIES: WeakKeyDictionary[nn.Module, dict[int, tuple[int | None, Tensor]]] = WeakKeyDictionary()
"""Copies by the identity of the tensor, with its checksum: made again only where a tensor has changed."""


class Memory:
    """A Memory keeps what objects consist of, says what has changed since, and puts it back."""

    def __init__(self, room: int = 0, *, modules: bool = False) -> None:
        """Keep nothing yet.

        Args:
            room: the octets of tensors of which copies are kept, to put them back.
            modules: whether modules are looked into.
        """
        self.room, self.modules = room, modules
        self.kept: list[Kept] = []
        self.tensors: list[Values] = []
        self._empty: list[tuple[str, Any]] = []
        self._filled: dict[int, Items | Elements] = {}
        self._seen: set[int] = set()
        self._classes: set[type] = set()
        self._found: list[tuple[str, Tensor]] = []

    @classmethod
    def of(cls, module: nn.Module) -> Memory:
        """Return a memory of a module."""
        memory = cls(ROOM, modules=True)
        memory._visit(module, "", 0)
        memory._keep_tensors(module)
        return memory

    @classmethod
    def of_objects(cls, things: dict[str, Any]) -> Memory:
        """Return a memory of other objects by name; modules are not looked into, and tensors not put back."""
        memory = cls()
        for name, thing in things.items():
            memory._visit(thing, name, 0)
        memory._keep_tensors(None)
        return memory

    def changes(self) -> list[tuple[Kept, str]]:
        """Return what has changed, each with the name of the change in it."""
        for values, now in zip(self.tensors, checksums(each.owner for each in self.tensors), strict=True):
            values.now = now
        found: list[tuple[Kept, str]] = []
        for each in self._all():
            found += [(each, name) for name in each.changes()]
        return found

    def put_back(self) -> None:
        """Give all objects that have changed their earlier contents."""
        for each, _ in self.changes():
            each.put_back()

    def _all(self) -> Iterable[Kept]:
        yield from self.tensors
        for place, owner in self._empty:  # most hooks: only those that were added are worth an object
            if owner and id(owner) not in self._filled:
                kept = Items(place, owner) if isinstance(owner, dict) else Elements(place, owner)
                kept.kept = type(owner)()
                self._filled[id(owner)] = kept
        yield from self._filled.values()
        yield from self.kept

    def _visit(self, value: Any, place: str, depth: int) -> None:
        """Keep a value and what it consists of, where that can change."""
        kind = type(value)
        if kind in PLAIN or id(value) in self._seen or len(self._seen) > MOST or depth > 40:
            return
        self._seen.add(id(value))
        if isinstance(value, Tensor):
            self._found.append((place, value))
        elif isinstance(value, np.ndarray):
            if value.dtype.kind in "biuf" and value.flags.writeable:
                self._found.append((place, torch.from_numpy(value)))
        elif kind is dict or kind is OrderedDict:
            self.kept.append(Items(place, value))
            self._each(value.items(), place, depth)
        elif kind in (list, set, deque):
            self.kept.append(Elements(place, value))
            self._each(enumerate(value), place, depth)
        elif kind in (tuple, frozenset):
            self._each(enumerate(value), place, depth)
        elif kind is FunctionType:
            self._function(value, place, depth)
        elif kind is MethodType:
            self._visit(value.__func__, place, depth + 1)
            self._visit(value.__self__, place, depth + 1)
        elif kind is functools.partial:
            self._each(enumerate((value.func, *value.args)), place, depth)
            self._visit(value.keywords, place, depth + 1)
        elif not isinstance(value, type):
            self._object(value, place, depth)

    def _each(self, items: Iterable[tuple[Any, Any]], place: str, depth: int) -> None:
        for name, value in items:
            kind = type(value)
            if kind in _CONTAINERS and not value:
                self._empty.append((f"{place}.{name}" if place else f"{name}", value))
            elif kind not in PLAIN:
                inner = place if name in _INNER else f"{place}.{name}" if place else f"{name}"
                self._visit(value, inner, depth + 1)

    def _object(self, value: Any, place: str, depth: int) -> None:
        """Keep the attributes and the class of a module, or of an object that is not PyTorch's own."""
        kind = type(value)
        own = getattr(kind, "__module__", "").partition(".")[0] not in ("torch", "builtins", "numpy")
        is_module = isinstance(value, nn.Module)
        if not (self.modules if is_module else own):
            return
        attributes = getattr(value, "__dict__", None)
        if type(attributes) is dict:
            self.kept += [Kind(place, value), Items(place, attributes, attributes=True)]
            self._each(attributes.items(), place, depth)
        elif own:
            slots = [getattr(parent, "__slots__", ()) for parent in kind.__mro__]
            names = [name for each in slots for name in ((each,) if isinstance(each, str) else each)]
            kept = Slots(place, value, tuple(name for name in names if not name.startswith("__")))
            self.kept.append(kept)
            self._each(zip(kept.names, kept.kept, strict=True), place, depth)
        if is_module:
            for parent in kind.__mro__:
                self._class(parent, depth)
            if isinstance(value, torch.jit.ScriptModule):
                self.kept.append(ScriptValues(place, value))
                own_tensors = (*value.named_parameters(recurse=False), *value.named_buffers(recurse=False))
                self._each(own_tensors, place, depth)
                self._each(value.named_children(), place, depth)

    def _class(self, kind: type, depth: int) -> None:
        if kind is object or kind in self._classes:
            return
        self._classes.add(kind)
        self.kept.append(Members(f"class {kind.__name__}", kind))
        for name, member in vars(kind).items():
            for function in functions_of(member):
                self._function(function, f"class {kind.__name__}.{name}", depth)

    def _function(self, function: FunctionType, place: str, depth: int) -> None:
        """Keep the code of a function, what it remembers, and what it reads of its Python module."""
        self.kept.append(Code(place, function))
        if function.__module__ is None or function.__module__.partition(".")[0] == "torch":
            return
        for cell in function.__closure__ or ():
            self.kept.append(Cell(place, cell))
        read = {name for name in _names(function.__code__) if name in function.__globals__}
        if read:
            values = {name: function.__globals__[name] for name in sorted(read)}
            self.kept.append(Names(f"{function.__module__}", function.__globals__, values))
            for name, value in values.items():
                if type(value) in (list, dict, FunctionType) and depth < 4:
                    self._visit(value, f"{function.__module__}.{name}", depth + 1)

    def _keep_tensors(self, module: nn.Module | None) -> None:
        """Keep the elements of all tensors that were found, with copies as far as there is room."""
        earlier = _COPIES.get(module, {}) if module is not None else {}
        copies: dict[int, tuple[int | None, Tensor]] = {}
        room = self.room
        tensors = [tensor for _, tensor in self._found]
        for (place, tensor), checksum in zip(self._found, checksums(tensors), strict=True):
            room -= _octets(tensor)
            known, copy = earlier.get(id(tensor), (None, None))
            if copy is None or known != checksum or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = _copied(tensor) if room >= 0 and checksum is not None else None
            if copy is not None:
                copies[id(tensor)] = checksum, copy
            self.tensors.append(Values(place, tensor, checksum, copy))
        if module is not None:
            _COPIES[module] = copies


class ScriptValues:
    """The numbers and texts of a TorchScript module are kept, which are no attributes in Python."""

    def __init__(self, place: str, owner: Any) -> None:
        self.place, self.owner, self.kept = place, owner, self._now(owner)

    @staticmethod
    def _now(owner: Any) -> dict[str, Any]:
        try:
            names = owner._concrete_type.get_attributes()
            values = {name: owner._c.getattr(name) for name in names}
        except (AttributeError, RuntimeError):  # another version of PyTorch
            return {}
        return {name: value for name, value in values.items() if type(value) in PLAIN}

    def changes(self) -> list[str]:
        now = self._now(self.owner)
        return [name for name, value in self.kept.items() if now.get(name) != value]

    def put_back(self) -> None:
        for name in self.changes():
            self.owner._c.setattr(name, self.kept[name])

    def again(self) -> ScriptValues:
        return ScriptValues(self.place, self.owner)


_CONTAINERS = frozenset({dict, OrderedDict, list, set, deque})
_INNER = frozenset({"_modules", "_parameters", "_buffers"})
"""Attributes of modules that names of parts and weights leave out."""


def functions_of(member: Any) -> Sequence[FunctionType]:
    """Return the Python functions behind a member of a class or a Python module."""
    kind = type(member)
    if kind is FunctionType:
        return (member,)
    if kind in (staticmethod, classmethod):
        member = member.__func__
        return (member,) if type(member) is FunctionType else ()
    if kind is property:
        return [part for part in (member.fget, member.fset) if type(part) is FunctionType]
    return ()


@functools.lru_cache(maxsize=4096)
def _names(code: CodeType) -> frozenset[str]:
    """Return the names that code, and code inside it, may read of its Python module."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(code.co_names).union(*inner)


def _octets(tensor: Tensor) -> int:
    try:
        return tensor.numel() * tensor.element_size()
    except (RuntimeError, ValueError):  # not yet made
        return 0


def _copied(tensor: Tensor) -> Tensor | None:
    try:
        return tensor.detach().clone()
    except (RuntimeError, ValueError, NotImplementedError):
        return None
