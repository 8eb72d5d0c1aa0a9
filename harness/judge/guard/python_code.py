"""The code that all attacks share is kept: functions of Python, of PyTorch, and of the harness."""

from __future__ import annotations

import builtins
import sys
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as module_hooks

from harness.judge.guard.kept import Items, Kept, Members, Names
from harness.judge.guard.memory import functions_of

_OTHERS: tuple[ModuleType, ...] = (
    builtins,
    torch,
    torch.nn,
    torch.nn.functional,
    torch.linalg,
    torch.autograd,
    torch._C._nn,
    np,
)
_CLASSES: tuple[type, ...] = (torch.Tensor, nn.Module)
_BUILTINS = frozenset(name for name in vars(builtins) if not name.startswith("__"))
_HOOKS = tuple(
    (name.removeprefix("_global_").replace("_", " "), registry)
    for name, registry in vars(module_hooks).items()
    if name.startswith("_global_") and isinstance(registry, dict)
)


class SharedCode:
    """SharedCode is what an attack finds in Python, PyTorch and the harness, and must leave as it is.

    Of the harness and of its plugins, all names count; of other modules, their functions and classes. What an
    attack imports adds names, which is no harm, unless they hide others.
    """

    def __init__(self) -> None:
        self.kept: list[Kept] = [Items(f"global {name}", registry) for name, registry in _HOOKS]
        for module in _OTHERS:
            kept = {name: value for name, value in vars(module).items() if callable(value)}
            closed = _BUILTINS - vars(module).keys()
            self.kept.append(Names(module.__name__, vars(module), kept, closed))
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0].startswith("harness") and isinstance(module, ModuleType):
                values = vars(module)
                kept = {key: value for key, value in values.items() if _counts(name, key, value)}
                self.kept.append(Names(name, values, kept, _BUILTINS - vars(module).keys()))
        for kind in _classes(self.kept):
            self.kept.append(Members(f"class {kind.__name__}", kind))
        self.kept.append(Codes(_functions(self.kept)))
        self._imported = len(sys.modules)

    @classmethod
    def now(cls) -> SharedCode:
        """Return the shared code as it is now; what was kept last is used again where nothing has changed."""
        last = _LAST[0] if _LAST else None
        if last is None or last._imported != len(sys.modules) or any(each.changes() for each in last.kept):
            _LAST[:] = [last := cls()]
        return last

    def put_back(self) -> list[str]:
        """Put back what was changed, and return its names."""
        found = []
        for each in self.kept:
            names = each.changes()
            if names:
                each.put_back()
                for name in names:
                    found.append(f"{each.place}.{name}")
        return found


class Codes:
    """The code of many functions is kept."""

    def __init__(self, functions: list[FunctionType]) -> None:
        self.place = "code"
        self.owners = [(one, one.__code__, one.__defaults__, one.__kwdefaults__) for one in functions]

    def changes(self) -> list[str]:
        found = []
        for one, code, defaults, keywords in self.owners:
            if (
                one.__code__ is not code
                or one.__defaults__ is not defaults
                or one.__kwdefaults__ is not keywords
            ):
                found.append(f"{one.__module__}.{one.__qualname__}")
        return found

    def put_back(self) -> None:
        for one, code, defaults, keywords in self.owners:
            one.__code__, one.__defaults__ = code, defaults
            one.__kwdefaults__ = keywords

    def again(self) -> Codes:
        return Codes([one for one, *_ in self.owners])


_LAST: list[SharedCode] = []


def _counts(module: str, name: str, value: Any) -> bool:
    """Tell whether a name of the harness or a plugin must stay; modules come by imports."""
    if name.startswith("__") or isinstance(value, ModuleType):
        return False
    return module.partition(".")[0] == "harness" or callable(value)


def _classes(kept: list[Kept]) -> list[type]:
    """Return the classes of the harness and of its plugins, and those of PyTorch that everything uses."""
    found = dict.fromkeys(_CLASSES)
    for names in kept:
        if isinstance(names, Names) and names.place.startswith("harness"):
            for value in names.kept.values():
                if isinstance(value, type) and value.__module__ == names.place:
                    found[value] = None
    return list(found)


def _functions(kept: list[Kept]) -> list[FunctionType]:
    """Return the Python functions among what is kept, each once."""
    found: dict[FunctionType, None] = {}
    for each in kept:
        if isinstance(each, Names | Members):
            for value in each.kept.values():
                found.update(dict.fromkeys(functions_of(value)))
    return list(found)
