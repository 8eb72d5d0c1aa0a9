"""The judge's side of attacks that run in processes of their own: none of their code is run in this one.

Attacks of one distribution share a process, which is started again if it dies, or if an attack broke its
contract. Everything that comes back is checked: images have the shape and type that was asked for, and are
judged; counts are whole numbers; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import errors
from harness.cases.cases import Cases
from harness.catalog import Catalog, Entry, Section
from harness.errors import AttackError, CatalogError, DatasetError, HarnessError
from harness.handle import Meter
from harness.judge.trial import Attacked, Elsewhere
from harness.manifest import Table
from harness.plan import Plan
from harness.plan.resolved import resolved
from harness.shards.channel import Channel
from harness.shards.context import CellContext
from harness.shards.records import ToldError, ToldMemoryError
from harness.shards.wire import COUNTS, FINDERS, Array, GarbledError, parameter, plain
from harness.specs import AttackSpec, Judge

_LARGEST_MASK = 1 << 30  # bytes
_MOST = 2**31 - 1
"""The most passes that a record can hold."""


class Attackers:
    """Attackers are the processes in which attacks run, one for each distribution that provides some."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._suites: dict[str, dict[str, Any]] = {}
        self._setting: dict[str, Any] = {}
        self._regions: dict[tuple[Any, ...], Tensor] = {}

    def catalog(self, known: Catalog) -> Catalog:
        """Return the catalogue in which nothing of an attack but its spec can be had."""
        distant = [Distant(entry.spec, entry.plugin, self) for entry in known.attacks.values()]
        return replace(known, attacks=Section("attacks", distant, known.broken))

    def resolve(
        self, table: Table, entry: Entry[AttackSpec], preset: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """Return the parameters of an attack for every combination of a table's values.

        Raises:
            HarnessError: a parameter is unknown or wrong, or the attack cannot be imported.
        """
        asked = [table.kind, table.place, plain(table.values), dict(table.unset)]
        head = {"do": "resolve", "entry": entry.qualified, "table": asked, "preset": plain(preset)}
        told, _ = self._ask(entry, head)
        if "error" in told:
            kind, text = _named(told)
            known = getattr(errors, kind, None)
            expected = isinstance(known, type) and issubclass(known, HarnessError)
            raise (known if expected and known else CatalogError)(text)
        try:
            found = [parameter(values) for values in told["parameters"]]
        except (GarbledError, KeyError, TypeError) as error:
            raise CatalogError(f"{table.place}: its process told no parameters") from error
        if not all(isinstance(values, dict) for values in found):
            raise CatalogError(f"{table.place}: its process told no parameters")
        return found

    def brief(self, planned: Plan, limit: int | None, device: torch.device) -> None:
        """Tell what later requests are about; a process learns of no attacks of other distributions."""
        whole = resolved(planned)
        others = dict.fromkeys(("transfer", "exclude", "measure", "analysis"), ()) | {"order_by": None}
        for table, choice in zip(whole["attack"], planned.attacks, strict=True):
            name = choice.entry.plugin.distribution
            own = self._suites.setdefault(name, {**whole, **others, "attack": []})
            own["attack"].append(table)
        self._setting = {"limit": limit, "device": str(device), "threads": torch.get_num_threads()}

    def remote(self, context: CellContext, cases: Cases, learning: int | None) -> Elsewhere:
        """Return the attack of a cell on some cases; it learns on the first so many of them."""
        return Elsewhere(lambda x, clean: self._attacked(context, cases, learning, x, clean))

    def region(self, entry: Distant, height: int, width: int, values: Mapping[str, Any]) -> Tensor:
        """Return the mask of an attack with a region of its own; it is asked for once."""
        asked = {"height": height, "width": width, "parameters": plain(values)}
        key = entry.qualified, str(asked)
        if key not in self._regions:
            head = {"do": "region", "entry": entry.qualified, **asked}
            told, arrays = self._ask(entry, head, _LARGEST_MASK)
            if "error" in told:
                raise _told(told)
            if len(arrays) != 1:
                raise AttackError(f"the region of {entry.qualified} is missing")
            self._regions[key] = torch.from_numpy(arrays[0] != 0)
        return self._regions[key]

    def close(self) -> None:
        """End all processes."""
        for channel in self._channels.values():
            channel.close()

    def _attacked(
        self, context: CellContext, cases: Cases, learning: int | None, x: Tensor, clean: Tensor
    ) -> Attacked:
        cell = context.cell
        channel = self._channel(cell.attack.entry)
        channel.begin()
        if channel.fresh:
            self._tell_suite(channel, cell.attack.entry)
        head: dict[str, Any] = {
            "do": "attack",
            "dataset": cell.dataset.label,
            "model": cell.model.label,
            "attack": cell.attack.label,
            "threat": cell.attack.threat.label,
            "weights": context.weights,
            "goal": cases.goal,
            "targets": cases.targets,
            "keys": cases.keys,
            "learning": learning,
        }
        given = [x.cpu().numpy(), clean.cpu().numpy(), cases.rows, cases.columns, cases.labels]
        references = context.references_of(cases)
        if references is not None:
            head["threshold"] = references.threshold
            given += [references.anchors.cpu().numpy(), references.images.cpu().numpy()]
            if references.negatives is not None:
                head["moving"] = references.moving
                given.append(references.negatives.cpu().numpy())
        told, arrays = channel.ask(head, given, x.numel() * 4 + len(x) * len(COUNTS) * 8)
        if "error" in told:
            if told.get("harm"):
                channel.close()
            raise _told(told)
        try:
            return _checked(told, arrays, x)
        except GarbledError as error:
            raise AttackError(f"the attack's process sent no images: {error}") from error

    def _channel(self, entry: Entry[AttackSpec]) -> Channel:
        return self._channels.setdefault(entry.plugin.distribution, Channel())

    def _ask(
        self, entry: Entry[AttackSpec], head: Mapping[str, Any], most: int = 0
    ) -> tuple[dict[str, Any], list[Array]]:
        return self._channel(entry).ask(head, (), most)

    def _tell_suite(self, channel: Channel, entry: Entry[AttackSpec]) -> None:
        """Tell a new process what the suite attacks."""
        suite = self._suites[entry.plugin.distribution]
        told, _ = channel.ask({"do": "suite", "suite": suite, **self._setting})
        if "error" in told:
            _, text = _named(told)
            raise DatasetError(f"the attack's process cannot prepare the suite again: {text}")
        channel.fresh = False


@dataclass(frozen=True)
class Distant(Entry[AttackSpec]):
    """A distant entry has its code in another process."""

    attackers: Attackers = field(repr=False, compare=False)

    def load(self, target: str) -> Any:
        """Refuse to import the code.

        Raises:
            CatalogError: always.
        """
        raise CatalogError(f'"{self.qualified}" is judged apart: {target} is not imported by the judge')

    def call(self, target: str, *given: Any, values: Mapping[str, Any]) -> Any:
        """Return the mask of an attack with a region of its own, for a height and a width."""
        if target != self.spec.region:
            return self.load(target)
        height, width = given
        return self.attackers.region(self, height, width, values)


@contextmanager
def attackers(judge: Judge) -> Iterator[Attackers | None]:
    """Yield the processes of attacks while a suite is judged apart; None where attacks run here."""
    if judge == "here":
        yield None
        return
    found = Attackers()
    try:
        yield found
    finally:
        found.close()


def _named(told: Mapping[str, Any]) -> tuple[str, str]:
    """Return the kind and the text of an error that another process told of."""
    match told["error"]:
        case [str(kind), str(text)] if kind.isidentifier():
            return kind, " ".join(text.split())
    return "AttackError", "the attack's process told of an error that cannot be read"


def _told(told: Mapping[str, Any]) -> ToldError:
    kind, text = _named(told)
    return (ToldMemoryError if told.get("memory") is True else ToldError)(f"{kind}: {text}")


def _checked(told: Mapping[str, Any], arrays: Sequence[Array], x: Tensor) -> Attacked:
    """Return what an attack left, if it has the form of what was asked for."""
    wanted = [("<f4", tuple(x.shape)), ("<i8", (len(COUNTS), len(x)))]
    if [(array.dtype.str, array.shape) for array in arrays] != wanted:
        raise GarbledError("their shapes or types are others")
    seconds, counts = told.get("seconds"), arrays[1]
    if not isinstance(seconds, float) or not 0 <= seconds < inf:
        raise GarbledError("it took no time")
    if (counts < np.array([[0], [0], [0], [-1], [-1]])).any() or (counts > _MOST).any():
        raise GarbledError("its passes cannot be counted")
    finders = told.get("finders")
    if not isinstance(finders, list) or len(finders) > FINDERS or (counts[-1] >= len(finders)).any():
        raise GarbledError("what found its images is not told")
    if not all(isinstance(finder, str) and 0 < len(finder) <= FINDERS for finder in finders):
        raise GarbledError("what found its images has no name")
    meter = Meter(len(x))
    meter.finders = finders
    for name, row in zip(COUNTS, counts, strict=True):
        setattr(meter, name, torch.from_numpy(row))
    return Attacked(torch.from_numpy(arrays[0]).to(x.device), meter, seconds)
