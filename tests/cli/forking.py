"""Runs the command line in processes of its own that have imported the libraries before they begin."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["harness.session.session", "harness.cli", "harness.run", "tests.cli.forking"])


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
