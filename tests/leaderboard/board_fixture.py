"""Writes tiny results folders by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.store.schema import ANNOTATION_SCHEMA, CELL_SCHEMA, record_schema

SUITE = {
    "schema": 1,
    "name": "tiny",
    "seed": 0,
    "versions": {"face-robustness-harness": "0.1.0", "python": "3.11"},
    "revision": None,
    "created": "2026-01-02T03:04:05+00:00",
}


def record(
    sample: str, target: str | None = None, *, success: bool | None = False, **values: Any
) -> dict[str, Any]:
    """A record of a case that was classified correctly before the attack, unless told otherwise."""
    row: dict[str, Any] = {
        "sample_id": sample,
        "goal": "flip",
        "target": target,
        "clean_correct": True,
        "reached": success,
        "valid": None if success is None else True,
        "success": success,
        "linf": None if success is None else 0.1,
        "l2": None if success is None else 1.0,
        "forwards": 3,
        "backwards": 1,
        "seconds": 0.5,
    }
    return row | values


def broken(
    sample: str, target: str | None = None, error: str = "RuntimeError: no", **values: Any
) -> dict[str, Any]:
    """A record of a case whose attack raised."""
    return record(sample, target, success=None, error=error, **values)


def cell(
    records: Iterable[Mapping[str, Any]] = (), *, model: str = "moon", attack: str = "pgd", **values: Any
) -> dict[str, Any]:
    """A cell and its records; as many cases are planned as there are records, unless told otherwise."""
    records = list(records)
    row: dict[str, Any] = {
        "dataset": "faces",
        "model": model,
        "attack": attack,
        "threat": "linf 8/255",
        "goal": "flip",
        "seed": 0,
        "status": "done",
        "cases": len(records),
        "records": records,
    }
    row |= values
    row.setdefault("cell", "-".join(str(row[name]) for name in ("dataset", "model", "attack", "seed")))
    return row


def write(folder: Path, cells: Iterable[Mapping[str, Any]], suite: Mapping[str, Any] = SUITE) -> Path:
    """A folder of results; a cell's records are split into two shards."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = list(cells)
    (folder / "suite.json").write_text(json.dumps(suite), encoding="utf-8")
    rows = [{name: value for name, value in row.items() if name != "records"} for row in cells]
    pq.write_table(pa.Table.from_pylist(rows, schema=CELL_SCHEMA), folder / "cells.parquet")
    for row in cells:
        records = row["records"]
        measured = any("pass" in record for record in records)
        schema = record_schema(("pass",) if measured else ())
        for shard, part in enumerate((records[::2], records[1::2])):
            if part:
                place = folder / "samples" / row["cell"]
                place.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.Table.from_pylist(part, schema=schema), place / f"part-{shard:05}.parquet")
    return folder


def with_people(folder: Path, people: Mapping[str, int]) -> Path:
    """Write into a folder which person each image shows."""
    rows = [
        {"dataset": "faces", "sample_id": sample, "name": "identity", "value": float(person)}
        for sample, person in people.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=ANNOTATION_SCHEMA), folder / "annotations.parquet")
    return folder
