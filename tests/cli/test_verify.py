"""`harness verify`: stored adversarials are judged again, and a record that does not hold is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from harness.results import read_results
from harness.shards.records import encode

from .conftest import CASES, SUITE, Command, Ran

FOLDER = Path("results/small")


@pytest.fixture
def done(harness: Command, suite: Path) -> Path:
    """A finished run; its folder."""
    assert harness("run", suite).status == 0
    return FOLDER


def part_of(attack: str) -> Path:
    """The first shard of an attack's cell."""
    cells = read_results(FOLDER).cells().set_index("attack")
    return FOLDER / "samples" / cells.loc[attack, "cell"] / "part-00000.parquet"


def tamper(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]] | None]) -> None:
    """Change the records of a shard, leaving a file that reads as before."""
    table = pq.read_table(path)
    records = table.to_pylist()
    changed = change(records)
    pq.write_table(pa.Table.from_pylist(records if changed is None else changed, schema=table.schema), path)


def test_an_honest_run_agrees(harness: Command, done: Path) -> None:
    ran = harness("verify", done)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"{CASES} adversarials judged again, 0 differ from their records\n"


def test_it_runs_no_attack_and_needs_no_manifest(
    harness: Command, done: Path, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.unlink()
    monkeypatch.setenv("TINY_FAULT", "Red")
    assert harness("verify", done).status == 0


def test_a_limited_run_of_crossed_tables_agrees(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('use = "step"\n', 'use = "step"\nsize = [0.5, 1.0]\n'))
    harness("run", suite, "--limit", 3, "--set", "attack.step.eps=0.05")
    ran = harness("verify", FOLDER)
    assert ran.status == 0
    assert ran.out.startswith("18 adversarials judged again, 0 differ")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("success", False),
        ("reached", False),
        ("valid", False),
        ("linf", 0.001),
        ("l2", 0.5),
        ("l2", float("nan")),
        ("linf", None),
        ("success", None),
        ("clean_correct", "not"),
        ("sample_id", "9999.png"),
        ("target", "Red"),
    ],
)
def test_a_tampered_record_is_found(harness: Command, done: Path, column: str, value: Any) -> None:
    place = part_of("step")

    def change(records: list[dict[str, Any]]) -> None:
        (record, *_) = (record for record in records if record["success"] and record["target"] == "Bright")
        record[column] = not record[column] if value == "not" else value

    tamper(place, change)
    ran = harness("verify", done)
    assert ran.status == 1
    line, total = ran.out.splitlines()
    assert f"{column} is " in line
    assert "linear x step" in line
    assert total == f"{CASES} adversarials judged again, 1 differs from its record"


def test_a_tampered_image_is_found(harness: Command, done: Path) -> None:
    pictures = [record["adversarial"] for record in pq.read_table(part_of("still")).to_pylist()]

    def change(records: list[dict[str, Any]]) -> None:
        for record, picture in zip(records, pictures, strict=True):
            record["adversarial"] = picture

    tamper(part_of("step"), change)
    ran = harness("verify", done)
    assert ran.status == 1
    assert "linf is 0.0, recorded 0.15" in ran.out
    assert len(ran.out.splitlines()) == 22
    assert " more\n" in ran.out


@pytest.mark.parametrize(
    "change", [lambda records: records[:-1], lambda records: records + records[-1:], lambda records: []]
)
def test_records_left_out_or_added_are_found(harness: Command, done: Path, change: Any) -> None:
    tamper(part_of("step"), change)
    ran = harness("verify", done)
    assert ran.status == 1
    assert "records of a shard of 8 cases" in ran.out


def test_records_in_error_keep_no_adversarial(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_FAULT", "Red")
    harness("run", suite)
    ran = harness("verify", FOLDER)
    assert ran.status == 0
    assert ran.out == (
        "72 adversarials judged again, 0 differ from their records; 24 records without a stored adversarial\n"
    )


def test_without_adversarials_there_is_nothing_to_judge(
    harness: Command, refused: Callable[..., str], suite: Path
) -> None:
    harness("run", suite, "--set", "keep=false")
    assert refused("verify", FOLDER) == "results/small keeps no adversarials; run the suite with keep = true"


def test_without_the_weights_nothing_can_be_judged(
    done: Path, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "empty"))
    assert refused("verify", done) == "the weights of linear are not in the cache; nothing can be judged"


def test_another_version_of_a_plugin_is_another_cell(
    harness: Command, done: Path, refused: Callable[..., str]
) -> None:
    description = json.loads((done / "suite.json").read_text())
    description["suite"]["seed"] = 99
    (done / "suite.json").write_text(json.dumps(description))
    harness("train", "small.toml", "--set", "seed=99")
    assert "data, weights or versions are not those of the run" in refused("verify", done)


def test_the_device_may_come_from_the_environment(
    done: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DEVICE", "nonsense")
    assert 'device "nonsense" cannot be used' in refused("verify", done)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: (FOLDER / "suite.json").write_text("{}"), "suite.json holds no resolved suite"),
        (lambda: (FOLDER / "suite.json").write_text("{"), "suite.json cannot be read"),
        (lambda: (FOLDER / "suite.json").unlink(), "holds no suite.json"),
        (lambda: (FOLDER / "cells.parquet").write_bytes(b"no"), "cells.parquet"),
        (lambda: part_of("step").write_bytes(b"no"), "part-00000.parquet"),
    ],
)
def test_damaged_files_are_one_line(
    done: Path, refused: Callable[..., str], spoil: Callable[[], Any], message: str
) -> None:
    spoil()
    assert message in refused("verify", done)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (b"no picture", "the stored adversarial is no readable PNG"),
        (encode(torch.zeros(3, 8, 8)), "the stored adversarial is (3, 8, 8), the image (3, 24, 20)"),
    ],
)
def test_damaged_pictures_are_found(harness: Command, done: Path, picture: bytes, message: str) -> None:
    def change(records: list[dict[str, Any]]) -> None:
        records[0]["adversarial"] = picture

    tamper(part_of("step"), change)
    ran: Ran = harness("verify", done)
    assert ran.status == 1
    assert message in ran.out


def test_a_folder_that_is_missing(refused: Callable[..., str]) -> None:
    assert 'results folder "nowhere" does not exist' in refused("verify", "nowhere")
