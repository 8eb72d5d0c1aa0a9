"""Output goes where it went before the attack, whatever an attack has done to it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


class Streams:
    """Streams are those of Python's output, and the files behind them.

    Closing one has no effect until they are put back.
    """

    def __init__(self) -> None:
        self.streams = {name: getattr(sys, name) for name in ("stdout", "stderr", "__stdout__", "__stderr__")}
        self.harmed = False
        self._locked = []
        for stream in self.streams.values():
            with suppress(AttributeError, TypeError):
                stream.close = self._refuse
                self._locked.append(stream)
        self.copies = {}
        for number in (1, 2):
            with suppress(OSError):  # it is closed already
                self.copies[number] = os.dup(number)

    def _refuse(self) -> None:
        self.harmed = True

    def put_back(self, changed: list[str]) -> None:
        """Put back what was replaced, closed or sent elsewhere; add to the names of what had changed."""
        for stream in self._locked:
            with suppress(AttributeError):
                del stream.close
        for number, copy in self.copies.items():
            if not _one_file(number, copy):
                os.dup2(copy, number)
                self.harmed = True
            os.close(copy)
        for name, stream in self.streams.items():
            if getattr(stream, "closed", False):
                stream = open(1 if "out" in name else 2, "w", errors="replace", closefd=False)  # noqa: SIM115
            if getattr(sys, name) is not stream:
                setattr(sys, name, stream)
                self.harmed = True
        if self.harmed:
            changed.append("output")


def _one_file(one: int, other: int) -> bool:
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:  # closed
        return False
