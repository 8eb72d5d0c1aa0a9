"""A board over a hundred million records: at most 60 seconds, and 2 GB of memory at its peak.

Two settings: five hundred cells of the usual size, and twenty of one model, of five million records each,
which is the most that has to be held at once. The records are simulated. Of a model so many attacks are
drawn; the others have the same files under other names, so that a tenth of the records is on the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.store.schema import CELL_SCHEMA

TARGETS, SHARD = 20, 50_000
SECONDS, MEGABYTES = 60.0, 2000.0


@dataclass(frozen=True)
class Shape:
    """What a results folder holds; each image has so many TARGETS."""

    models: int
    attacks: int
    images: int
    drawn: int = 2
    """How many attacks of a model have records of their own."""

    @property
    def records(self) -> int:
        """Of all cells."""
        return self.models * self.attacks * self.images * TARGETS


FULL = {"many cells": Shape(10, 50, 10_000, drawn=5), "large cells": Shape(1, 20, 250_000)}
TINY = {"many cells": Shape(2, 3, 5), "large cells": Shape(1, 2, 20)}

MEASURED = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
from harness.leaderboard import build
board = build(Path(sys.argv[1]))
seconds = time.perf_counter() - start
status = Path("/proc/self/status").read_text()  # not getrusage, whose peak begins with that of the parent
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"seconds": seconds, "megabytes": peak, "rows": len(board), "n": int(board["n"].max()),
                  "coverage": float(board["coverage"].min())}))
"""


def _records(rng: np.random.Generator, images: int, correct: np.ndarray, strength: float) -> pa.Table:
    """Records of images x targets; the values are random, so that nothing compresses away."""
    n = images * TARGETS
    success = rng.random(n) < strength
    samples = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.arange(images, dtype=np.int32), TARGETS)),
        pa.array([f"{image:06}.jpg" for image in range(images)]),
    )
    targets = pa.DictionaryArray.from_arrays(
        pa.array(np.tile(np.arange(TARGETS, dtype=np.int32), images)),
        pa.array([f"attribute {target}" for target in range(TARGETS)]),
    )
    floats = {
        name: rng.random(n, dtype=np.float32) for name in ("linf", "l2", "pass", "margin_adv", "seconds")
    }
    counts = {name: rng.integers(1, 500, n, dtype=np.int32) for name in ("l0", "forwards", "backwards")}
    return pa.table(
        {
            "sample_id": samples.cast(pa.string()),
            "goal": pa.repeat("flip", n),
            "target": targets.cast(pa.string()),
            "clean_correct": correct,
            "reached": success,
            "valid": np.ones(n, np.bool_),
            "success": success,
            "error": pa.nulls(n, pa.string()),
            **floats,
            **counts,
        }
    )


def _write_folder(folder: Path, shape: Shape) -> Path:
    rng = np.random.default_rng(0)
    cells = []
    for model in range(shape.models):
        correct = rng.random(shape.images * TARGETS) < 0.9
        for attack in range(shape.attacks):
            name = f"cell-{model}-{attack}"
            place = folder / "samples" / name
            place.mkdir(parents=True)
            if attack < shape.drawn:
                records = _records(rng, shape.images, correct, attack / shape.drawn)
                for shard, start in enumerate(range(0, records.num_rows, SHARD)):
                    pq.write_table(records.slice(start, SHARD), place / f"part-{shard:05}.parquet")
            else:
                for file in (folder / "samples" / f"cell-{model}-{attack % shape.drawn}").iterdir():
                    os.link(file, place / file.name)
            cells.append(
                {
                    "cell": name,
                    "dataset": "faces",
                    "model": f"model {model}",
                    "attack": f"attack {attack}",
                    "threat": "linf 8/255",
                    "goal": "flip",
                    "seed": 0,
                    "status": "done",
                    "cases": shape.images * TARGETS,
                }
            )
    pq.write_table(pa.Table.from_pylist(cells, schema=CELL_SCHEMA), folder / "cells.parquet")
    (folder / "suite.json").write_text('{"schema": 1, "name": "scale"}')
    return folder


def _measure(folder: Path) -> dict[str, float]:
    """Time and peak memory in a process of its own, which is what a command would take."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(folder)], capture_output=True, text=True, check=True, timeout=300
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@pytest.mark.parametrize("kind", FULL)
def test_a_hundred_million_records(
    timed: Any, report: Any, sizes: dict[str, Shape], tmp_path: Path, kind: str
) -> None:
    shape = sizes[kind]
    folder = _write_folder(tmp_path / "scale", shape)
    figures, _ = timed(_measure, args=(folder,))
    assert figures["rows"] == shape.models * (shape.attacks + 2)
    assert figures["n"] == shape.images * TARGETS
    assert figures["coverage"] == 1.0
    name = f"board of {shape.records:,} records, {kind}"
    report(name, figures["seconds"], "s", at_most=SECONDS)
    report(f"{name}, peak memory", figures["megabytes"], "MB", at_most=MEGABYTES)
