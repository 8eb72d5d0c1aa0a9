"""Files are written to a temporary name, flushed and renamed; locks end when their process ends."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import HarnessError


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file and rename it to ``path``, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        write(aside)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary files under ``folder`` that killed processes of this machine left behind."""
    host = socket.gethostname()
    for left in folder.rglob(".*.tmp"):
        owner = left.name.rsplit(".", 3)
        if len(owner) == 4 and f".{host}." in left.name and not _alive(owner[-2]):
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(path: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock on a file; the system releases it when the process ends, however it ends.

    Raises:
        HarnessError: another process holds the lock and ``wait`` is false; ``busy`` begins its message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held.seek(0)
            raise HarnessError(f"{busy} (process {held.read().strip() or 'unknown'})") from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole."""

    def fill(aside: Path) -> None:
        aside.write_text(text, encoding="utf-8")

    write_whole(path, fill)


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError, OverflowError):
        return True
    return True
