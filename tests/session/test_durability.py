"""Workers on odd disks: full, read-only, without locks. One line says so, and what is finished is kept."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from harness.cli import main
from harness.errors import UnwritableError
from harness.files import lock
from harness.options import Options
from harness.session.elsewhere.pool import pooled
from harness.session.elsewhere.processes import Process, processes
from harness.session.session import run_suite
from harness.shards import channel
from harness.store.survey import survey
from tests.cli import forking

from .test_executor import samples

NO_LOCKS = """
import errno, fcntl, os
def refuse(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = refuse
"""
READ_ONLY = Path("/sys")
"""A file system of the system's own, in which nobody makes files."""

Begin = Callable[..., list[Process]]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """A function that gives two workers, in whose processes some code runs first."""
    made: list[Process] = []

    def workers(first: str = "") -> list[Process]:
        class Python(forking.Python):
            def __init__(self, command: list[str], **more: Any) -> None:
                interpreter, flag, code, *arguments = command
                super().__init__([interpreter, flag, first + code, *arguments], **more)

        kind = type("subprocess", (), {**vars(subprocess), "Popen": Python})
        monkeypatch.setattr(channel, "subprocess", kind)
        made.extend(processes(2, torch.device("cpu")))
        return made

    yield workers
    for one in made:
        one.close()


@pytest.fixture
def here(suite: Path, tmp_path: Path) -> pd.DataFrame:
    """The records of a run that nothing befell."""
    return samples(run_suite(suite, Options(out=tmp_path / "here")).folder)


def parts(folder: Path) -> dict[Path, int]:
    """The shards that are there, and when each was written."""
    return {part: part.stat().st_mtime_ns for part in folder.glob("samples/*/part-*.parquet")}


def goes_on(suite: Path, folder: Path, whole: pd.DataFrame) -> None:
    """A run after the fault does what is left, and nothing again."""
    kept = parts(folder)
    assert kept
    assert survey(folder, every=True).damaged == ()
    assert not [file for file in folder.rglob(".*.tmp") if file.is_file()]
    more = run_suite(suite, Options(out=folder))
    assert 0 < more.cases_done < len(whole)
    assert kept.items() <= parts(folder).items()
    pd.testing.assert_frame_equal(samples(folder), whole)


class Crowded:
    """A hand whose disk is full once it has run so many shards."""

    def __init__(self, inner: Process, room: int) -> None:
        self.inner, self.room = inner, room

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        if not self.room:
            process = self.inner._channel._process
            assert process is not None
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        self.room -= 1
        return self.inner.run(task)

    def stop(self) -> None:
        self.inner.stop()


def test_a_disk_that_fills_up_under_workers(
    suite: Path, here: pd.DataFrame, begin: Begin, tmp_path: Path
) -> None:
    hands = [Crowded(worker, room=2) for worker in begin()]
    folder = tmp_path / "there"
    with pytest.raises(UnwritableError) as told:
        run_suite(suite, Options(out=folder), executor=lambda store: pooled(store, hands))
    (line,) = str(told.value).splitlines()
    assert line.startswith(f"{folder}/samples/")
    assert ".parquet cannot be written: File too large; " in line
    assert 2 <= len(parts(folder)) <= 4
    goes_on(suite, folder, here)


def test_a_folder_that_turns_read_only_under_workers(
    suite: Path, here: pd.DataFrame, begin: Begin, tmp_path: Path
) -> None:
    folder, hands = tmp_path / "there", begin()
    last = sorted((tmp_path / "here" / "samples").iterdir(), key=lambda cell: cell.stat().st_mtime)[-1].name
    (folder / "samples").mkdir(parents=True)
    (folder / "samples" / last).symlink_to(READ_ONLY)
    with pytest.raises(UnwritableError) as told:
        run_suite(suite, Options(out=folder), executor=lambda store: pooled(store, hands))
    (line,) = str(told.value).splitlines()
    assert line.startswith(f"{folder}/samples/{last}/part-")
    assert line.endswith("; make it writable, or name another folder")
    (folder / "samples" / last).unlink()
    goes_on(suite, folder, here)


def test_workers_are_not_begun_where_nothing_can_be_written(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(suite), "--workers", "2", "--out", str(READ_ONLY / "results")]) == 2
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith(f"harness: {READ_ONLY}/results cannot be written: ")
    assert told.out == ""


def test_workers_where_the_file_system_has_no_locks(
    suite: Path,
    here: pd.DataFrame,
    begin: Begin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("harness.files.fcntl.flock", refuse)
    monkeypatch.setattr("harness.files._said", set())
    hands, folder, asked = begin(NO_LOCKS), tmp_path / "there", []

    def seen(store: Any) -> Any:
        def execute(works: Any) -> Iterator[Any]:
            for done in pooled(store, hands, asked)(works):
                found = survey(folder)  # while others write, and nobody holds a lock
                assert found.workers
                assert found.damaged == ()
                yield done

        return execute

    ran = run_suite(suite, Options(out=folder), executor=seen)
    assert ran.cases_done == len(here)
    assert len({answer["process"] for answer in asked}) == 2
    pd.testing.assert_frame_equal(samples(folder), here)
    assert not list(folder.glob(".worker-*"))
    (line,) = caplog.messages
    assert "this file system refuses locks (No locks available); going on without" in line


def test_no_two_processes_publish_at_the_same_time(suite: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    options = Options(out=folder, shard=(1, 2), limit=2)
    with ThreadPoolExecutor(1) as other:
        with lock(folder / ".publishing", "another process publishes"):
            share = other.submit(run_suite, suite, options)
            while not (folder / "suite.json").is_file() and not share.done():
                time.sleep(0.01)
            time.sleep(0.3)  # cells are published before anything is attacked
            assert not share.done()
            assert not (folder / "cells.parquet").exists()
        assert share.result().cases_done > 0
    assert survey(folder).count("finished")
