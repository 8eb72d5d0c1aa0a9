"""`harness verify`: what a run makes of its records, and honest, old and interrupted runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness import leaderboard
from harness.options import Options
from harness.results import read_results
from harness.session.executor import Executor, Work, in_process
from harness.session.session import run_suite
from harness.shards.jobs import Job
from harness.store import Store

from .conftest import SUITE, Command
from .spoiling import FOLDER, Records, cell_of, done, edit, edit_json, found, kept, part_of, put, tamper

__all__ = ["done", "kept"]

BOARD = "leaderboard.parquet"


# --- cells.parquet, suite.json, models.json ---------------------------------------------------------------

CELL_EDITS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {
            "eps": 0.01,
            "threat": "linf 4/255",
            "attack": "leap",
            "model": "other",
            "access": "decisions",
            "seed": 7,
            "randomised": True,
            "model_parameters": "{}",
            "cases": 40,
            "forwards": 1,
        },
        {"status": "skipped"},
        [
            "eps is 0.1568627450980392, recorded 0.01",
            "threat is linf 40/255, recorded linf 4/255",
            "attack is step, recorded leap",
            "model is linear, recorded other",
            "access is gradients, recorded decisions",
            "seed is 0, recorded 7",
            "randomised is False, recorded True",
            "model_parameters is ",
            "cases is 48, recorded 40",
            "forwards is 48, recorded 1",
            "status is done, recorded skipped",
        ],
    ),
    (
        {"status": "failed", "error": "boom"},
        {"cell": "0123456789abcdef"},
        [
            "error is None, recorded boom; status is done, recorded failed",
            "recorded 0123456789abcdef: data, weights or versions are not those",
        ],
    ),
    ({"status": "partial"}, {"checksum": None}, ["status is done, recorded partial", "recorded None"]),
]


@pytest.mark.parametrize(("first", "second", "told"), CELL_EDITS)
def test_edited_cells_are_found(
    harness: Command, done: Path, first: dict[str, Any], second: dict[str, Any], told: list[str]
) -> None:
    edit("cells.parquet", lambda rows: (rows[0].update(first), rows[1].update(second)))
    leaderboard.write(FOLDER)
    lines = found(harness)
    for one in told:
        assert any(line.startswith("cells.parquet: tiny: ") and one in line for line in lines), (one, lines)


def test_rows_of_cells_too_many_or_too_few(harness: Command, done: Path) -> None:
    edit("cells.parquet", lambda rows: rows.append(rows.pop(0) | {"attack": "strong", "cell": "made-up"}))
    lines = found(harness)
    assert "cells.parquet: tiny: linear x step linf 40/255: the cell has no row" in lines
    assert any("linear x strong linf 40/255: the suite has no such cell" in line for line in lines), lines


def test_a_column_taken_out_of_cells(harness: Command, done: Path) -> None:
    file = FOLDER / "cells.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["eps"]), file)
    assert "cells.parquet: it has no column eps" in found(harness)


def test_an_edited_suite_is_found(harness: Command, done: Path) -> None:
    def change(known: Any) -> None:
        known["suite"]["attack"].pop(0)
        known["plugins"].pop()
        known["seed"] = 5

    edit_json("suite.json", change)
    lines = found(harness)
    for told in (
        "cells.parquet: tiny: linear x step linf 40/255: the suite has no such cell",
        "seed is 0, recorded 5",
    ):
        assert any(told in line for line in lines), lines
    assert any(line.startswith("suite.json: plugins is ") for line in lines)


def test_an_exclusion_that_was_added_is_found(harness: Command, done: Path) -> None:
    edit_json("suite.json", lambda known: known["suite"].update(exclude=[{"attack": "step"}]))
    lines = found(harness)
    told = "cells.parquet: tiny: linear x step linf 40/255: status is skipped, recorded done"
    assert any("step" in line and line.startswith("cells.parquet") for line in lines), (told, lines)


def test_edited_models_are_found(harness: Command, done: Path) -> None:
    def change(rows: Any) -> None:
        rows[0]["card"].update(accuracy=0.123, forward_seconds=12.0)
        rows[0]["outputs"].reverse()
        rows.append(rows[0])

    edit_json("models.json", change)
    lines = found(harness)
    assert all(line.startswith("models.json: linear on tiny: ") for line in lines)
    assert ["card accuracy is " in lines[0], "or it stands twice" in lines[2]] == [True, True]
    assert lines[1].endswith("outputs is ['Bright', 'Red'], recorded ['Red', 'Bright']")
    edit_json("models.json", lambda rows: rows.clear())
    assert found(harness) == ["models.json: linear on tiny is missing"]


def test_times_of_a_card_may_differ(harness: Command, done: Path) -> None:
    edit_json("models.json", lambda rows: rows[0]["card"].update(forward_seconds=12.0))
    assert found(harness) == []


# --- what is made of the records --------------------------------------------------------------------------


def test_an_edited_leaderboard_is_found(harness: Command, done: Path) -> None:
    def change(rows: Records) -> None:
        rows[0].update(success_rate=0.5)
        rows[1].update(rank=2, tied=True, flags="many")
        rows.append(rows[2])
        rows.pop(3)

    names = ["{model} x {attack} {threat}".format(**row) for row in pq.read_table(FOLDER / BOARD).to_pylist()]
    edit(BOARD, change)
    lines = found(harness)
    for name, told in zip(
        names,
        ("success_rate is ", "rank is 1, recorded 2, and so on for tied, flags", "twice", "is missing"),
        strict=True,
    ):
        assert any(line.startswith(f"{BOARD}: tiny: {name}") and told in line for line in lines), (
            told,
            lines,
        )
    assert len(lines) == 4


def test_a_leaderboard_in_another_order_is_found(harness: Command, done: Path) -> None:
    edit(BOARD, lambda rows: rows.reverse())
    assert found(harness) == [f"{BOARD}: its rows are in another order"]


def test_missing_columns_are_found(harness: Command, done: Path) -> None:
    for name, column in ((BOARD, "flags"), ("cells.parquet", "access")):
        pq.write_table(pq.read_table(FOLDER / name).drop_columns([column]), FOLDER / name)
    assert found(harness) == ["cells.parquet: it has no column access", f"{BOARD}: it has no column flags"]


def test_missing_files_are_found(harness: Command, done: Path) -> None:
    names = ("models.json", "originals.parquet", BOARD)
    for name in names:
        (FOLDER / name).unlink()
    assert [line.partition(";")[0] for line in found(harness)] == [f"{name}: it is missing" for name in names]


def test_an_edited_analysis_is_found(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE + '\n[[analysis]]\nuse = "tally"\n')
    harness("run", suite, "--limit", 2)
    ran = harness("verify", FOLDER)
    assert ran.status == 0
    assert "analyses/tally.parquet: as the suite" in ran.out
    edit("analyses/tally.parquet", lambda rows: rows[0].update(success=47))
    (FOLDER / "analyses/tally.svg").write_text("<svg/>")
    ran = harness("verify", FOLDER)
    assert ran.status == 1
    assert "analyses/tally.parquet: row 0: success is 4, recorded 47\n" in ran.out
    assert "- analyses/tally.svg: drawn here it is another figure" in ran.out
    edit_json("suite.json", lambda known: known["suite"]["analysis"].clear())
    assert "the suite does not ask for tally" in harness("verify", FOLDER).out


def test_originals_exchanged_are_found(harness: Command, done: Path) -> None:
    def change(rows: Records) -> None:
        rows[0]["original"], rows[1]["original"] = rows[1]["original"], rows[0]["original"]
        rows[2]["sample_id"] = "9999.png"

    edit("originals.parquet", change)
    lines = found(harness)
    assert lines[:2] == [
        f"originals.parquet: tiny {name}: its pixels are not those of the data set"
        for name in ("0001.png", "0003.png")
    ]
    assert "originals.parquet: tiny 9999.png: the suite uses no such image" in lines
    assert "originals.parquet: tiny 0005.png: it stands there 0 times" in lines


# --- honest folders ---------------------------------------------------------------------------------------


def test_it_runs_no_attack_and_needs_no_manifest(
    harness: Command, done: Path, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.unlink()
    monkeypatch.setenv("TINY_FAULT", "Red")
    assert harness("verify", done).status == 0


MANY = """
[[model]]
use = "linear"
id = "victim"
width = 5

