"""Claims say which process runs which shard of a results folder, so that no two run the same.

Each process has a file of its own, which it holds locked while it lives: what a killed process claimed is
free again at once. Where the file system has no locks, processes of this machine are known by their number,
and those of others count as alive for some minutes after they last claimed something. Two processes that
claim one shard in spite of this do work twice; files appear whole, and nothing else happens.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

from harness.errors import UnwritableError
from harness.files import alive, holder, lock, locks_work

_SILENT = 900.0
"""Seconds after which a process of another machine that says nothing counts as dead, where locks fail."""
_numbers = count()


@dataclass(frozen=True)
class Worker:
    """A worker is a process that runs shards of a folder."""

    process: int
    machine: str
    since: float
    """Seconds since 1970."""
    doing: str = ""
    """What it does when it runs no shard, such as "training moon"."""
    cell: str | None = None
    shard: int | None = None
    began: float = 0.0

    @property
    def title(self) -> str:
        """Return its process, and its machine where that is another one."""
        here = self.machine == socket.gethostname()
        return str(self.process) if here else f"{self.process} on {self.machine}"


class Claims:
    """Claims are those of one process on the shards of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._me = Worker(os.getpid(), socket.gethostname(), time.time())
        number = next(_numbers)
        self._file = folder / f".worker-{self._me.machine}-{self._me.process}-{number}"
        self._held = ExitStack()

    def __enter__(self) -> Claims:
        with suppress(UnwritableError):  # nobody learns of it
            self._held.enter_context(lock(self._file, f"{self._file} is held"))
        self._tell(self._me)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
        self._held.close()

    def claim(self, cell: str, shard: int) -> bool:
        """Claim a shard; return whether it is this process's to run."""
        with ExitStack() as stack:
            with suppress(UnwritableError):
                stack.enter_context(lock(self._folder / ".claiming", "claims are made", wait=True))
            for file, other in _living(self._folder):
                if file != self._file and (other.cell, other.shard) == (cell, shard):
                    return False
            self._tell(replace(self._me, cell=cell, shard=shard, began=time.time(), doing=""))
        return True

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say what this process does meanwhile."""
        self._tell(replace(self._me, doing=what, began=time.time()))
        try:
            yield
        finally:
            self._tell(self._me)

    def release(self) -> None:
        """Give a claimed shard up, finished or not."""
        self._tell(self._me)

    def _tell(self, worker: Worker) -> None:
        with suppress(OSError), self._file.open("r+", encoding="utf-8") as opened:
            opened.write(json.dumps(asdict(worker)) + "\n")  # what is left of a longer text is not read
            opened.truncate()


def workers(folder: Path) -> list[Worker]:
    """Return the processes that run shards of a folder now, on all machines."""
    return [worker for _, worker in _living(folder)]


def clear_claims(folder: Path) -> None:
    """Remove the files of processes of this machine that are dead."""
    for file in folder.glob(f".worker-{socket.gethostname()}-*"):
        if not alive(file.name.rsplit("-", 2)[1]):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _living(folder: Path) -> Iterator[tuple[Path, Worker]]:
    for file in sorted(folder.glob(".worker-*")):
        try:
            text = file.read_text(encoding="utf-8")
            told = Worker(**json.loads(text.splitlines()[0]))
            silent = time.time() - file.stat().st_mtime
        except (OSError, ValueError, TypeError, IndexError):  # it ends, or is being written
            continue
        if locks_work(file):
            if holder(file) is not None:
                yield file, told
        elif alive(str(told.process)) if told.machine == socket.gethostname() else silent < _SILENT:
            yield file, told
