"""Machines that are not as usual: consoles, closed streams, full disks, read-only folders, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import harness
from harness.results import read_results

from .conftest import SUITE, Command

PLUGIN = Path(__file__).parent / "plugin"
ROOT = Path(__file__).parents[2]
FULL = """\
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from harness.cli import main
raise SystemExit(main())
"""
"""The command on a disk that has room for no file of more than so many bytes."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(site: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the command as a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        *arguments: object, program: str | None = None, shell: str = "", **environment: str
    ) -> subprocess.Popen[str]:
        python = [sys.executable, *(["-m", "harness"] if program is None else ["-c", program])]
        command = [*python, *map(str, arguments)]
        if shell:
            command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
        paths = [str(ROOT), str(ROOT / "plugins"), str(PLUGIN), str(site)]
        known = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **environment}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=known, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error


ODD = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize("console", ODD)
def test_a_console_that_is_not_utf_8(start: Start, suite: Path, harness: Command, console: str) -> None:
    suite.write_text(SUITE.replace('name = "small"', 'name = "small"\ndescription = "σ → ½"'))
    status, out, error = ended(start("run", suite, "--limit", 2, **ODD[console]))
    assert (status, error) == (0, "")
    assert "8 cases attacked" in out
    assert out.isascii() or console == "cp1252"
    # The files are the same, whoever reads along.
    held = json.loads(Path("results/small/suite.json").read_bytes().decode("utf-8"))
    assert held["suite"]["description"] == "σ → ½"


@pytest.mark.parametrize(
    "arguments",
    [
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
def test_every_verb_prints_in_ascii(
    harness: Command,
    suite: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    suite.write_text(SUITE.replace('use = "linear"', 'use = "linear"\nid = "linéar–σ"'))
    harness("run", suite, "--limit", 2)
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        from harness.cli import main

        assert main(arguments) == 0
    text = (tmp_path / "out").read_text("ascii")
    assert len(text) > 100
    if "json" in "".join(arguments):  # programs lose nothing
        assert {row["model"] for row in json.loads(text)["leaderboard"]} == {"linéar–σ"}
    elif arguments[0] in ("show", "plan"):
        assert "lin?ar-?" in text


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


def test_a_reader_that_leaves_costs_no_work(start: Start, suite: Path) -> None:
    process = start("run", suite, "--limit", 2, "--set", "attack.step.eps=1e-9", shell="| true")
    status, _, error = ended(process)
    assert (status, error) == (0, "")
    assert read_results("results/small").cells()["status"].eq("done").all()


@pytest.mark.parametrize("closed", ["<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(start: Start, suite: Path, closed: str) -> None:
    status, out, error = ended(start("run", suite, "--limit", 2, shell=closed))
    assert (status, out, error) == (0, "", "")
    read_results("results/small").samples()


def test_a_full_disk_behind_standard_output_is_told_at_the_end(start: Start, suite: Path) -> None:
    status, _, error = ended(start("run", suite, "--limit", 2, shell="> /dev/full"))
    assert status == 2
    assert error == "harness: standard output cannot be written: No space left on device\n"
    assert read_results("results/small").cells()["status"].eq("done").all()


def test_a_results_disk_that_is_full(start: Start, harness: Command, suite: Path) -> None:
    # Lists and cells fit, records with pictures do not.
    status, out, error = ended(start(9000, "run", suite, "--set", "shard_size=24", program=FULL))
    assert (status, out) == (2, "")
    assert len(error.splitlines()) == 1
    assert error.startswith("harness: results/small/")
    assert "cannot be written: File too large" in error
    assert not list(Path("results").rglob("*.tmp"))
    again = harness("run", suite, "--set", "shard_size=24")
    assert again.status == 0
    assert "96 cases attacked" in again.out


def test_a_cache_that_is_full_loses_no_training(
    start: Start, suite: Path, harness: Command, tmp_path: Path
) -> None:
    cache = {"HARNESS_CACHE": str(tmp_path / "full")}
    suite.write_text(SUITE.replace("keep = true", "keep = false"))
    status, out, error = ended(start(9000, "run", suite, program=FULL, **cache))
    assert status == 0
    assert "96 cases attacked" in out
    (line,) = error.splitlines()
    assert line.startswith("harness: the cache does not keep linear-")
    assert "weights.safetensors cannot be written: File too large" in line
    before = read_results("results/small").cells()
    again = harness("run", suite)  # with a cache that has room: the same weights, the same cells
    assert "nothing was left to do" in again.out
    assert list(read_results("results/small").cells()["cell"]) == list(before["cell"])


def test_a_cache_that_cannot_be_written(
    harness: Command, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    ran = harness("run", suite, "--limit", 2)
    assert ran.status == 0
    assert "8 cases attacked" in ran.out
    (line,) = ran.err.splitlines()
    assert "Not a directory" in line
    assert "used in this run alone" in line


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


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")])
def test_a_signal_ends_a_run_as_an_interruption_does(
    start: Start, harness: Command, suite: Path, number: int, name: str
) -> None:
    suite.write_text(SUITE.replace('use = "still"', 'use = "pgd"\nsteps = 3000\nearly_stop = false'))
    process = start("run", suite)
    folder = Path("results/small")
    deadline = time.monotonic() + 60
    while len(list(folder.glob("samples/*/part-*"))) < 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    shown = harness("show", folder)  # while it runs
    assert (shown.status, shown.err) == (0, "")
    assert f"the run of process {process.pid} is under way: " in shown.out
    process.send_signal(number)
    status, out, error = ended(process)
    assert (status, out) == (128 + number, "")
    assert error == f"harness: stopped by {name}; finished shards are kept, run it again to continue\n"
    assert set(read_results(folder).cells()["status"]) == {"done", "partial"}
    assert (folder / "leaderboard.parquet").is_file()
    assert not list(folder.rglob("*.tmp"))
    assert "the run is not finished: 1 of 2 cells done; run the suite again" in harness("show", folder).out


def test_readers_see_a_run_before_its_first_cell_is_done(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.session import executor

    seen = []

    def attack(*arguments: object, **more: object) -> object:
        if not seen:
            board = read_results("results/small").leaderboard()
            seen.append(set(board["coverage"]))
        return run_shard(*arguments, **more)

    run_shard = executor.run_shard
    monkeypatch.setattr(executor, "run_shard", attack)
    assert harness("run", suite, "--limit", 2).status == 0
    assert seen == [{0.0}]


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
    from harness.files import lock

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
