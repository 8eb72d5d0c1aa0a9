"""A finished run of the tiny suite, and ways to spoil its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.results import read_results
from harness.store import Store

from .conftest import Command

FOLDER = Path("results/small")
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one finished run is kept for all tests, each of which spoils a copy of it."""
    return tmp_path_factory.mktemp("kept") / "small"


@pytest.fixture
def done(harness: Command, suite: Path, kept: Path) -> Path:
    """A finished run; its folder."""
    if not kept.is_dir():
        assert harness("run", suite, "--out", kept).status == 0
    shutil.copytree(kept, FOLDER)
    return FOLDER


def cell_of(attack: str) -> str:
    """The id of an attack's cell."""
    return str(read_results(FOLDER).cells().set_index("attack").loc[attack, "cell"])


def part_of(attack: str, shard: int = 0) -> Path:
    """A shard of an attack's cell."""
    return Store(FOLDER).part(cell_of(attack), shard)


def tamper(path: Path, change: Callable[[Records], Records | None], *, restamp: bool = False) -> None:
    """Change the records of a shard, leaving a file that reads as before; with a checksum that fits them."""
    table = pq.read_table(path)
    records = table.to_pylist()
    changed = change(records)
    made = pa.Table.from_pylist(records if changed is None else changed, schema=table.schema)
    if restamp:
        Store(FOLDER).write_part(path.parent.name, int(path.stem.removeprefix("part-")), made)
    else:
        pq.write_table(made, path)


def edit(file: str, change: Callable[[Records], Any]) -> None:
    """Change the rows of a file of the folder."""
    table = pq.read_table(FOLDER / file)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), FOLDER / file)


def edit_json(file: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file of the folder."""
    content = json.loads((FOLDER / file).read_text())
    change(content)
    (FOLDER / file).write_text(json.dumps(content))


def put(**values: Any) -> Callable[[Records], None]:
    """A change of the first record that is a success, or of the first row."""

    def change(records: Records) -> None:
        record = next((record for record in records if record.get("success")), records[0])
        record.update(values)

    return change


def found(harness: Command) -> list[str]:
    """The differences that verify finds, as "place: fault"."""
    ran = harness("verify", FOLDER, "--json")
    assert ran.status == (1 if ran.json["differences"] else 0)
    return [f"{one['place']}: {one['fault']}" for one in ran.json["differences"]]