[[model]]
use = "untrained"
broken = "answer"

[[model]]
use = "linear"
id = "untrainable"
fail = true

[[attack]]
use = "leap"
eps = "40/255"

[[attack]]
use = "beyond"
eps = "140/255"

[[attack]]
use = "corner"

[[attack]]
use = "shared"
eps = "40/255"

[[attack]]
use = "greedy"
eps = "40/255"

[[transfer]]
surrogate = "linear"
victim = "victim"

[[exclude]]
model = "victim"
attack = "greedy"
"""


def test_an_honest_run_of_all_kinds_of_records_agrees(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_FAULT", "first")
    bound = SUITE.replace('use = "shift"\n', 'use = "shift"\nat_most = 2.0\n')
    suite.write_text(bound + MANY)
    assert harness("run", suite, "--limit", 9).status == 1
    faults = set(read_results(FOLDER).samples(["fault", "error"])["fault"].dropna())
    assert {"over the budget", "outside the box", "shift above 2"} <= faults
    ran = harness("verify", FOLDER)
    assert (ran.status, ran.err) == (0, ""), ran.out
    assert ", 0 differ from their records" in ran.out
    assert "errors: no attack was run again" in ran.out
    assert "- untrained does not answer: its answers were not compared\n" in ran.out
    assert "- untrainable x step linf 40/255: it failed in the run (" in ran.out


def test_a_limited_run_of_crossed_tables_agrees(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('use = "step"\n', 'use = "step"\nsize = [0.5, 1.0]\n'))
    harness("run", suite, "--limit", 3, "--set", "attack.step.eps=0.05")
    ran = harness("verify", FOLDER)
    assert ran.status == 0
    assert ran.out.startswith("18 adversarials judged again, 0 differ")


def test_records_in_error_keep_no_adversarial(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_FAULT", "Red")
    harness("run", suite)
    ran = harness("verify", FOLDER)
    assert ran.status == 0
    summary = (
        "72 adversarials judged again, 0 differ from their records; 24 records without a stored adversarial"
    )
    assert ran.out.splitlines()[0] == summary
    assert "- 24 errors: no attack was run again" in ran.out


def test_a_transfer_that_was_edited_is_found(harness: Command, suite: Path) -> None:
    suite.write_text(
        SUITE.replace("keep = true\n", "")
        + MANY[: MANY.index('[[model]]\nuse = "untr')]
        + ('[[transfer]]\nsurrogate = "linear"\nvictim = "victim"\nattack = "step"\n')
    )
    harness("run", suite, "--limit", 6)
    part = part_of("step from linear")

    def change(records: Records) -> None:
        records[0]["surrogate_success"] = not records[0]["surrogate_success"]
        records[1]["forwards"] = 3
        records[2]["success"] = not records[2]["success"]

    tamper(part, change, restamp=True)
    lines = "\n".join(found(harness))
    assert "surrogate_success is True, recorded False" in lines
    assert "it cost something, but is a transfer" in lines
    assert "success is False, but reached is True and valid is True" in lines


def without_checksums(folder: Path) -> None:
    """Make a finished run look as one that an earlier version wrote."""
    for part in folder.glob("samples/*/part-*.parquet"):
        pq.write_table(pq.read_table(part).replace_schema_metadata(None), part)
    file = folder / "cells.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["checksum"]), file)


def test_a_folder_of_an_earlier_version_is_verified_and_resumed(
    harness: Command, suite: Path, done: Path
) -> None:
    without_checksums(done)
    ran = harness("verify", done)
    assert ran.status == 0
    assert "- 12 parts without a checksum, as earlier versions wrote them" in ran.out
    assert "right checksum" not in ran.out
    before = {part: part.stat().st_mtime_ns for part in done.glob("samples/*/*")}
    assert "nothing was left to do" in harness("run", suite).out
    assert {part: part.stat().st_mtime_ns for part in done.glob("samples/*/*")} == before
    part_of("step", 2).unlink()
    assert "8 cases attacked" in harness("run", suite).out
    ran = harness("verify", done, "--json")
    assert (ran.status, ran.json["parts_without_checksum"]) == (0, 11)


def test_records_of_an_earlier_version_are_judged(harness: Command, done: Path) -> None:
    without_checksums(done)
    tamper(part_of("step"), put(success=False))
    assert any("success is True, recorded False" in line for line in found(harness))


# --- runs that were interrupted ---------------------------------------------------------------------------


def lazy(store: Store) -> Executor:
    """Runs the first two shards of each cell."""

    def execute(works: Any) -> Iterator[tuple[Job, int]]:
        for work in works:
            yield from in_process(store)([Work(work.job, work.shards[:2], work.advance)])

    return execute


def killed(store: Store) -> Executor:
    """Runs one shard, and ends."""

    def execute(works: Any) -> Iterator[tuple[Job, int]]:
        for work in works:
            list(in_process(store)([Work(work.job, work.shards[:1], work.advance)]))
            raise KeyboardInterrupt
        yield work.job, 0

    return execute


def test_an_unfinished_run_is_judged_as_far_as_it_goes(harness: Command, suite: Path) -> None:
    run_suite(suite, Options(), executor=lazy)
    ran = harness("verify", FOLDER)
    assert ran.status == 0, ran.out
    missing = [line for line in ran.out.splitlines() if line.startswith("missing: ")]
    assert len(missing) == 8
    assert missing[0] == f"missing: samples/{cell_of('step')}/part-00002.parquet (linear x step linf 40/255)"
    assert "32 adversarials judged again, 0 differ from their records" in ran.out
    edit("leaderboard.parquet", put(success_rate=0.5))
    assert any(line.startswith("leaderboard.parquet: ") for line in found(harness))


def test_a_run_that_was_killed_in_its_first_model(harness: Command, suite: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, Options(), executor=killed)
    for name in ("cells.parquet", "models.json", "leaderboard.parquet"):  # as a kill leaves it
        (FOLDER / name).unlink()
    ran = harness("verify", FOLDER)
    assert ran.status == 0, ran.out
    assert "missing: cells.parquet\n" in ran.out
    assert "8 adversarials judged again, 0 differ from their records" in ran.out
    (part,) = FOLDER.glob("samples/*/part-00000.parquet")
    tamper(part, put(l2=0.5))
    assert any("l2 is " in line for line in found(harness))
    (FOLDER / "leaderboard.parquet").write_bytes(b"board")
    assert "leaderboard.parquet: it is there, but cells.parquet, from which it is made, is not" in found(
        harness
    )


def test_models_that_a_killed_run_has_not_trained_are_missing(
    harness: Command, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write_text(SUITE + '\n[[model]]\nuse = "linear"\nid = "later"\nwidth = 7\n')
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "own"))
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, Options(), executor=killed)
    ran = harness("verify", FOLDER)
    assert ran.status == 0, ran.out
    assert "missing: all of later x step linf 40/255: the weights of later are not in the cache" in ran.out


# --- what is refused --------------------------------------------------------------------------------------


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
    edit_json("suite.json", lambda known: known["suite"].update(seed=99))
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


def test_a_folder_that_is_missing(refused: Callable[..., str]) -> None:
    assert 'results folder "nowhere" does not exist' in refused("verify", "nowhere")
