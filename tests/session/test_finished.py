"""A finished run is not gone through again, and anything that it depends on makes it so again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import catalog
from harness.dataset import Dataset
from harness.files import say
from harness.model import Model
from harness.options import Options, options
from harness.session.finished import FILE, Summary, _stamp, earlier
from harness.session.session import run_suite
from tests.cli.conftest import PLUGIN, SUITE, Command, harness

__all__ = ["harness"]

FOLDER = Path("results/small")
CONSTANT = """\
schema = 1
name = "constant"

[[dataset]]
use = "synthetic-faces"
size = [16, 16]
count = 20

[[model]]
use = "majority"

[[attack]]
use = "noise"
norm = "linf"
eps = "8/255"
attributes = ["Male"]
"""


@pytest.fixture(autouse=True)
def _unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests were told is none of these runs' business."""
    monkeypatch.setattr("harness.files._said", set())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of the test's own, which it may damage."""
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _own_cache(_installed: None, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(cache))


@pytest.fixture
def ran(suite: Path) -> Summary:
    """What is said of the suite's run, which is finished."""
    assert run_suite(suite, Options()).cases_done
    found = earlier(suite, Options())
    assert found is not None
    return found


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many batches of images are read and of answers computed from now on."""
    counted = {"images": 0, "scores": 0}

    def count(kind: type, name: str) -> None:
        own = getattr(kind, name)

        def counting(*given: Any, **named: Any) -> Any:
            counted[name] += 1
            return own(*given, **named)

        monkeypatch.setattr(kind, name, counting)

    count(Dataset, "images")
    count(Model, "scores")
    return counted


def stale(suite: Path, **named: Any) -> bool:
    """Whether the next run is gone through."""
    catalog.cache_clear()  # as the next process has it
    return earlier(suite, options(**named)) is None


def replaced(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Give a file other bytes, and the time of change that it had."""
    state = file.stat()
    file.write_bytes(change(file.read_bytes()))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def flipped(at: int) -> Callable[[bytes], bytes]:
    """A function that flips a bit of a byte."""
    return lambda held: held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :]


def test_a_second_run_reads_no_image_and_asks_no_model(
    harness: Command, suite: Path, ran: Summary, calls: dict[str, int]
) -> None:
    again = harness("run", suite)
    assert (again.status, again.err) == (0, "")
    assert again.out.endswith("nothing was left to do; 2 cells, 0 pairs skipped; results in results/small\n")
    assert calls == {"images": 0, "scores": 0}
    (FOLDER / FILE).unlink()
    assert harness("run", suite).out == again.out  # who goes the long way says the same
    assert min(calls.values()) > 0


def test_a_second_run_loads_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "constant.toml"
    file.write_text(CONSTANT)
    code = "import sys; from harness.cli import main; main(); print('torch' in sys.modules)"
    told = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", code, "run", str(file)], capture_output=True, text=True, check=True
        )
        told.append(run.stdout.splitlines()[-2:])
    assert [last for _, last in told] == ["True", "False"]
    assert told[1][0].startswith("nothing was left to do; 1 cell, ")


def test_a_run_with_analyses_says_so_again(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE + '[[analysis]]\nuse = "tally"\n')
    first, second = harness("run", suite), harness("run", suite)
    assert earlier(suite, Options()) is not None
    assert first.out.splitlines()[-1] == second.out.splitlines()[-1] == "1 analysis in results/small/analyses"


@pytest.mark.parametrize(
    ("named", "is_stale"),
    [
        ({}, False),
        ({"limit": 3}, True),
        ({"device": "cpu"}, True),
        ({"overwrite": "all"}, True),
        ({"overwrite": "failed"}, True),
        ({"shard": "1/2"}, True),
        ({"workers": 2}, True),
        ({"judge": "apart"}, True),
        ({"out": "elsewhere"}, True),
        ({"overrides": {"seed": 1}}, True),
    ],
)
def test_whoever_asks_for_something_else_runs(
    suite: Path, ran: Summary, named: dict[str, Any], is_stale: bool
) -> None:
    assert stale(suite, **named) == is_stale


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('use = "step"', 'use = "step"\nsize = 0.5'),
        ('eps = "40/255"', 'eps = "20/255"'),
        ("shard_size = 8", "shard_size = 4"),
        ("keep = true", "keep = false"),
        ('use = "tiny"', 'use = "tiny"\ncount = 50'),
    ],
)
def test_another_manifest_is_run(suite: Path, ran: Summary, before: str, after: str) -> None:
    assert before in SUITE
    suite.write_text(SUITE.replace(before, after))
    assert stale(suite)
    suite.write_text("# the same\n" + SUITE)
    assert not stale(suite)


def test_another_value_of_a_variable_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = tmp_path / "filed.toml"
    suite.write_text(SUITE.replace('use = "tiny"', 'use = "tiny-files"\nroot = "$TINY_FACES"'))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "faces").touch()
    monkeypatch.setenv("TINY_FACES", str(tmp_path / "one"))
    run_suite(suite, Options())
    assert not stale(suite)
    (tmp_path / "one" / "faces").unlink()
    assert stale(suite)  # and the run says what is missing
    monkeypatch.setenv("TINY_FACES", str(tmp_path / "two"))
    assert stale(suite)


