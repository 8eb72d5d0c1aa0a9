"""What is kept of an object says how the object has changed since, and puts it back.

``changes`` of ``Items``, ``Names`` and ``Code`` uses no builtin function, since an attack may have replaced
one.
"""

from __future__ import annotations

from collections import deque
from operator import is_, itemgetter
from types import CellType, FunctionType
from typing import Any, Protocol

import torch
from torch import Tensor

PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size})
"""Types of values that cannot change, and are alike if they are equal."""
_ABSENT = object()
_all, _map = all, map


class Kept(Protocol):
    """Something is kept of one object."""

    place: str
    """The name of the object, for messages."""

    def changes(self) -> list[str]:
        """Return the names of what has changed, or nothing."""

    def put_back(self) -> None:
        """Give the object its earlier contents."""

    def again(self) -> Kept:
        """Keep the same of the object as it is now."""


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are one object, or equal numbers, texts or tuples of these."""
    if one is other:
        return True
    kind = one.__class__
    if kind is not other.__class__:
        return False
    if kind is tuple:
        if one.__len__() != other.__len__():
            return False
        others = other.__iter__()
        for value in one:  # noqa: SIM110  (an attack may have replaced ``all``)
            if not same(value, others.__next__()):
                return False
        return True
    return kind in PLAIN and (one == other or (one != one and other != other))


class Items:
    """The items of a dict are kept: the attributes of an object, hooks, or what a model remembers by name."""

    def __init__(self, place: str, owner: dict[Any, Any], *, attributes: bool = False) -> None:
        self.place, self.owner, self.kept, self.attributes = place, owner, owner.copy(), attributes

    def added(self) -> list[str]:
        """Return new keys of a dict; an object's attributes are no such keys."""
        return [] if self.attributes else [f"{name}" for name in self.owner if name not in self.kept]

    def changes(self) -> list[str]:
        found = []
        for name, value in self.kept.items():
            now = self.owner.get(name, _ABSENT)
            if now is not value and not same(now, value):
                found.append(f"{name}")
        if self.owner.__len__() != self.kept.__len__() or found:
            for name in self.owner:
                if name not in self.kept:
                    found.append(f"{name}")
        return found

    def put_back(self) -> None:
        self.owner.clear()
        self.owner.update(self.kept)

    def again(self) -> Items:
        return Items(self.place, self.owner, attributes=self.attributes)


class Names:
    """Some names of a dict are kept, such as the functions of a Python module; others may come and go.

    ``closed`` are names that must not be added, because they would hide what is used now.
    """

    def __init__(
        self, place: str, owner: dict[str, Any], kept: dict[str, Any], closed: frozenset[str] = frozenset()
    ) -> None:
        self.place, self.owner, self.kept, self.closed = place, owner, kept, closed
        self._size = len(owner)
        self._values = tuple(kept.values())
        few = len(kept) < 2
        self._look_up = (lambda owner: tuple(owner[key] for key in kept)) if few else itemgetter(*kept)

    def changes(self) -> list[str]:
        try:
            alike = _all(_map(is_, self._look_up(self.owner), self._values))
            if alike and self.owner.__len__() == self._size:
                return []
        except KeyError:  # one was deleted
            pass
        found = []
        for name, value in self.kept.items():
            now = self.owner.get(name, _ABSENT)
            if now is not value and not same(now, value):
                found.append(name)
        for name in self.closed:
            if name in self.owner:
                found.append(name)
        return found

    def put_back(self) -> None:
        for name in self.closed:
            self.owner.pop(name, None)
        self.owner.update(self.kept)

    def again(self) -> Names:
        now = {name: self.owner[name] for name in self.kept if name in self.owner}
        return Names(self.place, self.owner, now, self.closed - self.owner.keys())


class Members:
    """The functions and values of a class are kept."""

    def __init__(self, place: str, owner: type) -> None:
        self.place, self.owner, self.kept = place, owner, dict(vars(owner))

    def changes(self) -> list[str]:
        found, now = [], self.owner.__dict__
        for name, value in self.kept.items():
            other = now.get(name, _ABSENT)
            if other is not value and (_matters(name, value) or _matters(name, other)):
                found.append(name)
        if now.__len__() != self.kept.__len__():
            for name, value in now.items():
                if name not in self.kept and _matters(name, value):
                    found.append(name)
        return found

    def put_back(self) -> None:
        for name in self.changes():
            if name in self.kept:
                type.__setattr__(self.owner, name, self.kept[name])
            else:
                type.__delattr__(self.owner, name)

    def again(self) -> Members:
        return Members(self.place, self.owner)


def _matters(name: str, value: Any) -> bool:
    """Tell whether a member of a class can decide anything: Python adds notes such as __annotations__."""
    if not name.startswith("__"):
        return not name.startswith("_abc_")
    if name in ("__annotate__", "__annotate_func__") or isinstance(value, type):
        return False
    return callable(value) or isinstance(value, staticmethod | classmethod | property)


