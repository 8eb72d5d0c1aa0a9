"""An attack's process: it makes the models of a suite again, runs attacks on them, and judges nothing.

What it is asked for comes from the judge. What it answers is checked there, and believed only where it
concerns the attack itself: its images, which are judged, its costs, and its errors.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch

from harness.cases import GOALS
from harness.cases.cases import Cases
from harness.cases.comparisons import References
from harness.catalog import Entry, catalog
from harness.errors import NO_IMAGES, ContractError, HarnessError, ManifestError, ModelError
from harness.judge.region import with_region
from harness.judge.trial import run_attack
from harness.judge.verdict import images_of
from harness.manifest import Table
from harness.model import out_of_memory
from harness.parameters import check
from harness.plan.attacks import AttackChoice, resolve
from harness.shards.context import ReadyModel
from harness.shards.memory import keep_freed_memory
from harness.shards.preparation import Preparation, prepared_again
from harness.shards.wire import COUNTS, Array, GarbledError, packed, parameter, plain, unpacked
from harness.specs import AttackSpec
from harness.threat import Threat

Answer = tuple[dict[str, Any], Sequence[Array]]


def main(requests: int, replies: int) -> None:
    """Answer requests, one after the other, until the judge closes its pipe or ends.

    Args:
        requests, replies: the ends of two pipes, as file descriptors.
    """
    serve(requests, replies, Worker().answer)


def serve(requests: int, replies: int, answer: Callable[[dict[str, Any], list[Array]], Answer]) -> None:
    """Answer requests with what a function returns, or with the error that it raises."""
    keep_freed_memory()
    inbox: SimpleQueue[tuple[dict[str, Any], list[Array]]] = SimpleQueue()
    # A thread listens, so that the process ends with the judge even while an attack runs.
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    while True:
        head, arrays = inbox.get()
        try:
            told, sent = answer(head, arrays)
        except BaseException as error:
            told, sent = told_error(error), ()
        for piece in packed({**told, "number": head["number"]}, sent):
            while piece:
                piece = piece[os.write(replies, piece) :]


def _listen(requests: int, inbox: SimpleQueue[tuple[dict[str, Any], list[Array]]]) -> None:
    def read(size: int) -> bytearray:
        found = bytearray()
        while len(found) < size:
            part = os.read(requests, min(size - len(found), 1 << 20))
            if not part:
                os._exit(0)
            found += part
        return found

    try:
        while True:
            inbox.put(unpacked(read))
    except (OSError, GarbledError):  # something closed the pipe, or read from it
        os._exit(1)


def told_error(error: BaseException) -> dict[str, Any]:
    """Return what the judge is told of an error."""
    text = " ".join(str(error).split())
    # What broke the contract may have left something behind; wrong images alone leave nothing.
    harm = isinstance(error, ContractError) and not text.startswith(NO_IMAGES)
    if not isinstance(error, Exception):  # sys.exit
        text, harm = f"the attack tried to end its process ({text})", True
    return {
        "error": [type(error).__name__, text[:10_000]],
        "memory": out_of_memory(error),
        "harm": harm,
    }


class Worker:
    """A worker keeps what it made ready for later requests: the data sets and models of the suite."""

    def __init__(self) -> None:
        self._prepared: Preparation | None = None

    def answer(self, head: Mapping[str, Any], arrays: Sequence[Array]) -> Answer:
        """Return the answer to one request; whatever it raises is the answer, too."""
        match head["do"]:
            case "resolve":
                return self._resolve(head)
            case "region":
                return self._region(head)
            case "suite":
                torch.set_num_threads(head["threads"])
                self._prepared = prepared_again(head["suite"], head["limit"], torch.device(head["device"]))
                return {}, ()
            case _:
                return self._attack(head, arrays)

    def _resolve(self, head: Mapping[str, Any]) -> Answer:
        kind, place, values, unset = head["table"]
        table = Table(kind, place, parameter(values), {key: tuple(pair) for key, pair in unset.items()})
        found = resolve(table, _entry(head), parameter(head["preset"]))
        return {"parameters": [plain(values) for values in found]}, ()

    def _region(self, head: Mapping[str, Any]) -> Answer:
        entry, size = _entry(head), (head["height"], head["width"])
        values = check(entry.qualified, parameter(head["parameters"]), entry.parameters(), ManifestError)
        mask = with_region(entry, values, Threat(), size).mask
        return {}, () if mask is None else (mask.cpu().to(torch.uint8).numpy(),)

    def _attack(self, head: Mapping[str, Any], arrays: Sequence[Array]) -> Answer:
        assert self._prepared is not None
        choice, ready = self._choice(head), self._model(head)
        entry, model = choice.entry, ready.trained.model
        x, clean = (torch.from_numpy(array).to(model.device) for array in arrays[:2])
        rows, columns, labels = arrays[2:5]
        references = None
        if "threshold" in head:
            anchors, faces, *more = (torch.from_numpy(array).to(model.device) for array in arrays[5:])
            negatives = more[0] if more else None
            moving = head.get("moving", False)
            references = References(anchors, faces, head["threshold"], negatives, moving)
        cases = Cases(head["goal"], rows, tuple(head["targets"]), columns, labels, tuple(head["keys"]))
        attacked = run_attack(
            model,
            entry.load(entry.spec.run),
            x,
            GOALS[cases.goal].as_goal(cases, references).objective(model, clean),
            with_region(entry, choice.parameters, choice.threat, (x.shape[2], x.shape[3])),
            seed=self._prepared.planned.suite.seed,
            keys=cases.keys,
            parameters=entry.arguments(entry.spec.run, choice.parameters),
            following=entry.spec.following(choice.parameters),
            compute=choice.compute,
            fit=None if head["learning"] is None else torch.arange(len(x)) < head["learning"],
        )
        images = images_of(attacked.returned, x).cpu().numpy()
        counts = np.stack([getattr(attacked.meter, name).cpu().numpy() for name in COUNTS])
        return {"seconds": attacked.seconds, "finders": attacked.meter.finders}, (images, counts)

    def _choice(self, head: Mapping[str, Any]) -> AttackChoice:
        assert self._prepared is not None
        wanted = head["attack"], head["threat"]
        attacks = self._prepared.planned.attacks
        return next(choice for choice in attacks if (choice.label, choice.threat.label) == wanted)

    def _model(self, head: Mapping[str, Any]) -> ReadyModel:
        assert self._prepared is not None
        planned = self._prepared.planned
        dataset = next(choice for choice in planned.datasets if choice.label == head["dataset"])
        model = next(choice for choice in planned.models if choice.label == head["model"])
        try:
            ready = self._prepared.model(dataset, model)
        except HarnessError as error:
            raise ModelError(f"the attack's process cannot make {model.label} again: {error}") from error
        if ready.trained.digest != head["weights"]:
            raise ModelError(
                f"{model.label} has other weights in the attack's process than in the judge's; "
                "its build must depend on nothing but its parameters and torch's seed"
            )
        return ready


def _entry(head: Mapping[str, Any]) -> Entry[AttackSpec]:
    return catalog().attacks[head["entry"]]
