"""A channel leads to a process that is asked one thing at a time, and may die or send anything."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from harness.errors import AttackError
from harness.shards.wire import Array, GarbledError, packed, unpacked

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from importlib import import_module; "
    "import_module(sys.argv[4]).main(int(sys.argv[1]), int(sys.argv[2]))"
)
_LOOK = 1000
"""Milliseconds after which a process that says nothing is looked at: its pipe may outlive it."""
_GRACE = 5.0
"""Seconds in which a process that closed its pipe may end by itself, so that its exit status is known."""


class _SilentError(Exception):
    """The process ended, or closed its pipe."""


class Channel:
    """A channel starts its process when it is needed, and again after it was lost.

    The process has this one's environment, folder and import path, but a session of its own, so that Ctrl-C
    reaches this process alone, and no streams, so that nothing it prints disturbs a display. It ends when
    this process does, however that ends.
    """

    def __init__(
        self, module: str = "harness.shards.worker", environment: Mapping[str, str] | None = None
    ) -> None:
        """Lead to a process that runs the ``main`` of a module, with some variables of its own."""
        self._module, self._environment = module, dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._to, self._from = -1, -1
        self._number = 0
        self.fresh = True
        """Whether the process knows nothing yet; who tells it of a suite says so here."""

    def begin(self) -> None:
        """Start the process if there is none, or none that lives."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        theirs, self._to = os.pipe()
        self._from, back = os.pipe()
        os.set_blocking(self._to, False)
        command = [sys.executable, "-c", _BOOT, str(theirs), str(back), json.dumps(sys.path), self._module]
        nothing = subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                command,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                pass_fds=(theirs, back),
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
        finally:
            os.close(theirs)
            os.close(back)
        self.fresh = True

    def ask(
        self, head: Mapping[str, Any], arrays: Sequence[Array] = (), most: int = 0
    ) -> tuple[dict[str, Any], list[Array]]:
        """Return the answer to a request.

        Args:
            most: the most bytes that the arrays of the answer may have.

        Raises:
            AttackError: the process ended, or sent no answer; the next request starts another.
        """
        self.begin()
        self._number += 1
        try:
            for piece in packed({**head, "number": self._number}, arrays):
                self._write(piece)
            told, found = unpacked(self._read, most)
            if told.pop("number", None) != self._number:
                raise GarbledError("it belongs to another request")
        except GarbledError as error:
            self.close()
            raise AttackError(f"the attack's process sent an answer that cannot be read: {error}") from None
        except (_SilentError, OSError):
            raise AttackError(f"the attack's process {self._end()}; it is started again") from None
        except BaseException:  # Ctrl-C, in the middle of an answer
            self.close()
            raise
        return told, found

    def close(self) -> None:
        """End the process, and what it started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._process = None

    def kill(self) -> None:
        """End the process from another thread than the one that asks, which then finds it gone."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _end(self) -> str:
        """End the process, and return how it ended by itself."""
        assert self._process is not None
        try:
            status = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.close()
            return "closed its pipe"
        self.close()
        if status >= 0:
            return f"ended with exit status {status}"
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"

    def _write(self, piece: memoryview) -> None:
        while piece:
            self._await(self._to, select.POLLOUT)
            with suppress(BlockingIOError):
                piece = piece[os.write(self._to, piece) :]

    def _read(self, size: int) -> bytearray:
        found = bytearray(size)
        left = memoryview(found)
        while left:
            self._await(self._from, select.POLLIN)
            count = os.readv(self._from, [left])
            if not count:
                raise _SilentError
            left = left[count:]
        return found

    def _await(self, end: int, event: int) -> None:
        """Wait until a pipe is ready; a process that ended with nothing left to read raises."""
        assert self._process is not None
        poll = select.poll()
        poll.register(end, event)
        while not poll.poll(_LOOK):
            if self._process.poll() is not None:
                raise _SilentError
