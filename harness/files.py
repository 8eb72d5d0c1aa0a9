"""Files are written to a temporary name, flushed and renamed; locks end when their process ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from harness.errors import HarnessError, UnwritableError

_TRIES = 5
"""How often a lock is asked for: others hold it for an instant to see whether it is held."""
_LOST = {errno.EIO, errno.ENOSPC, errno.EDQUOT}
"""Errors of fsync that say that data is lost, and not that the file system has no fsync."""
_said: set[str] = set()


def say(line: str, once: str | None = None) -> None:
    """Tell the user a line, once per process: the command line prints it on standard error.

    Args:
        once: what the line is of, where lines that differ say the same of it.
    """
    if (once or line) not in _said:
        _said.add(once or line)
        logging.getLogger("harness").warning(line)


def said_nothing() -> bool:
    """Say whether the user was told no line in this process."""
    return not _said


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file and rename it to ``path``, so that no reader sees half of it.

    Raises:
        UnwritableError: the system refuses, for example because the disk is full.
    """
    aside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        with aside.open("rb") as written:
            _flush(written, path)
        aside.replace(path)
    except Exception as error:
        reason = _reason(error, aside)
        if reason is None:
            raise
        raise UnwritableError(f"{path} cannot be written: {reason}{_remedy(reason)}") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _flush(written: IO[bytes], path: Path) -> None:
    """Flush a file to the disk, where the file system can."""
    try:
        os.fsync(written.fileno())
    except OSError as error:
        if error.errno in _LOST:
            raise
        say(
            f"{path.parent}: this file system refuses fsync ({error.strerror}); files are complete unless "
            "the machine itself stops",
            once=f"fsync of {os.fstat(written.fileno()).st_dev}",
        )


def _reason(error: Exception, aside: Path) -> str | None:
    """Return what the system said, or None where the error is another; some libraries only quote it."""
    if isinstance(error, OSError):
        if error.filename is not None and Path(os.fsdecode(error.filename)) not in (aside, *aside.parents):
            return None
        return os.strerror(error.errno) if error.errno else str(error)
    quoted = re.search(r"\(os error (\d+)\)", str(error))  # safetensors
    return os.strerror(int(quoted[1])) if quoted else None


def _remedy(reason: str) -> str:
    full = {os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)}
    if reason in full:
        return "; free some space there and run it again: what is finished is kept"
    return "; make it writable, or name another folder"


def sweep(folder: Path) -> None:
    """Remove temporary files under ``folder`` that killed processes of this machine left behind."""
    host = socket.gethostname()
    for left in folder.rglob(".*.tmp"):
        owner = left.name.rsplit(".", 3)
        if len(owner) == 4 and f".{host}." in left.name and not alive(owner[-2]):
            with contextlib.suppress(OSError):  # a folder that is read-only
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(path: Path, busy: str, *, wait: bool = False, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file; the system releases it when the process ends, however it ends.

    Where the file system refuses locks, this is said, and nothing is locked: files appear whole, so that two
    processes do work twice, but spoil nothing.

    Args:
        shared: others may hold it too, if they ask for a shared one.

    Raises:
        UnwritableError: there can be no such file.
        HarnessError: another process holds the lock and ``wait`` is false; ``busy`` begins its message.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = path.open("a+", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnwritableError(f"{path.parent} cannot be written: {reason}{_remedy(reason)}") from error
    with held:
        if not _locked(held, path, wait=wait, shared=shared):
            held.seek(0)
            raise HarnessError(f"{busy} (process {_owner(held.read())})") from None
        with contextlib.suppress(OSError):  # a full disk: nobody learns who holds it
            held.truncate(0)
            held.write(f"{os.getpid()}\n{socket.gethostname()}\n")
            held.flush()
        yield


def _locked(held: IO[str], path: Path, *, wait: bool, shared: bool) -> bool:
    """Lock an open file, or say that this cannot be had; return False where another process holds it."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    for _ in range(_TRIES):
        try:
            fcntl.flock(held, kind | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            time.sleep(0.02)
        except OSError as error:
            say(
                f"{path}: this file system refuses locks ({error.strerror}); going on without: let no second "
                "process write there at the same time",
                once=f"locks of {os.fstat(held.fileno()).st_dev}",
            )
            return True
        else:
            return True
    return False


def holder(path: Path) -> str | None:
    """Return the process that holds a lock, "unknown" where it did not tell, or None where nobody does."""
    try:
        with path.open(encoding="utf-8") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _owner(opened.read())
    except (OSError, ValueError):
        pass
    return None


def _owner(text: str) -> str:
    """Return who holds a lock, as it says itself: a process, and its machine where that is another one."""
    process, *machine = text.split() or ["unknown"]
    return process if machine in ([], [socket.gethostname()]) else f"{process} on {machine[0]}"


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole, in UTF-8 wherever it is written."""

    def fill(aside: Path) -> None:
        # Names of files may hold bytes that are no characters.
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")

    write_whole(path, fill)


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def locks_work(path: Path) -> bool:
    """Say whether the file system of a file has locks."""
    try:
        with path.open(encoding="utf-8") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def alive(process: str) -> bool:
    """Say whether a process of this machine lives, or a number is none that can be told."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError, OverflowError):
        return True
    return True
