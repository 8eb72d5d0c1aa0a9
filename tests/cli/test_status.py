"""How far a folder has come: shards, damage, who is at work, time left, while others write."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.files import lock
from harness.results import read_results
from harness.store import Store, seal
from harness.store.claims import Claims, workers

from .conftest import CASES, Command
from .forking import start

PLUGIN = Path(__file__).parent / "plugin"
SHARDS = 2 * 6


def shards(harness: Command, *more: str, status: int = 0) -> dict[str, int]:
    """The counts of shards that are not zero."""
    ran = harness("status", "results/small", "--json", *more)
    assert ran.status == status, ran
    return {name: count for name, count in ran.json["shards"].items() if count}


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("samples/*/part-*.parquet"))


def records(folder: Path) -> pd.DataFrame:
    order = ["attack", "target", "sample_id"]
    return read_results(folder).samples().drop(columns="seconds").sort_values(order, ignore_index=True)


def test_a_finished_folder(harness: Command, finished: Path) -> None:
    ran = harness("status", finished)
    assert ran.status == 0
    assert f"2 cells: shards {SHARDS} finished; {SHARDS} of {SHARDS} parts compared" in ran.out
    assert "finished: `harness show results/small`" in ran.out
    told = harness("status", finished, "--json").json
    assert told["finished"] is True
    assert (told["workers"], told["locks"], told["seconds_left"]) == ([], [], 0.0)
    assert sum(cell["cases_done"] for cell in told["cells"]) == CASES


def test_missing_shards_and_the_time_that_they_will_take(harness: Command, finished: Path) -> None:
    for part in parts(finished)[:2]:
        part.unlink()
    assert shards(harness) == {"finished": SHARDS - 2, "missing": 2}
    told = harness("status", finished, "--json").json
    cell = next(cell for cell in told["cells"] if cell["missing"])
    assert (cell["status"], told["finished"]) == ("partial", False)
    pace = cell["seconds"] / cell["cases_timed"]
    assert told["seconds_left"] == pytest.approx(2 * 8 * pace)
    assert "nobody is at work, about" in harness("status", finished).out


def test_cells_that_have_not_begun_take_the_time_of_others(harness: Command, finished: Path) -> None:
    file = finished / "cells.parquet"
    rows = pq.read_table(file).to_pylist()
    shutil.rmtree(finished / "samples" / rows[1]["cell"])
    rows[1] |= {"cell": "", "shards": None, "cases": None, "status": "partial"}
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(file)), file)
    told = harness("status", finished, "--json").json
    assert told["cells_not_begun"] == 1
    assert told["seconds_left"] == pytest.approx(told["cells"][0]["seconds"])
    assert "1 cell not begun" in harness("status", finished).out
    with Claims(finished) as mine, mine.doing("training linear"):
        assert "training linear, for 0 s" in harness("status", finished).out


@pytest.mark.parametrize("harm", ["a byte", "cut off", "misplaced", "a stamp"])
def test_damage_is_found_and_mended(harness: Command, finished: Path, suite: Path, harm: str) -> None:
    whole, part = records(finished), parts(finished)[3]
    content = bytearray(part.read_bytes())
    if harm == "a byte":
        content[len(content) // 3] ^= 1
    elif harm == "cut off":
        del content[-100:]
    elif harm == "misplaced":
        content = bytearray(parts(finished)[4].read_bytes())
    else:  # the records themselves, by a program that knows nothing of seals
        table = pq.read_table(part)
        at = table.column_names.index("forwards")
        column = pa.array([9] * len(table), table.schema.field(at).type)
        pq.write_table(table.set_column(at, table.schema.field(at), column), part)
        content = bytearray(part.read_bytes())
    part.write_bytes(content)
    assert shards(harness, status=1) == {"finished": SHARDS - 1, "damaged": 1}
    ran = harness("status", finished)
    told = [line for line in ran.out.splitlines() if str(part) in line]
    assert len(told) == 1
    assert ("is misplaced" if harm == "misplaced" else "is damaged") in told[0] or "cannot be read" in told[0]
    assert "--overwrite failed" in ran.out
    assert harness("run", suite, "--overwrite", "failed").status == 0
    assert shards(harness) == {"finished": SHARDS}
    pd.testing.assert_frame_equal(records(finished), whole)


def test_a_part_that_another_program_wrote_again_is_whole(harness: Command, finished: Path) -> None:
    part = parts(finished)[0]
    pq.write_table(pq.read_table(part), part, compression="gzip")
    assert shards(harness) == {"finished": SHARDS}
    told = harness("status", finished, "--json").json
    assert told["parts_compared"] == SHARDS


def test_without_patience_only_the_ends_of_parts_are_read(
    harness: Command, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.survey.PATIENCE", 0.0)
    compared: list[object] = []
    monkeypatch.setattr(seal, "_digest", lambda *given: compared.append(given))
    told = harness("status", finished, "--json").json
    assert (told["parts"], told["parts_compared"], compared) == (SHARDS, 0, [])
    monkeypatch.undo()


def test_failed_shards(harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_FAULT", "first")
    assert harness("run", suite).status == 1
    found = shards(harness, status=1)
    assert found["failed"] == 6
    assert "with --overwrite failed" in harness("status", "results/small").out


def test_who_runs_which_shard(harness: Command, finished: Path) -> None:
    part = parts(finished)[0]
    part.unlink()
    cell = part.parent.name
    with lock(finished / ".lock-2-of-3", "busy"), Claims(finished) as mine, Claims(finished) as others:
        assert mine.claim(cell, 0)
        assert not others.claim(cell, 0)
        assert shards(harness) == {"finished": SHARDS - 1, "running": 1}
        told = harness("status", finished, "--json").json
        assert told["locks"] == [{"file": ".lock-2-of-3", "holder": str(os.getpid())}]
        assert [worker["shard"] for worker in told["workers"]] == [0, None]
        out = harness("status", finished).out
        assert f"process {os.getpid()}: shard 0 of linear x" in out
        assert f".lock-2-of-3 is held by process {os.getpid()}" in out
        assert "1 process at work" in out
        mine.release()
        assert others.claim(cell, 0)
        others.release()
        with mine.doing("training linear"):
            assert "training linear, for 0 s" in harness("status", finished).out
    assert shards(harness) == {"finished": SHARDS - 1, "missing": 1}


KILLED = """
import os, sys, time
from pathlib import Path
from harness.store.claims import Claims
with Claims(Path(sys.argv[1])) as claims:
    claims.claim("cell", 7)
    print("claimed", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_what_a_killed_process_had_claimed_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    if not locks:
        monkeypatch.setattr("harness.store.claims.locks_work", lambda file: False)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "claimed\n"
        assert [worker.shard for worker in workers(tmp_path)] == [7]
        with Claims(tmp_path) as claims:
            assert not claims.claim("cell", 7)
            assert claims.claim("cell", 8)
            claims.release()
            running.send_signal(signal.SIGKILL)
            running.wait()
            assert claims.claim("cell", 7)
    Store(tmp_path).open()
    assert not list(tmp_path.glob(".worker-*"))


def test_a_process_of_another_machine_counts_while_it_says_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.claims.locks_work", lambda file: False)
    told = {"process": 1, "machine": "node-9", "since": 0.0, "cell": "cell", "shard": 7}
    file = tmp_path / ".worker-node-9-1-0"
    file.write_text(json.dumps(told) + "\n")
    with Claims(tmp_path) as claims:
        assert not claims.claim("cell", 7)
        os.utime(file, (0, 0))
        assert claims.claim("cell", 7)


def test_it_reads_while_others_write(harness: Command, suite: Path, site: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    writing = start(["run", str(suite)], environment, [str(PLUGIN), str(site)], said)
    looks, seen = 0, 0
    while writing.goes_on:
        if Path("results/small/cells.parquet").is_file():
            told = harness("status", "results/small", "--json").json
            done = told["shards"]["finished"]
            assert seen <= done
            assert told["damaged"] == []
            looks, seen = looks + 1, done
        time.sleep(0.01)
    assert writing.ended(60)[0] == 0
    assert looks > 1
    assert shards(harness) == {"finished": SHARDS}


def test_shares_of_different_numbers_in_any_order(harness: Command, suite: Path, finished: Path) -> None:
    whole = records(finished)
    shutil.rmtree(finished)
    shares = [f"{share}/{count}" for count in (2, 3) for share in range(1, count + 1)]
    random.Random(5).shuffle(shares)
    for share in shares:
        assert harness("run", suite, "--shard", share).status == 0
    assert shards(harness) == {"finished": SHARDS}
    pd.testing.assert_frame_equal(records(finished), whole)


def test_shares_of_different_numbers_at_the_same_time(
    harness: Command, suite: Path, finished: Path, site: Path, tmp_path: Path
) -> None:
    whole = records(finished)
    shutil.rmtree(finished)
    said = tmp_path / "said"
    said.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        start(["run", str(suite), "--shard", share], environment, [str(PLUGIN), str(site)], said)
        for share in ("1/2", "2/3", "1/3", "2/2")
    ]
    for one in running:
        status, _, error = one.ended(120)
        assert status == 0, error
    assert shards(harness) == {"finished": SHARDS}
    assert set(read_results(finished).cells()["status"]) == {"done"}
    assert read_results(finished).leaderboard()["n"].sum() > 0
    pd.testing.assert_frame_equal(records(finished), whole)


def test_a_moved_and_renamed_folder(
    harness: Command, suite: Path, finished: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    parts(finished)[0].unlink()
    shutil.move(finished, moved)
    assert harness("run", suite, "--out", moved).out.count("8 cases attacked") == 1
    assert harness("status", moved).status == 0
    assert harness("verify", moved).status == 0
    assert "does not exist" in refused("status", finished)
