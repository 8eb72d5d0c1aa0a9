"""The cache keeps what was trained or fitted, and the finished parts of a training that was killed.

What is learned is never lost to the cache: where that is full or read-only, it is used from memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file

from harness.errors import UnwritableError
from harness.files import digest_of_file, lock, say, sweep, write_text, write_whole
from harness.options import cache_folder
from harness.parameters import digest_of, jsonable
from harness.training import Context, StateDict

Report = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned has weights, the digest of their file, and a card; the file may not be there."""

    weights: StateDict
    digest: str
    """sha256 of the weights file, or of what it would hold."""
    card: Mapping[str, Any]
    file: Path | None
    """The weights file; None where the cache could not keep it."""


def known(folder: Path) -> Learned | None:
    """Return what lies in a folder of the cache; None where nothing does, or where it is damaged."""
    card_file, file = folder / "card.json", folder / "weights.safetensors"
    if not card_file.is_file():
        return None
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        digest = digest_of_file(file)
        if card.get("weights", digest) != digest:
            raise ValueError("its weights are not those that it names")
        return Learned(load_file(file), digest, card, file)
    except (OSError, ValueError, AttributeError, SafetensorError) as error:
        say(f"{folder} is damaged ({' '.join(str(error).split())[:80]}); it is made again")
        return None


def learned(folder: Path, busy: str, learn: Callable[[], tuple[StateDict, dict[str, Any]]]) -> Learned:
    """Return what lies in a folder of the cache, or what is now learned, and keep that there if possible.

    Args:
        busy: begins the message where another process holds the folder.
        learn: returns weights and card.
    """
    there = known(folder)
    if there is not None:
        return there
    with _held(folder, busy) as writable:
        there = known(folder) if writable else None
        if there is not None:  # another process has learned it meanwhile
            return there
        state, card = learn()
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        digest = hashlib.sha256(save(weights)).hexdigest()
        text = json.dumps({**card, "weights": digest}, indent=2)
        file = folder / "weights.safetensors"
        kept = writable and _kept(file, weights, text)
        return Learned(weights, digest, json.loads(text), file if kept else None)


def _kept(file: Path, weights: StateDict, card: str) -> bool:
    """Write weights and card, if the cache has room for them."""
    try:
        write_whole(file, lambda aside: save_file(weights, aside))
        # The card comes last: where it is, the weights are whole.
        write_text(file.with_name("card.json"), card)
    except UnwritableError as error:
        _say_unkept(error, file.parent)
        return False
    return True


@contextmanager
def _held(folder: Path, busy: str) -> Iterator[bool]:
    """Hold the lock of a folder of the cache; yield whether it can be written."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(folder / ".lock", busy, wait=True))
        except UnwritableError as error:
            if isinstance(error.__cause__, NotADirectoryError | FileExistsError):
                raise  # $HARNESS_CACHE names a file: a mistake, and not the machine's
            _say_unkept(error, folder)
            yield False
        else:
            yield True


def _say_unkept(error: UnwritableError, folder: Path) -> None:
    say(f"the cache does not keep {folder.name}, which is used in this run alone: {error}")


def learning_context(known: Mapping[str, Any], seed: int, device: torch.device, report: Report) -> Context:
    """Return what a recipe is given; its finished parts are kept, whatever other parts are trained.

    Args:
        known: the identity of the whole. A part does not depend on which other parts are asked for, so the
            whole's "parameters" are no part of its identity.
    """
    parts = cache_folder() / "zoo" / "parts"
    sweep(parts)  # a state that a killed process was writing is as large as the one that it left
    whole = {key: value for key, value in known.items() if key != "parameters"}

    def file_of(part: Mapping[str, Any], suffix: str) -> Path:
        return parts / f"{digest_of({**whole, 'part': jsonable(part)})}{suffix}"

    def unit(part: Mapping[str, Any], make: Callable[[], StateDict]) -> StateDict:
        path = file_of(part, ".safetensors")
        if path.is_file():
            try:
                return load_file(path)
            except (OSError, SafetensorError) as error:
                say(f"{path} is damaged ({' '.join(str(error).split())[:80]}); it is made again")
        made = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in make().items()}
        try:
            write_whole(path, lambda aside: save_file(made, aside))
        except UnwritableError as error:
            say(f"{error}; this part of {whole.get('model', 'a fit')} is not kept")
        return made

    def state(part: Mapping[str, Any]) -> Path:
        return file_of(part, ".state.safetensors")

    return Context(seed, device, report, unit, state if _writable(parts) else None)


def _writable(folder: Path) -> bool:
    """Say whether files can be made in a folder; whether they fit is another matter."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