def test_other_images_are_attacked(suite: Path, ran: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiny_faces

    drawn = tiny_faces.drawn

    def other(*, count: int = 48, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Dataset:
        dataset = drawn(count=count, seed=seed, size=size)
        object.__setattr__(dataset, "fingerprint", "another")
        return dataset

    monkeypatch.setattr(tiny_faces, "drawn", other)
    assert stale(suite)


@pytest.mark.parametrize("name", ["weights.safetensors", "card.json"])
def test_damaged_weights_are_made_again(
    harness: Command, suite: Path, ran: Summary, cache: Path, name: str, calls: dict[str, int]
) -> None:
    (file,) = cache.glob(f"zoo/linear-*/{name}")
    whole = file.read_bytes()
    replaced(file, flipped(whole.index(b"weights") if name == "card.json" else -1))
    again = harness("run", suite)
    assert again.status == 0
    assert min(calls.values()) > 0
    if name == "weights.safetensors":
        assert file.read_bytes() == whole
    shutil.rmtree(file.parent)
    assert stale(suite)


@pytest.mark.parametrize("name", ["leaderboard.parquet", "cells.parquet", "suite.json", "models.json"])
def test_a_file_of_the_folder_that_is_gone_or_newer_is_written_again(
    harness: Command, suite: Path, ran: Summary, name: str
) -> None:
    held = (FOLDER / name).read_bytes()
    (FOLDER / name).write_bytes(held[:-1])
    assert stale(suite)
    (FOLDER / name).unlink()
    assert stale(suite)
    assert harness("run", suite).status == 0
    assert (FOLDER / name).is_file()
    assert not stale(suite)


def test_a_shard_that_is_gone_is_attacked_again(harness: Command, suite: Path, ran: Summary) -> None:
    sorted(FOLDER.glob("samples/*/part-*.parquet"))[0].unlink()
    assert harness("run", suite).out.splitlines()[-1].startswith("8 cases attacked; 2 cells")


def test_a_folder_that_was_moved_is_known(suite: Path, ran: Summary) -> None:
    FOLDER.rename("moved")
    assert not stale(suite, out="moved")


def test_another_version_of_a_package_makes_it_run_again(suite: Path, ran: Summary, tmp_path: Path) -> None:
    for folder in (tmp_path / "more", tmp_path / "more" / "other-1.0.dist-info"):
        folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path / "more")
        assert stale(suite)
    assert not stale(suite)


def test_an_edit_of_a_plugin_makes_it_run_again(
    suite: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(PLUGIN, copy)
    monkeypatch.syspath_prepend(copy)
    sys.modules.pop("tiny_faces", None)
    catalog.cache_clear()
    run_suite(suite, Options())
    assert not stale(suite)
    replaced(copy / "tiny_faces.py", lambda held: held.replace(b"One step", b"1 steppe"))
    assert stale(suite)


def test_an_edit_of_the_harness_makes_it_run_again(
    suite: Path, ran: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = "leaderboard/worst_case.py"

    def later(file: Path) -> tuple[int, int]:
        size, time = _stamp(file)
        return size, time + file.as_posix().endswith(board)

    monkeypatch.setattr("harness.session.finished._stamp", later)
    assert stale(suite)
    monkeypatch.setattr("harness.session.finished._stamp", _stamp)
    assert not stale(suite)


def test_code_that_changes_during_a_run_is_no_code_of_its_results(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter(["before", "after"])
    monkeypatch.setattr("harness.session.finished._code", lambda: next(codes))
    run_suite(suite, Options())
    assert not (FOLDER / FILE).exists()


def test_no_damage_of_the_file_is_believed(suite: Path, ran: Summary) -> None:
    file = FOLDER / FILE
    whole = file.read_bytes()
    assert json.loads(whole)["cells"] == ran.cells == 2
    for at in range(len(whole)):
        file.write_bytes(flipped(at)(whole))
        assert earlier(suite, Options()) is None, at
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        assert earlier(suite, Options()) is None, length
    for odd in (b"[]", b"null", b'{"digest": "44136fa355b3678a"}', b"\xff\xfe", whole + whole):
        file.write_bytes(odd)
        assert earlier(suite, Options()) is None, odd
    file.write_bytes(whole)
    assert earlier(suite, Options()) is not None


def test_a_run_that_failed_or_is_not_whole_is_not_finished(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert harness("run", suite, "--shard", "1/2").status == 0
    assert not (FOLDER / FILE).exists()
    monkeypatch.setenv("TINY_FAULT", "Red")
    assert harness("run", suite).status == 1
    assert not (FOLDER / FILE).exists()
    assert harness("run", suite).status == 1
    monkeypatch.delenv("TINY_FAULT")
    assert harness("run", suite, "--overwrite", "failed").status == 0
    assert harness("run", suite).status == 0
    assert (FOLDER / FILE).exists()
    assert harness("run", suite, "--shard", "1/2").status == 0
    assert not (FOLDER / FILE).exists()  # whoever writes to the folder, the run is not known again


def test_what_a_run_warned_of_is_said_again(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = run_suite.__globals__["open_datasets"]

    def told(*given: Any) -> Any:
        say("the disk is slow")
        return own(*given)

    monkeypatch.setitem(run_suite.__globals__, "open_datasets", told)
    for _ in range(2):
        monkeypatch.setattr("harness.files._said", set())
        assert harness("run", suite).status == 0
    assert caplog.messages == ["the disk is slow"] * 2


def test_a_model_that_brings_its_own_weights_is_asked_each_time(suite: Path) -> None:
    suite.write_text(SUITE.replace('use = "linear"', 'use = "untrained"'))
    run_suite(suite, Options())
    assert not (FOLDER / FILE).exists()