class Elements:
    """The elements of a list, set or deque are kept."""

    def __init__(self, place: str, owner: list[Any] | set[Any] | deque[Any]) -> None:
        self.place, self.owner, self.kept = place, owner, owner.copy()

    def changes(self) -> list[str]:
        if self.owner.__len__() != self.kept.__len__():
            return ["elements"]
        if self.owner.__class__ is set:
            return [] if self.owner == self.kept else ["elements"]
        others = self.kept.__iter__()
        for value in self.owner:
            other = others.__next__()
            if value is not other and not same(value, other):
                return ["elements"]
        return []

    def put_back(self) -> None:
        self.owner.clear()
        if isinstance(self.owner, set):
            self.owner.update(self.kept)
        else:
            self.owner.extend(self.kept)

    def again(self) -> Elements:
        return Elements(self.place, self.owner)


class Slots:
    """The attributes of an object without a dict are kept."""

    def __init__(self, place: str, owner: Any, names: tuple[str, ...]) -> None:
        self.place, self.owner, self.names = place, owner, names
        self.kept = self._now()

    def _now(self) -> list[Any]:
        return [getattr(self.owner, name, _ABSENT) for name in self.names]

    def changes(self) -> list[str]:
        pairs = zip(self.names, self.kept, self._now(), strict=True)
        return [name for name, before, now in pairs if not same(now, before)]

    def put_back(self) -> None:
        for name, value in zip(self.names, self.kept, strict=True):
            if value is not _ABSENT:
                object.__setattr__(self.owner, name, value)

    def again(self) -> Slots:
        return Slots(self.place, self.owner, self.names)


class Kind:
    """The class of an object is kept."""

    def __init__(self, place: str, owner: Any) -> None:
        self.place, self.owner, self.kept = place, owner, owner.__class__

    def changes(self) -> list[str]:
        return [] if self.owner.__class__ is self.kept else ["class"]

    def put_back(self) -> None:
        self.owner.__class__ = self.kept

    def again(self) -> Kind:
        return Kind(self.place, self.owner)


class Code:
    """The code of a Python function is kept, with its defaults."""

    def __init__(self, place: str, owner: FunctionType) -> None:
        self.place, self.owner = place, owner
        self.code, self.defaults, self.keywords = owner.__code__, owner.__defaults__, owner.__kwdefaults__

    def changes(self) -> list[str]:
        owner = self.owner
        if (
            owner.__code__ is self.code
            and owner.__defaults__ is self.defaults
            and owner.__kwdefaults__ is self.keywords
        ):
            return []
        return ["code"]

    def put_back(self) -> None:
        owner = self.owner
        owner.__code__, owner.__defaults__ = self.code, self.defaults
        owner.__kwdefaults__ = self.keywords

    def again(self) -> Code:
        return Code(self.place, self.owner)


class Cell:
    """What an inner function remembers in one variable is kept."""

    def __init__(self, place: str, owner: CellType) -> None:
        self.place, self.owner = place, owner
        self.kept = self._now()

    def _now(self) -> Any:
        try:
            return self.owner.cell_contents
        except ValueError:  # nothing yet
            return _ABSENT

    def changes(self) -> list[str]:
        return [] if same(self._now(), self.kept) else ["variable"]

    def put_back(self) -> None:
        if self.kept is not _ABSENT:
            self.owner.cell_contents = self.kept

    def again(self) -> Cell:
        return Cell(self.place, self.owner)


class Values:
    """The elements of a tensor are kept: a checksum, and a copy where there is room."""

    def __init__(self, place: str, owner: Tensor, checksum: int | None, copy: Tensor | None) -> None:
        self.place, self.owner, self.checksum, self.copy = place, owner, checksum, copy
        self.shape, self.dtype = owner.shape, owner.dtype
        self.now = checksum
        """The checksum as it was last looked up; ``Memory`` looks up those of all tensors at once."""

    def changes(self) -> list[str]:
        alike = (
            self.now == self.checksum and self.owner.shape == self.shape and self.owner.dtype == self.dtype
        )
        return [] if alike else ["values"]

    def put_back(self) -> None:
        if self.copy is None:
            return
        with torch.no_grad():
            if self.owner.shape != self.shape or self.owner.dtype != self.dtype:
                self.owner.data = self.copy.to(self.owner.device, copy=True)
            elif self.owner.is_inference():
                with torch.inference_mode():
                    self.owner.copy_(self.copy)
            else:
                self.owner.data.copy_(self.copy)
        self.now = self.checksum

    def again(self) -> Values:
        return Values(self.place, self.owner, self.now, self.owner.detach().clone())
