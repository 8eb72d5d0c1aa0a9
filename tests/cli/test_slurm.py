"""The job script for Slurm, run by bash as Slurm would run it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from .conftest import Command
from .test_status import records, shards

HARNESS = """\
#!/bin/bash
exec {python} {cli} "$@"
"""
CLI = """\
import json, os, sys, time
with open(os.environ["SEEN"], "a") as seen:
    seen.write(json.dumps([sys.argv[1:], os.environ["OMP_NUM_THREADS"]]) + "\\n")
if os.environ.get("LONG"):
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    open(os.environ["SEEN"] + ".begun", "w").close()
    time.sleep(30)
"""


@pytest.fixture
def script(harness: Command, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the job script of some flags; its harness only notes how it was called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "cli.py").write_text(CLI)
    for name, text in (
        ("harness", HARNESS.format(python=sys.executable, cli=tmp_path / "cli.py")),
        ("scontrol", '#!/bin/bash\necho "$@" >> "$SEEN.requeued"\n'),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))

    def write(*flags: str) -> Path:
        ran = harness("slurm", suite, *flags)
        assert (ran.status, ran.err) == (0, ""), ran
        path = tmp_path / "job.sh"
        path.write_text(ran.out)
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
        return path

    return write


def task(path: Path, number: int) -> subprocess.Popen[bytes]:
    """Start a task of the array."""
    known = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_JOB_ID": "77", "SLURM_CPUS_PER_TASK": "3"}
    return subprocess.Popen(["bash", str(path)], env={**os.environ, **known}, cwd="/")


def test_a_task_runs_its_share(script: Callable[..., Path], suite: Path, tmp_path: Path) -> None:
    flags = ("--limit", "4", "--set", "attack.step.size=0.5", "--out", "results/a b", "--judge", "apart")
    path = script("--array", "5", *flags, "--time", "1:00:00", "--gres", "gpu:1", "--at-once", "2")
    text = path.read_text()
    for line in ("--array=1-5%2", "--requeue", "--time=1:00:00", "--gres=gpu:1", "--cpus-per-task=4"):
        assert f"#SBATCH {line}\n" in text
    assert task(path, 3).wait(20) == 0
    called, threads = json.loads((tmp_path / "seen").read_text())
    assert called[:2] == ["run", str(suite)]
    assert called[called.index("--out") + 1] == "results/a b"
    assert called[called.index("--set") + 1] == "attack.step.size=0.5"
    assert called[called.index("--limit") + 1] == "4"
    assert called[called.index("--judge") + 1] == "apart"
    assert called[-2:] == ["--shard", "3/5"]
    assert threads == "3"


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_task_whose_time_is_up_is_queued_again(
    script: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, requeued: bool
) -> None:
    monkeypatch.setenv("LONG", "yes")
    slow = 'kill() { builtin kill "$@"; local status=$?; sleep 0.3; return $status; }\n'
    (tmp_path / "slow").write_text(slow)
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "slow"))  # the harness ends before wait is asked
    running = task(script("--array", "5"), 2)
    while not (tmp_path / "seen.begun").exists():
        time.sleep(0.01)
    running.send_signal(number)
    try:
        assert running.wait(20) == 143
    finally:
        running.kill()
    told = tmp_path / "seen.requeued"
    assert (told.read_text() if told.exists() else "") == ("requeue 77_2\n" if requeued else "")


def test_the_array_in_any_order_is_the_whole_run(harness: Command, suite: Path, finished: Path) -> None:
    whole = records(finished)
    for part in finished.glob("samples/*/*.parquet"):
        part.unlink()
    text = harness("slurm", suite, "--array", "3").out
    call = next(line for line in text.splitlines() if line.startswith("harness run"))
    order = [1, 2, 3]
    random.Random(2).shuffle(order)
    for number in order:
        words = call.replace("$SLURM_ARRAY_TASK_ID", str(number)).replace('"', "").removesuffix(" &").split()
        assert harness(*words[1:]).status == 0
    assert shards(harness) == {"finished": 12}
    pd.testing.assert_frame_equal(records(finished), whole)


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (("--array", "0"), "--array 0 must be a whole number of at least 1"),
        (("--array", "two"), "--array two must be"),
        (("--array", "2", "--time", "1 day"), '--time "1 day" must be one word'),
        (("--array", "2", "--set", "attack.step.sizes=1"), "sizes"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_queued(
    refused: Callable[..., str], suite: Path, flags: tuple[str, ...], fault: str
) -> None:
    assert fault in refused("slurm", suite, *flags)
