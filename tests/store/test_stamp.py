"""Stamps of parts: the checksum is of what the records say, and of nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.store import Store
from harness.store.parquet import read_parquet
from harness.store.schema import record_schema
from harness.store.stamp import Stamp, checksum, checksum_of_cell, stamp_of

SCHEMA = record_schema(("pass",))
ROWS: list[dict[str, Any]] = [
    {
        "sample_id": f"{number}.png",
        "goal": "flip",
        "target": None if number == 2 else "Young",
        "success": None if number == 3 else number % 2 == 0,
        "l2": 0.5 * number,
        "l0": number,
        "error": "boom" if number == 3 else None,
        "decisions_clean": [True, False, number % 2 == 0],
        "decisions_adv": None if number == 3 else [],
        "adversarial": None if number == 3 else bytes(range(number + 1)),
        "pass": 0.9,
    }
    for number in range(6)
]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_the_checksum_is_one_that_does_not_change_between_versions() -> None:
    later = (
        *("reference", "identity", "distance_clean", "distance_adv", "threshold"),
        *("negative", "found_by"),
    )
    assert (
        checksum(table(ROWS).drop_columns(later))
        == "f0e0d856d743957c4174f84f951ebf987a7a6da279965c92c5d14227bd473bd6"
    )


def test_the_layout_of_the_records_does_not_matter(tmp_path: Path) -> None:
    whole, wanted = table(ROWS), checksum(table(ROWS))
    assert checksum(pa.concat_tables([table(ROWS[:1]), table(ROWS[1:4]), table(ROWS[4:])])) == wanted
    assert checksum(table([ROWS[0], *ROWS]).slice(1)) == wanted
    assert checksum(pa.concat_tables([whole.slice(0, 2), whole.slice(2)])) == wanted
    large = [
        field.with_type({"string": pa.large_string(), "binary": pa.large_binary()}[str(field.type)])
        if str(field.type) in ("string", "binary")
        else field
        for field in SCHEMA
    ]
    assert checksum(whole.cast(pa.schema(large))) == wanted
    file = tmp_path / "part.parquet"
    for layout in (
        {"compression": "gzip", "row_group_size": 2},
        {"use_dictionary": False, "data_page_version": "2.0"},
    ):
        pq.write_table(whole, file, **layout)
        assert checksum(read_parquet(file)) == wanted
        assert checksum(pq.read_table(file)) == wanted


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (0, {"sample_id": "00.png"}),
        (0, {"target": None}),
        (0, {"target": ""}),
        (0, {"success": None}),
        (1, {"success": True}),
        (0, {"l2": 1e-7}),
        (0, {"l2": None}),
        (0, {"l0": None}),
        (0, {"decisions_clean": [True, False]}),
        (0, {"decisions_clean": [True, False, None]}),
        (0, {"decisions_adv": None}),
        (3, {"decisions_adv": []}),
        (0, {"adversarial": b"\1"}),
        (3, {"adversarial": b""}),
        (0, {"pass": 0.91}),
        (0, {"error": "boom"}),
    ],
)
def test_every_value_matters(row: int, change: dict[str, Any]) -> None:
    rows = [dict(one) for one in ROWS]
    rows[row].update(change)
    assert checksum(table(rows)) != checksum(table(ROWS))


def test_order_number_and_names_matter() -> None:
    whole, wanted = table(ROWS), checksum(table(ROWS))
    texts = [{**ROWS[0], "sample_id": first, "goal": "b"} for first in ("a", "ab")]
    assert checksum(table(texts)) != checksum(table(texts[::-1]))
    others = [
        table(ROWS[::-1]),
        table(ROWS[:-1]),
        table([*ROWS, ROWS[-1]]),
        whole.drop_columns(["pass"]),
        whole.rename_columns([*whole.column_names[:-1], "ssim"]),
        whole.select([*whole.column_names[::-1]]),
    ]
    assert wanted not in {checksum(other) for other in others}


def test_a_part_is_written_with_its_stamp(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_part("abc", 3, table(ROWS))
    read = read_parquet(store.part("abc", 3))
    assert stamp_of(read.schema) == Stamp("abc", 3, checksum(table(ROWS)))
    assert stamp_of(read.replace_schema_metadata(None).schema) is None
    assert stamp_of(table(ROWS).schema) is None


def test_a_cell_has_one_checksum_of_all_its_parts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.tally("abc")["checksum"] is None
    found = []
    for shard, rows in enumerate((ROWS[:2], ROWS[2:4])):
        store.write_part("abc", shard, table(rows))
        found.append(store.tally("abc")["checksum"])
    assert len(set(found)) == 2
    one, other = (stamp_of(read_parquet(store.part("abc", shard)).schema) for shard in (0, 1))
    assert checksum_of_cell({0: one, 1: other}) == found[1]
    assert checksum_of_cell({0: other, 1: one}) != found[1]
    pq.write_table(table(ROWS[:2]), store.part("abc", 0))
    assert store.tally("abc")["checksum"] is None
