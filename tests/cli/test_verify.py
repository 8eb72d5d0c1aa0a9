"""`harness verify`: stored adversarials are judged again; records and parts that do not hold are found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from harness import leaderboard
from harness.results import read_results
from harness.shards.records import pictures
from harness.store import Store

from .conftest import CASES, Command
from .spoiling import FOLDER, Records, cell_of, done, edit, found, kept, part_of, put, tamper

__all__ = ["done", "kept"]

EDITED = "its records are not those that were written: the checksum differs"


def test_an_honest_run_agrees(harness: Command, done: Path) -> None:
    ran = harness("verify", done)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"{CASES} adversarials judged again, 0 differ from their records",
        "proved:",
        "- 12 parts of the right cell and shard, with the right checksum",
        "- every record is of its case, and none contradicts itself",
        f"- {CASES} stored images inside the bounds, and measured and decided as recorded, by the model with "
        "these weights on these originals",
        "- suite.json, cells.parquet, models.json, originals.parquet, leaderboard.parquet: as the suite and "
        "the records give them",
        "not proved:",
        "- that the attacks cost what is recorded: passes, seconds, found, zero_gradients",
        "- that the images came from these attacks, and what they reached before rounding",
        "- what suite.json says of hardware, revision and dates, and of what a data set stands in for",
    ]


# --- the records ------------------------------------------------------------------------------------------


def test_an_edited_record_is_found_twice(harness: Command, done: Path) -> None:
    tamper(part_of("step"), put(l2=0.5))
    ran = harness("verify", done)
    assert ran.status == 1
    assert EDITED in ran.out
    (line,) = (
        line for line in ran.out.splitlines() if "linear x step linf 40/255: 0001.png Bright: " in line
    )
    assert "l2 is " in line
    assert "recorded 0.5" in line
    assert f"{CASES} adversarials judged again, 1 differs from its record" in ran.out
    told = harness("verify", done, "--json").json
    assert told["adversarials"] == CASES
    assert (told["parts"], told["parts_without_checksum"]) == (12, 0)
    assert {one["fault"] for one in told["differences"]} >= {EDITED}
    assert not any("checksum" in line or "stored image" in line for line in told["proved"])
    assert told["missing"] == []
    assert any("cost" in line for line in told["not_proved"])


EDITS: list[tuple[dict[str, Any], str]] = [
    ({"success": False}, "success is True, recorded False"),
    ({"reached": False}, "reached is True, recorded False"),
    ({"valid": False}, "valid is True, recorded False"),
    ({"linf": 0.001}, "linf is 0.15"),
    ({"l2": 0.5}, "l2 is "),
    ({"l2": float("nan")}, "recorded nan"),
    ({"linf": None}, "linf is null, and there is no error"),
    ({"l0": 7}, "l0 is 480.0, recorded 7"),
    ({"margin_adv": 0.5}, "margin_adv is "),
    ({"margin_clean": -0.05}, "margin_clean is "),
    ({"decisions_clean": [False]}, "decisions_clean are 2, recorded 1"),
    ({"decisions_adv": None}, "decisions_adv are 2, recorded None"),
    ({"success": None}, "success is null, and there is no error"),
    ({"clean_correct": False}, "clean_correct is True, recorded False"),
    ({"shift": 39.0}, "shift is "),
    ({"goal": "untargeted"}, "goal is flip, recorded untargeted"),
    ({"sample_id": "9999.png"}, "recorded 9999.png"),
    ({"target": "Red"}, "target is Bright, recorded Red"),
    ({"adversarial": None}, "success is True, but no adversarial is stored"),
    ({"adversarial": b"no picture"}, "the stored adversarial is no readable PNG"),
    (
        {"adversarial": pictures(torch.zeros(1, 3, 8, 8))[0]},
        "the stored adversarial is (3, 8, 8), the image (3, 24, 20)",
    ),
    ({"fault": "over the budget"}, 'success is True, but the fault is "over the budget"'),
    (
        {"fault": "over the budget", "valid": False, "success": False, "shift": None},
        'the fault is "over the budget", but the stored image keeps to it',
    ),
    (
        {"fault": "outside the region", "valid": False, "success": False, "shift": None},
        'the fault is "outside the region", but the stored image keeps to it',
    ),
]


def test_each_tampered_record_is_found(harness: Command, done: Path) -> None:
    """Each record of three shards is tampered with in another way, and has a checksum that fits."""
    place, expected = cell_of("step"), {}
    for shard in range(3):
        edits = EDITS[8 * shard : 8 * shard + 8]
        names = [record["sample_id"] for record in pq.read_table(part_of("step", shard)).to_pylist()]

        def change(records: Records, edits: list[tuple[dict[str, Any], str]] = edits) -> None:
            for record, (values, _) in zip(records, edits, strict=True):
                assert any(record[name] != value for name, value in values.items())
                record.update(values)

        tamper(part_of("step", shard), change, restamp=True)
        for name, (_, told) in zip(names, edits, strict=True):
            expected[f"part-{shard:05d}", name] = told
    lines = found(harness)
    for (part, name), told in expected.items():
        name = "9999.png" if "9999.png" in told else name
        (line,) = (line for line in lines if f"{place}/{part}" in line and f": {name} " in line)
        assert told in line
    assert any(
        line.startswith("cells.parquet: tiny: linear x step") and "checksum is" in line for line in lines
    )


def test_a_tampered_image_is_found(harness: Command, done: Path) -> None:
    pictures = [record["adversarial"] for record in pq.read_table(part_of("still")).to_pylist()]

    def change(records: Records) -> None:
        for record, picture in zip(records, pictures, strict=True):
            record["adversarial"] = picture

    for shard in range(3):
        tamper(part_of("step", shard), change, restamp=True)
    ran = harness("verify", done)
    assert ran.status == 1
    assert "linf is 0.0, recorded 0.15" in ran.out
    assert "… and 4 more; --json lists all\n" in ran.out
    assert "24 differ from their records" in ran.out


def test_records_left_out_added_or_moved_are_found(harness: Command, done: Path) -> None:
    changes: list[tuple[str, Any, str]] = [
        ("step", lambda records: records[:-1], "7 records of a shard of 8 cases: 0015.png Bright missing"),
        (
            "step",
            lambda records: records + records[-1:],
            "9 records of a shard of 8 cases: 0031.png Bright twice",
        ),
        ("step", lambda records: [], "0 records of a shard of 8 cases: 0033.png Bright missing"),
        ("still", lambda records: records[::-1], "its records are in another order"),
        ("still", lambda records: records[:7] + records[:1], "sample_id is 0031.png, recorded 0017.png"),
    ]
    for number, (attack, change, _) in enumerate(changes):
        tamper(part_of(attack, number % 3), change, restamp=True)
    lines = found(harness)
    for number, (attack, _, told) in enumerate(changes):
        place = f"samples/{cell_of(attack)}/part-{number % 3:05d}.parquet of linear x {attack} linf 40/255: "
        assert any(line.startswith(place) and told in line for line in lines), (told, lines)


def test_failures_rewritten_as_errors_are_found(harness: Command, done: Path) -> None:
    columns = ("reached", "reached_unrounded", "valid", "success", "linf", "l2", "l0", "margin_adv")

    def change(records: Records) -> None:
        for record in records:
            record.update(dict.fromkeys((*columns, "decisions_adv", "adversarial"), None), error="boom")

    tamper(part_of("still"), change, restamp=True)
    lines = found(harness)
    assert any("clean_correct is True, but the attack ended with an error" in line for line in lines), lines
    assert any(line.startswith("cells.parquet") and "cases_failed is 8, recorded 0" in line for line in lines)


def test_costs_are_those_of_cells_parquet(harness: Command, done: Path) -> None:
    tamper(part_of("step"), put(forwards=2, backwards=0, seconds=100.0), restamp=True)
    lines = [line for line in found(harness) if line.startswith("cells.parquet")]
    (line,) = lines
    assert line.startswith("cells.parquet: tiny: linear x step linf 40/255: ")
    assert all(f"{column} is " in line for column in ("forwards", "backwards", "seconds", "checksum"))


def test_columns_that_no_run_writes_are_found(harness: Command, done: Path) -> None:
    for file, column in ((part_of("step"), "pass"), (FOLDER / "cells.parquet", "note")):
        table = pq.read_table(file)
        pq.write_table(table.append_column(column, pa.nulls(table.num_rows, pa.float32())), file)
    lines = found(harness)
    assert any("no run writes its column pass" in line for line in lines)
    assert "cells.parquet: no run writes its column note" in lines


# --- the parts --------------------------------------------------------------------------------------------


def test_parts_of_two_cells_swapped(harness: Command, done: Path) -> None:
    one, other = part_of("step"), part_of("still")
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    lines = found(harness)
    for swapped, origin in ((one, other), (other, one)):
        place = f"samples/{swapped.parent.name}/part-00000.parquet"
        told = f": it was written as shard 0 of cell {origin.parent.name}"
        assert any(line.startswith(place) and line.endswith(told) for line in lines), lines


def test_shards_of_a_cell_swapped(harness: Command, done: Path) -> None:
    one, other = part_of("still", 0), part_of("still", 1)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    lines = found(harness)
    assert any("it was written as shard 1 of cell" in line for line in lines)
    assert any("sample_id is 0001.png, recorded 0017.png" in line for line in lines)


def test_a_part_whose_checksum_was_taken_out(harness: Command, done: Path) -> None:
    part = part_of("still")
    pq.write_table(pq.read_table(part).replace_schema_metadata(None), part)
    (line,) = found(harness)
    assert line.startswith("cells.parquet: tiny: linear x still")
    assert "checksum is None, recorded " in line


def test_a_part_of_another_seed(harness: Command, suite: Path, done: Path) -> None:
    harness("run", suite, "--set", "seed=1", "--out", "other")
    step = read_results("other").cells().set_index("attack").loc["step", "cell"]
    shutil.copy(Store(Path("other")).part(step, 0), part_of("step"))
    assert any(f"it was written as shard 0 of cell {step}" in line for line in found(harness))


def test_a_part_of_another_run_of_the_same_suite(harness: Command, suite: Path, done: Path) -> None:
    harness("run", suite, "--out", "other")
    shutil.copy(Store(Path("other")).part(cell_of("step"), 0), part_of("step"))
    assert any(line.startswith("cells.parquet: tiny: linear x step") for line in found(harness))


def test_deleted_shards(harness: Command, done: Path) -> None:
    parts = [part_of("step", 0), part_of("step", 5)]
    for part in parts:
        part.unlink()
    lines = found(harness)
    for part in parts:
        assert f"samples/{part.parent.name}/{part.name}: it is missing (linear x step linf 40/255)" in lines


def test_a_shard_deleted_from_a_run_said_to_be_unfinished(harness: Command, done: Path) -> None:
    part_of("step").unlink()
    edit("cells.parquet", lambda rows: rows[0].update(status="partial"))
    assert any("5 shards are there, recorded 6: parts were removed" in line for line in found(harness))


def test_a_deleted_cell(harness: Command, done: Path) -> None:
    cell = cell_of("step")
    shutil.rmtree(FOLDER / "samples" / cell)
    edit("cells.parquet", lambda rows: rows.pop(0))
    leaderboard.write(FOLDER)
    assert "cells.parquet: tiny: linear x step linf 40/255: the cell has no row" in found(harness)


def test_copies_of_parts_are_counted_nowhere(harness: Command, suite: Path, done: Path) -> None:
    part, before = part_of("step"), read_results(FOLDER)
    samples, board = before.samples(), leaderboard.build(FOLDER)
    tally = Store(FOLDER).tally(cell_of("step"))
    names = (
        "part-00000 (1).parquet",
        "part-00000-copy.parquet",
        "part-0.parquet",
        "copy of part-00000.parquet",
    )
    for name in (*names, "part-٠٠٠٠1.parquet", "part-00000.parquet.bak"):
        shutil.copy(part, part.with_name(name))
    assert Store(FOLDER).tally(cell_of("step")) == tally
    assert Store(FOLDER).finished(cell_of("step")) == set(range(6))
    pd.testing.assert_frame_equal(read_results(FOLDER).samples(), samples)
    pd.testing.assert_frame_equal(leaderboard.build(FOLDER), board)
    ran = harness("verify", done)
    assert ran.status == 0
    assert "part-00000 (1).parquet" in ran.out
    assert "nothing was left to do" in harness("run", suite).out


def test_a_part_too_many(harness: Command, done: Path) -> None:
    part = part_of("step")
    shutil.copy(part, part.with_name("part-00006.parquet"))
    assert any(
        "part-00006.parquet: linear x step linf 40/255 has no such shard" in one for one in found(harness)
    )


def test_values_of_another_type_are_a_difference(harness: Command, done: Path) -> None:
    part = part_of("step")
    table = pq.read_table(part)
    column = table.column_names.index("linf")
    Store(FOLDER).write_part(
        cell_of("step"), 0, table.set_column(column, "linf", pa.array(["much"] * table.num_rows))
    )
    lines = found(harness)
    assert any(
        "part-00000.parquet" in line and "it cannot be judged again: TypeError" in line for line in lines
    )
