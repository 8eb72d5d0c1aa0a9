"""A command lives in a process: what its streams cannot take, and signals that end it, are dealt with here.

Work is never lost to a stream: a console that cannot show a character shows another, and a reader that has
gone is not written to. Signals that ask a process to end become an exception, as Ctrl-C does.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from harness.errors import printable

_SIGNS = {
    "–": "-",
    "—": "-",
    "−": "-",
    "‐": "-",
    "×": "x",
    "·": "|",
    "…": "...",
    "⚑": "!",
    "✓": "+",
    "✗": "x",
}
_SIGNS |= {"“": '"', "”": '"', "‘": "'", "’": "'", "≥": ">=", "≤": "<=", "→": "->", "±": "+-", "∞": "inf"}
_COLOUR = re.compile(r"(\x1b\[[\d;]*m)")
"""The only control sequences that verbs write on standard output."""
_HANDLER = "harness-console"
_ENDING = ("SIGTERM", "SIGHUP")


class Stopped(BaseException):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stream:
    """A stream writes what its console can show, and goes on in silence when nobody reads any more."""

    def __init__(self, inner: TextIO, *, plain: bool) -> None:
        self._inner, self._plain = inner, plain
        self.fault = ""
        """Why it could not be written, other than that its reader has gone."""

    def write(self, text: str) -> int:
        """Write a text; of a plain stream, control characters that are no colours stand as escapes."""
        shown = text
        if self._plain:
            parts = _COLOUR.split(text)
            shown = "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))
        self._try(lambda: self._inner.write(shown))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._try(self._inner.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _try(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except BrokenPipeError:
            self._leave()
        except (OSError, ValueError) as error:  # no space, or a closed stream
            self.fault = self.fault or (getattr(error, "strerror", None) or str(error))
            self._leave()

    def _leave(self) -> None:
        """Let what is left, and what is still to come, go nowhere: else Python complains when it ends."""
        with contextlib.suppress(OSError, ValueError):
            number = self._inner.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def is_unicode(stream: TextIO | None = None) -> bool:
    """Say whether a stream, by default standard output, can take any character."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    return str(encoding).lower().startswith("utf")


@contextlib.contextmanager
def streams() -> Iterator[Stream]:
    """Make standard output and error such that writing to them fails no verb; yield standard output."""
    _open_closed()
    codecs.register_error(_HANDLER, _replaced)
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        wrapped = []
        for stream, plain in zip(before, (True, not (sys.stderr and sys.stderr.isatty())), strict=True):
            if stream is None:  # it was closed when Python began
                stream = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(_tolerant(stream))
            wrapped.append(Stream(stream, plain=plain))
        stack.enter_context(_told())
        sys.stdout, sys.stderr = cast(tuple[TextIO, TextIO], tuple(wrapped))
        try:
            yield wrapped[0]
        finally:
            for stream in wrapped:
                stream.flush()
            sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Open the three standard files where they are closed: else a results file would take their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one


@contextlib.contextmanager
def _tolerant(stream: TextIO) -> Iterator[None]:
    """Let a stream replace what its encoding lacks, unless the user has said how it should."""
    if not isinstance(stream, io.TextIOWrapper) or stream.errors not in ("strict", "surrogateescape"):
        yield
        return
    errors = stream.errors
    stream.reconfigure(errors=_HANDLER)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(errors=errors)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SIGNS.get(character, "?") for character in text), error.end


class _Lines(logging.Handler):
    """Prints what the harness says by the way, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"harness: {printable(record.getMessage())}", file=sys.stderr)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    log, lines = logging.getLogger("harness"), _Lines()
    log.addHandler(lines)
    try:
        yield
    finally:
        log.removeHandler(lines)


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Raise ``Stopped`` where a signal asks this process to end; a second one ends it at once."""
    before: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        raise Stopped(number)

    for name in _ENDING:
        number = getattr(signal, name)
        # One that is ignored, as by nohup, stays so; only the main thread may ask for signals.
        with contextlib.suppress(ValueError):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
