"""A watch is kept while an attack runs: what it changed is put back, and is an error of that attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from harness.errors import ContractError, DatasetError
from harness.judge.guard import process
from harness.judge.guard.kept import Items, Kept, Values
from harness.judge.guard.memory import Memory
from harness.judge.guard.python_code import SharedCode
from harness.model import Model, exact, frozen

Changes = list[tuple[Kept, str]]
SHOWN = 3
"""How many names of what has changed an error gives."""


class Watch:
    """A Watch compares what attacks must not change, before and after one attack on a batch.

    What a model writes to its own attributes when it is asked is no fault of an attack: where something has
    changed, the model is asked again, as it was before, and what it then writes is left alone, unless the
    model answers otherwise with it.
    """

    def __init__(self, models: Sequence[Model], x: Tensor, used: dict[str, Any] | None = None) -> None:
        """Watch the models that the attack sees or that judge it.

        Args:
            x: (B, C, H, W) the images that the models may be asked about.
            used: what else the judge will use, by name: images, goal, threat.
        """
        self.models = list({id(model.module): model for model in models}.values())
        self.x, self.used = x, used or {}
        self._memories: list[Memory] = []

    @contextmanager
    def attack(self, seed: int) -> Iterator[None]:
        """Run an attack inside; the global generators of random numbers are its own, and start at the seed.

        Raises:
            ContractError: the attack changed what it must not, or tried to end the program.
        """
        changed: list[str] = []
        faults: list[str] = []
        with ExitStack() as stack:
            for model in self.models:
                stack.enter_context(frozen(model.module))
            self._memories = [Memory.of(model.module) for model in self.models]
            used, code = Memory.of_objects(self.used), SharedCode.now()
            try:
                with process.kept(changed), process.own_randomness(seed):
                    yield
            except DatasetError as error:  # from the data set itself this would end the run
                raise ContractError(f"the attack failed: {error}") from error
            except Exception:
                faults = self._faults(code, used)  # what an attack has changed must not be used for the next
                if faults:
                    raise ContractError("; ".join(faults)) from None
                raise
            finally:
                faults = faults or self._faults(code, used)
        if changed:
            left = _shortened(changed)
            faults.append(f"the attack left behind another {left}; change it in a with statement")
        if faults:
            raise ContractError("; ".join(faults))

    def judged(self) -> None:
        """Compare the models again, after they have judged.

        Raises:
            ContractError: one has changed.
        """
        faults: list[str] = []
        with ExitStack() as stack:
            for model in self.models:
                stack.enter_context(frozen(model.module))
            faults = self._models()
        if faults:
            raise ContractError("; ".join(faults))

    def _faults(self, code: SharedCode, used: Memory) -> list[str]:
        names = code.put_back()  # first of all, since what follows uses functions that may be replaced
        faults = self._models()
        mine = used.changes()
        if mine:
            used.put_back()
            faults.append(f"the attack changed what it is judged by: {_listed(mine)}")
        if names:
            faults.append(f"the attack replaced code that all share: {_shortened(names)}")
        return faults

    def _models(self) -> list[str]:
        """Return what is wrong with the models, and put it back."""
        faults = []
        for model, memory in zip(self.models, self._memories):  # noqa: B905  (none if no attack ran here)
            changes = memory.changes()
            if changes:
                fault = self._fault(model, memory, changes)
                faults += [fault] if fault else []
        return faults

    def _fault(self, model: Model, memory: Memory, changes: Changes) -> str:
        """Tell what an attack has done to a model, or "" if the model itself has; put back what was done."""
        afterwards = {id(each): each.again() for each, _ in changes}
        added = {(id(each), name) for each, _ in changes if isinstance(each, Items) for name in each.added()}
        memory.put_back()
        lost = {(id(each), name) for each, name in memory.changes()}  # there was no room for copies
        before = _answers(model, self.x)
        for ask in _questions(model, self.x):
            with suppress(Exception):
                ask()
        asked = memory.changes()
        own = {(id(each), name) for each, name in asked} - lost
        growing = {id(each) for each, _ in asked if isinstance(each, Items) and each.added()}
        memory.put_back()
        foreign = [(each, name) for each, name in changes if (id(each), name) not in own]
        # A dict to which the model adds what it works out may have got other keys during the attack; it can
        # do without them.
        spare = {(id(each), name) for each, name in foreign if id(each) in growing} & added
        foreign = [(each, name) for each, name in foreign if (id(each), name) not in spare]
        if foreign:
            return _described(foreign)
        forgotten = {key for key, _ in spare}

        def as_it_was_left() -> None:
            memory.put_back()
            for key, each in afterwards.items():
                if key not in forgotten:
                    each.put_back()

        as_it_was_left()
        now = _answers(model, self.x)
        if now is None or before is None or _alike(now, before):
            as_it_was_left()
            return ""
        memory.put_back()
        again = _answers(model, self.x)
        memory.put_back()
        if again is None or not _alike(again, before):
            return ""  # its answers vary anyway
        return (
            f"{_listed(changes)} of the model changed, and its answers with it: "
            "the attack wrote there, or the model remembers what it was asked"
        )


def _questions(model: Model, x: Tensor) -> list[Callable[[], object]]:
    """Return what makes a model write whatever it writes when it is asked."""
    x = (x if len(x) else x.new_zeros(1, *x.shape[1:]))[:2]
    columns = torch.zeros(len(x), dtype=torch.long, device=x.device)

    def with_gradients(call: Callable[..., Any], *more: Tensor) -> None:
        with exact(x.device):
            call(x.clone().requires_grad_(), *more)

    def coarse() -> None:
        with torch.autocast(x.device.type, torch.bfloat16):
            model.module(x.clone().requires_grad_())

    asked = [lambda: model.scores(x), lambda: with_gradients(model.module), coarse]
    for name in ("select", "logits", "components"):
        function = getattr(model.module, name, None)
        if callable(function):
            more = () if name == "components" else (columns,)
            asked.append(lambda function=function, more=more: with_gradients(function, *more))  # type: ignore[misc]
    return [*asked, lambda: model.scores(x)]


def _answers(model: Model, x: Tensor) -> Tensor | None:
    """Return a model's outputs on the first images; None where it fails, as it will then for the judge."""
    try:
        return model.scores(x[:2]) if len(x) else None
    except Exception:
        return None


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def _described(changes: Changes) -> str:
    """Say what an attack did to a model."""
    if any(isinstance(each, Values) for each, _ in changes):
        return f"the attack changed the model's weights or buffers, or other tensors: {_listed(changes)}"
    if any(name == "training" for _, name in changes):
        return "the attack left the model in train mode"
    if any("hook" in each.place or name == "forward" for each, name in changes):
        return f"the attack left hooks in the model, or replaced its forward: {_listed(changes)}"
    return f"the attack changed the model's parts, hooks or attributes: {_listed(changes)}"


def _listed(changes: Changes) -> str:
    return _shortened([f"{each.place}.{name}" if each.place else name for each, name in changes])


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(dict.fromkeys(names[:SHOWN])) + more
