"""Runs the command line in processes of its own that have imported the libraries before they begin."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = ("harness.session.session", "harness.shards.worker", "harness.cli", "harness.run")
CONTEXT.set_forkserver_preload([*IMPORTED, "tests.cli.forking"])


@dataclass(frozen=True)
class Command:
    """A started command, whose output goes to files."""

    process: ForkServerProcess
    out: Path
    err: Path

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self.process.is_alive()

    def ended(self, timeout: float) -> tuple[int | None, str, str]:
        """Its status, None where it goes on after the timeout, standard output and standard error."""
        self.process.join(timeout)
        return self.process.exitcode, self.out.read_text(), self.err.read_text()

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.join()


def start(arguments: list[str], environment: Mapping[str, str], paths: list[str], folder: Path) -> Command:
    """Start the command line with these variables and these folders before the others on the path."""
    out, err = (folder / f"{len(list(folder.iterdir()))}.{name}" for name in ("out", "err"))
    for file in (out, err):
        file.touch()
    process = CONTEXT.Process(target=_run, args=(arguments, dict(environment), paths, out, err))
    process.start()
    return Command(process, out, err)


def _run(
    arguments: list[str], environment: dict[str, str], paths: list[str], out: Path, err: Path
) -> None:  # in the new process
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = paths
    for file, descriptor in ((out, 1), (err, 2)):
        opened = os.open(file, os.O_WRONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    from harness.cli import main

    sys.exit(main(arguments))


def run_shard(folder: Path, cell: int, identity: str, shard: int) -> int | None:
    """Run a shard of a cell in a process of its own, from folder and cache alone; its status."""
    process = CONTEXT.Process(
        target=_run_shard, args=(dict(os.environ), list(sys.path), folder, cell, identity, shard)
    )
    process.start()
    process.join()
    return process.exitcode


def _run_shard(
    environment: Mapping[str, str], paths: list[str], folder: Path, cell: int, identity: str, shard: int
) -> None:  # in the new process
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = paths
    import torch

    from harness.session.executor import Work, in_process
    from harness.shards.preparation import rebuilt
    from harness.store import Store

    torch.set_num_threads(1)
    prepared = rebuilt(folder, torch.device("cpu"))
    job = prepared.job(prepared.planned.cells[cell])
    assert job.id == identity, job.id
    list(in_process(Store(folder))([Work(job, (shard,), lambda cases: None)]))


class Python:
    """Stands for ``subprocess.Popen`` of ``python -c``, without streams: the libraries are there already."""

    def __init__(self, command: Sequence[str], *, pass_fds: Sequence[int], **_: object) -> None:
        _, _, code, *arguments = command
        ends = {str(end): Connection(os.dup(end)) for end in pass_fds}
        self._process = CONTEXT.Process(
            target=_run_code, args=(code, arguments, ends, dict(os.environ), os.getcwd())
        )
        self._process.start()
        for end in ends.values():
            end.close()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its status, None where it goes on."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its status once it ends."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("python -c", timeout or 0.0)
        return self._process.exitcode


def _run_code(
    code: str,
    arguments: Sequence[str],
    ends: Mapping[str, Connection],
    environment: Mapping[str, str],
    folder: str,
) -> None:  # in the new process, in which the ends of pipes have other numbers
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    numbers = {end: str(connection.fileno()) for end, connection in ends.items()}
    sys.argv = ["-c", *(numbers.get(argument, argument) for argument in arguments)]
    exec(code, {"__name__": "__main__"})
