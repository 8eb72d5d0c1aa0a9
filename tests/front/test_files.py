"""Files that appear whole, leftovers that are swept, and locks that end with their holder."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import HarnessError, UnwritableError
from harness.files import digest_of_file, holder, lock, sweep, write_text, write_whole

OLD, NEW = b"old" * 1000, b"new" * 100_000

WRITER = """
import sys, time
from pathlib import Path
from harness.files import write_whole

def half(aside):
    with aside.open("wb") as opened:
        opened.write(b"new" * 50_000)
        opened.flush()
        print("half", flush=True)
        time.sleep(60)

write_whole(Path(sys.argv[1]), half)
"""

HOLDER = """
import sys, time
from pathlib import Path
from harness.files import lock

with lock(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def process(program: str, argument: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of that program that has said its word and now waits."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(argument)], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline()
            yield running
        finally:
            running.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    write_whole(path, lambda aside: aside.write_bytes(OLD) and None)
    write_whole(path, lambda aside: aside.write_bytes(NEW) and None)
    assert path.read_bytes() == NEW
    assert names(path.parent) == ["file"]


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "σ = ½\n")
    assert (tmp_path / "file").read_bytes() == "σ = ½\n".encode()


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existing", [True, False])
def test_failure_leaves_nothing_behind(tmp_path: Path, failure: type[BaseException], existing: bool) -> None:
    path = tmp_path / "file"
    if existing:
        path.write_bytes(OLD)

    def fail(aside: Path) -> None:
        aside.write_bytes(NEW)
        raise failure

    with pytest.raises(failure):
        write_whole(path, fail)
    assert names(tmp_path) == (["file"] if existing else [])
    assert not existing or path.read_bytes() == OLD


def test_while_it_is_written_readers_see_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def write(aside: Path) -> None:
        with aside.open("wb") as opened:
            for part in range(0, len(NEW), 100_000):
                opened.write(NEW[part : part + 100_000])
                opened.flush()
                assert path.read_bytes() == OLD
                assert aside.parent == tmp_path  # a rename across file systems would be a copy

    write_whole(path, write)
    assert path.read_bytes() == NEW


def test_killed_writer_leaves_the_old_file_and_what_sweep_removes(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file.parquet"
    path.parent.mkdir()
    path.write_bytes(OLD)
    with process(WRITER, path) as writer:
        assert path.read_bytes() == OLD
        assert len(names(path.parent)) == 2
        sweep(tmp_path)  # the writer lives
        assert len(names(path.parent)) == 2
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert path.read_bytes() == OLD
        assert len(names(path.parent)) == 2
        # no pattern that collects results takes the leftover for one
        assert list(path.parent.glob("*.parquet")) == [path]
        sweep(tmp_path)
    assert names(path.parent) == ["file.parquet"]
    assert path.read_bytes() == OLD


def test_sweep_takes_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    host = socket.gethostname()
    kept = [
        f".file.another-{host}-host.{gone.pid}.tmp",  # its process cannot be asked from here
        f".file.{host}.{os.getpid()}.tmp",
        f".file.{host}.{os.getppid()}.tmp",
        f".file.{host}.1.tmp",  # alive, and of somebody else
        f".file.{host}.none.tmp",
        f".file.{host}.{2**70}.tmp",
        f"file.{host}.{gone.pid}.tmp",  # not hidden: not ours
        ".hidden.tmp",
        "part-0.parquet",
    ]
    left = [f".file.{host}.{gone.pid}.tmp", f".part-0.parquet.{host}.{gone.pid}.tmp"]
    for name in kept + left:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == sorted(set(kept))  # in a container, the parent may be process 1
    sweep(tmp_path / "missing")


def test_lock_refuses_a_second_process_and_names_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    with process(HOLDER, path) as holder:
        message = rf"^results are being written \(process {holder.pid}\)$"
        with pytest.raises(HarnessError, match=message), lock(path, "results are being written"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with lock(path, "results are being written"):
            assert path.read_text().split() == [str(os.getpid()), socket.gethostname()]


def test_lock_is_released_however_its_body_ends(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with pytest.raises(ZeroDivisionError), lock(path, "busy"):
        raise ZeroDivisionError
    message = f"busy .process {os.getpid()}"
    with lock(path, "busy"), pytest.raises(HarnessError, match=message), lock(path, "busy"):
        pass
    with lock(path, "busy"):
        pass


def test_waiting_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with process(HOLDER, path) as holder:
        killer = subprocess.Popen(
            [sys.executable, "-c", f"import os, time; time.sleep(.2); os.kill({holder.pid}, 9)"]
        )
        with lock(path, "busy", wait=True):
            assert path.read_text().split() == [str(os.getpid()), socket.gethostname()]
        killer.wait()


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(NEW)
    assert digest_of_file(tmp_path / "file") == hashlib.sha256(NEW).hexdigest()


# --- odd file systems -------------------------------------------------------------------------------------


def refusing(number: int) -> Callable[..., None]:
    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told by the way; each line once."""
    monkeypatch.setattr("harness.files._said", set())
    return caplog.messages


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_fsync_is_told_of_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: object,
    number: int,
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(number))
    for name in ("one", "two", "folder/three"):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}: this file system refuses fsync ({os.strerror(number)})")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_data_that_fsync_loses_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(number))
    with pytest.raises(UnwritableError, match=f"^{tmp_path}/file cannot be written: {os.strerror(number)}; "):
        write_text(tmp_path / "file", "text")
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: object,
    number: int,
) -> None:
    monkeypatch.setattr("harness.files.fcntl.flock", refusing(number))
    for wait, name in ((False, ".lock"), (True, ".lock"), (False, ".publishing")):
        with lock(tmp_path / name, "busy", wait=wait):
            pass
    (line,) = caplog.messages
    assert line.startswith(
        f"{tmp_path}/.lock: this file system refuses locks ({os.strerror(number)}); going on"
    )


@pytest.mark.parametrize("library", [OSError(errno.ENOSPC, "write"), RuntimeError("I/O error (os error 28)")])
def test_a_full_disk_is_named_with_the_file_and_the_remedy(tmp_path: Path, library: Exception) -> None:
    def fill(aside: Path) -> None:
        aside.write_bytes(NEW)
        raise library

    with pytest.raises(UnwritableError) as caught:
        write_whole(tmp_path / "file", fill)
    assert str(caught.value) == (
        f"{tmp_path}/file cannot be written: No space left on device; free some space there and run it "
        "again: what is finished is kept"
    )
    assert names(tmp_path) == []


def test_another_file_that_fails_is_not_taken_for_the_one_that_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "file", lambda aside: (tmp_path / "missing").read_bytes() and None)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for act in (
        lambda: write_text(tmp_path / "file" / "deep" / "file", ""),
        lambda: lock(tmp_path / "file" / ".lock", "busy").__enter__(),
    ):
        with pytest.raises(UnwritableError, match=r"cannot be written: (Not a directory|File exists); make"):
            act()


def test_who_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert holder(path) is None
    with lock(path, "busy"):
        assert holder(path) == str(os.getpid())
        path.write_text("17\nnode-3\n")
        assert holder(path) == "17 on node-3"
    assert holder(path) is None
    with lock(path, "busy", shared=True), lock(path, "busy", shared=True):
        pass


def test_who_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    looker = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_SH); "
        "print('held', flush=True); time.sleep(0.03)"
    )
    with process(looker, path), lock(path, "busy"):
        pass


def test_text_with_bytes_that_are_no_characters(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "a\udcff")
    assert (tmp_path / "file").read_text() == "a\\udcff"
