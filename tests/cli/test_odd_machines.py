"""Machines that are not as usual: consoles, closed streams, full disks, read-only folders, signals."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import harness
from harness.cli import main
from harness.cli.process import signals
from harness.errors import UnwritableError
from harness.files import lock, write_whole
from harness.results import read_results
from harness.session import executor
from harness.session.executor import run_shard
from harness.shards.context import CellContext

from .conftest import SUITE, Command

PLUGIN = Path(__file__).parent / "plugin"
ROOT = Path(__file__).parents[2]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """A disk that has room for no file of more than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def in_process(site: Path, shell: str, *arguments: object, **environment: str) -> tuple[int, str, str]:
    """Run the command in a process of its own, with redirections as a shell writes them."""
    paths = [str(ROOT), str(ROOT / "plugins"), str(PLUGIN), str(site)]
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **environment}
    command = ["sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-m", "harness", *map(str, arguments)]
    ran = subprocess.run(command, env=known, capture_output=True, text=True, check=False, timeout=120)
    return ran.returncode, ran.stdout, ran.stderr


def to_stream(stream: TextIO, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process, with that standard output."""
    with stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        return main([str(argument) for argument in arguments])


def test_a_console_that_is_not_utf_8(site: Path, suite: Path) -> None:
    suite.write_text(SUITE.replace('name = "small"', 'name = "small"\ndescription = "σ → ½"'))
    console = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    status, out, error = in_process(site, "", "run", suite, "--limit", 2, **console)
    assert (status, error) == (0, "")
    assert "8 cases attacked" in out
    assert out.isascii()
    # The files are the same, whoever reads along.
    held = json.loads(Path("results/small/suite.json").read_bytes().decode("utf-8"))
    assert held["suite"]["description"] == "σ → ½"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "small.toml", "--limit", "2"],
        ["show", "results/small"],
        ["show", "results/small", "--json"],
        ["export", "results/small", "--format", "md"],
        ["export", "results/small", "--format", "json"],
        ["plan", "small.toml"],
        ["ls", "attacks"],
        ["info", "attack", "tiny/step"],
        ["verify", "results/small"],
    ],
    ids=lambda arguments: "-".join(arguments[:1] + arguments[2:]),
)
def test_every_verb_prints_what_a_console_can_show(
    suite: Path,
    begun: Callable[..., Path],
    arguments: list[str],
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    suite.write_text(SUITE.replace('use = "linear"', 'use = "linear"\nid = "linéar–σ"'))
    begun("--limit", "2")
    out = tmp_path / "out"
    assert to_stream(out.open("w", encoding=encoding), monkeypatch, *arguments) == 0
    text = out.read_text(encoding)
    assert text
    if "json" in "".join(arguments):  # programs lose nothing
        assert {row["model"] for row in json.loads(text)["leaderboard"]} == {"linéar–σ"}
    elif arguments[0] in ("show", "plan", "run"):
        assert {"ascii": "lin?ar-?", "cp1252": "linéar–?"}[encoding] in text


def test_control_characters_reach_no_terminal(
    harness: Command, suite: Path, refused: Callable[..., str]
) -> None:
    suite.write_text(SUITE.replace('use = "linear"', 'use = "linear"\nid = "a\\u001b[2Jb\\u0007"'))
    for arguments in (["run", suite, "--limit", 2], ["show", "results/small"], ["plan", suite]):
        ran = harness(*arguments)
        assert "\x1b" not in ran.out + ran.err
        assert "\x07" not in ran.out + ran.err
        assert "a\\x1b[2Jb" in ran.out
    assert "\\x1b[2J" in refused("show", "no\x1b[2Jthing")


def test_a_reader_that_leaves_costs_no_work(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert to_stream(os.fdopen(writer, "w"), monkeypatch, "run", suite, "--limit", 2) == 0
    assert read_results("results/small").cells()["status"].eq("done").all()
    suite.write_text(SUITE + '\n[[attack]]\nuse = "corner"\nshare = 0.01\n')  # which fails
    reader, writer = os.pipe()
    os.close(reader)
    assert to_stream(os.fdopen(writer, "w", 1), monkeypatch, "run", suite, "--limit", 2) == 1


def test_closed_streams(site: Path, suite: Path) -> None:
    assert in_process(site, "<&- >&- 2>&-", "run", suite, "--limit", 2) == (0, "", "")
    assert len(read_results("results/small").samples()) == 8


def test_no_file_of_results_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os, sys; from harness.cli.process import streams\n"
        "with streams(): print('lost'); number = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "os.write(number, str(number).encode())"
    )
    command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code, str(tmp_path / "file")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert int((tmp_path / "file").read_text()) > 2


def test_a_full_disk_behind_standard_output_is_told_at_the_end(
    suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    assert to_stream(full, monkeypatch, "run", suite, "--limit", 2) == 2
    error = capsys.readouterr().err
    assert error == "harness: standard output cannot be written: No space left on device\n"
    assert read_results("results/small").cells()["status"].eq("done").all()


def test_a_results_disk_that_is_full(harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def attack(*arguments: object, **more: object) -> object:
        if made:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        made.append(run_shard(*arguments, **more))
        return made[-1]

    with room_for(resource.RLIM_INFINITY), monkeypatch.context() as patched:
        patched.setattr(executor, "run_shard", attack)
        ran = harness("run", suite)
    assert (ran.status, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("harness: results/small/samples/")
    assert "/part-00001.parquet cannot be written: File too large" in line
    assert not list(Path("results").rglob("*.tmp"))
    again = harness("run", suite)
    assert again.status == 0
    assert "88 cases attacked" in again.out


def test_a_cache_that_is_full_loses_no_training(
    harness: Command, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("HARNESS_CACHE", str(tmp_path / "full"))

        def full(aside: Path, *arguments: object) -> None:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

        patched.setattr("harness.zoo.cache.save_file", full)
        ran = harness("run", suite)
    assert ran.status == 0
    assert "96 cases attacked" in ran.out
    (line,) = ran.err.splitlines()
    assert line.startswith("harness: the cache does not keep linear-")
    assert "weights.safetensors cannot be written: No space left on device; free some space" in line
    # With a cache that has room: the same weights, the same cells.
    assert "nothing was left to do" in harness("run", suite).out


@pytest.mark.parametrize("library", ["safetensors", "pyarrow", "text"])
def test_every_library_that_finds_a_disk_full_names_the_file(tmp_path: Path, library: str) -> None:
    many = np.random.default_rng(0).bytes(100_000)
    write = {
        "safetensors": lambda aside: save_file({"a": torch.rand(25_000)}, aside),
        "pyarrow": lambda aside: pq.write_table(pa.table({"a": [many]}), aside),
        "text": lambda aside: aside.write_bytes(many) and None,
    }
    with room_for(9000), pytest.raises(UnwritableError, match=r"/file cannot be written: File too large; "):
        write_whole(tmp_path / "file", write[library])
    assert not list(tmp_path.iterdir())


def test_a_cache_that_is_read_only(
    harness: Command, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *arguments: object, **more: object) -> None:
        reason = OSError(errno.EROFS, os.strerror(errno.EROFS))
        raise UnwritableError(f"{path} cannot be written: {reason.strerror}") from reason

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "own"))
    for name in ("lock", "write_whole"):
        monkeypatch.setattr(f"harness.zoo.cache.{name}", refuse)
    ran = harness("run", suite, "--limit", 2)
    assert ran.status == 0
    assert "8 cases attacked" in ran.out
    (line,) = ran.err.splitlines()
    assert line.startswith("harness: the cache does not keep linear-")
    assert "which is used in this run alone: " in line
    assert line.endswith("/.lock cannot be written: Read-only file system")


def test_a_cache_that_holds_everything_is_only_read(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness("run", suite, "--limit", 2)

    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("nothing is to be locked or written")

    monkeypatch.setattr("harness.zoo.cache.lock", refuse)
    monkeypatch.setattr("harness.zoo.cache.write_whole", refuse)
    assert harness("run", suite, "--limit", 3).status == 0


@pytest.mark.parametrize("damage", ["weights", "card", "list"])
def test_damaged_weights_are_trained_again(
    harness: Command, suite: Path, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "own"))
    harness("run", suite, "--limit", 2)
    (folder,) = (tmp_path / "own" / "zoo").glob("linear-*")
    whole = (folder / "weights.safetensors").read_bytes()
    if damage == "weights":
        (folder / "weights.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        (folder / "card.json").write_text({"card": '{"name"', "list": "[]"}[damage])
    ran = harness("run", suite, "--limit", 2)
    assert ran.status == 0
    assert "nothing was left to do" in ran.out
    (line,) = ran.err.splitlines()
    assert f"{folder} is damaged" in line
    assert (folder / "weights.safetensors").read_bytes() == whole
    assert harness("run", suite, "--limit", 2).err == ""


@pytest.fixture
def heard(number: signal.Signals) -> Iterator[None]:
    """The signal ends a process, as it does unless nohup started it."""
    before = signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_an_interruption_does(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    shown = []

    def attack(context: CellContext, *arguments: object, **more: object) -> object:
        if context.cell.attack.label == "still":
            shown.append(harness("show", "results/small"))  # while it runs
            os.kill(os.getpid(), number)
        return run_shard(context, *arguments, **more)

    monkeypatch.setattr(executor, "run_shard", attack)
    before = signal.getsignal(number)
    ran = harness("run", suite)
    assert signal.getsignal(number) is before
    assert (ran.status, ran.out) == (128 + number, "")
    told = f"harness: stopped by {number.name}; finished shards are kept, run it again to continue\n"
    assert ran.err == told
    (during,) = shown
    assert (during.status, during.err) == (0, "")
    assert f"the run of process {os.getpid()} is under way: " in during.out
    assert list(read_results("results/small").cells()["status"]) == ["done", "partial"]
    assert Path("results/small/leaderboard.parquet").is_file()
    after = harness("show", "results/small").out
    assert "the run is not finished: 1 of 2 cells done; run the suite again to continue" in after
    monkeypatch.setattr(executor, "run_shard", run_shard)
    assert "48 cases attacked" in harness("run", suite).out
    assert "not finished" not in harness("show", "results/small").out


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_readers_see_a_run_before_its_first_cell_is_done(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def attack(*arguments: object, **more: object) -> object:
        if not seen:
            board = read_results("results/small").leaderboard()
            seen.append(set(board["coverage"]))
        return run_shard(*arguments, **more)

    monkeypatch.setattr(executor, "run_shard", attack)
    assert harness("run", suite, "--limit", 2).status == 0
    assert seen == [{0.0}]


def test_the_board_of_an_earlier_run_is_not_shown_while_another_process_is_at_it(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness("run", suite, "--limit", 2)
    next(Path("results/small/samples").glob("*/part-*")).unlink()
    results = read_results("results/small")
    assert set(results.leaderboard()["coverage"]) == {1.0}
    monkeypatch.setattr("harness.results.holder", lambda path: "1")
    assert results.leaderboard()["coverage"].min() == 0.0


def test_a_run_that_has_nothing_to_show_says_so(
    refused: Callable[..., str], suite: Path, monkeypatch: pytest.MonkeyPatch, harness: Command
) -> None:
    told = []
    opened = "harness.session.session.open_datasets"

    def opening(*arguments: object, **more: object) -> None:
        told.append(refused("show", "results/small"))
        raise KeyboardInterrupt

    monkeypatch.setattr(opened, opening)
    assert harness("run", suite).status == 130
    assert told == [
        f'"results/small": the run of process {os.getpid()} is opening its data sets, and has no results '
        "yet; look again when it attacks"
    ]
    line = refused("export", "results/small", "--format", "md")
    assert line.endswith("its run was stopped before it had results; run it again")


def test_a_whole_run_and_a_share_of_it_keep_each_other_out(suite: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with (
        lock(folder / ".lock", "busy", shared=True),
        pytest.raises(harness.HarnessError, match="another run"),
    ):
        harness.run(suite, out=folder)
    with lock(folder / ".lock", "busy"), pytest.raises(harness.HarnessError, match="another run"):
        harness.run(suite, out=folder, shard="1/2")
    with lock(folder / ".lock", "busy", shared=True):
        harness.run(suite, out=folder, shard="1/2", limit=2)


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 5000, "seed = " + "9" * 5000],
    ids=["nested", "long"],
)
def test_a_manifest_without_end(refused: Callable[..., str], suite: Path, text: str) -> None:
    suite.write_text(text)
    assert refused("plan", suite).startswith(f"{suite} is not valid TOML: ")
    suite.write_text(SUITE)
    assert "must be" in refused("plan", suite, "--set", text.replace("x = ", "seed=").replace(" ", ""))


def test_a_device_without_numbers(refused: Callable[..., str], suite: Path) -> None:
    assert refused("run", suite, "--device", "meta").startswith('device "meta" holds no numbers')
