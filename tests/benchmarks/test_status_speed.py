"""How long `harness status` takes on ten thousand parts, in processor time: the machine may be shared."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.store import Store
from harness.store.schema import CELL_SCHEMA, RECORD_SCHEMA


@dataclass(frozen=True)
class Sizes:
    """How many cells a folder has, and shards each of them."""

    cells: int
    shards: int


FULL = Sizes(cells=200, shards=50)
TINY = Sizes(cells=2, shards=3)


def _write_folder(folder: Path, sizes: Sizes) -> None:
    store = Store(folder)
    store.open()
    record = dict.fromkeys(RECORD_SCHEMA.names) | {"sample_id": "000001.jpg", "goal": "flip"}
    table = pa.Table.from_pylist([record] * 16, schema=RECORD_SCHEMA)
    cells = []
    for cell in range(sizes.cells):
        name = f"{cell:016x}"
        for shard in range(sizes.shards):
            store.write_part(name, shard, table, took=1.5)
        labels = dict.fromkeys(("dataset", "model", "attack", "threat", "goal"), "one")
        counts = {"shards": sizes.shards, "cases": 16 * sizes.shards, "seed": 0, "status": "partial"}
        cells.append({"cell": name, **labels, **counts})
    pq.write_table(pa.Table.from_pylist(cells, schema=CELL_SCHEMA), folder / "cells.parquet")
    (folder / "suite.json").write_text('{"schema": 1, "name": "scale"}')


def _look(folder: Path) -> tuple[dict[str, Any], float]:
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "harness", "status", str(folder), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return json.loads(ran.stdout), seconds


def test_status_of_ten_thousand_parts(timed: Any, report: Any, sizes: Sizes, tmp_path: Path) -> None:
    _write_folder(tmp_path / "scale", sizes)
    (told, _), _ = timed(_look, args=(tmp_path / "scale",))
    taken = min(_look(tmp_path / "scale")[1] for _ in range(3))
    parts = sizes.cells * sizes.shards
    assert told["shards"]["finished"] == told["parts"] == parts
    assert told["damaged"] == []
    report(f"status of {parts:,} parts", taken, "s", at_most=2.0)
