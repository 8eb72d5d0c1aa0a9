"""`harness run`: what it writes, how it resumes, shares, redoes, and what it says of failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from harness.files import lock
from harness.results import read_results
from harness.session import executor

from .conftest import CASES, SUITE, Command


def records(folder: Path) -> pd.DataFrame:
    """All records, in an order of their own."""
    frame = read_results(folder).samples()
    return frame.sort_values(["attack", "target", "sample_id"]).reset_index(drop=True)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal but for what depends on the clock."""
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"))


def test_a_suite_is_run(harness: Command, suite: Path) -> None:
    ran = harness("run", suite)
    assert (ran.status, ran.err) == (0, "")
    assert f"{CASES} cases attacked; 2 cells, 0 pairs skipped; results in results/small" in ran.out
    folder = Path("results/small")
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "suite.json",
        "cells.parquet",
        "leaderboard.parquet",
        "models.json",
        "originals.parquet",
        "samples",
    }
    found = records(folder)
    assert len(found) == CASES
    assert found["error"].isna().all()
    assert found["adversarial"].notna().all()
    board = read_results(folder).leaderboard().set_index("attack")
    assert board.loc["step", "success_rate"] > 0.9
    assert board.loc["still", "success_rate"] == 0
    assert set(board["coverage"]) == {1.0}
    successful = found[found["success"]]
    assert successful["shift"].notna().all()
    assert set(successful["attack"]) >= {"step"}


def test_a_second_run_does_nothing(harness: Command, suite: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "samples").rglob("*.parquet")}
    ran = harness("run", suite)
    assert ran.status == 0
    assert "nothing was left to do; 2 cells" in ran.out
    assert {path: path.stat().st_mtime_ns for path in (finished / "samples").rglob("*.parquet")} == before


def test_an_interrupted_run_is_resumed(harness: Command, suite: Path, finished: Path) -> None:
    whole = records(finished)
    for part in sorted((finished / "samples").rglob("*.parquet"))[::3]:
        part.unlink()
    left = CASES - len(records(finished))
    assert 0 < left < CASES
    assert f"{left} cases attacked" in harness("run", suite).out
    same(records(finished), whole)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_shards_together_equal_an_undivided_run(
    harness: Command, suite: Path, finished: Path, order: tuple[int, int]
) -> None:
    first = harness("run", suite, "--out", "parts", "--shard", f"{order[0]}/2")
    assert first.status == 0
    assert "shards of other processes are still missing in 2 cells" in first.out
    half = len(records(Path("parts")))
    assert 0 < half < CASES
    second = harness("run", suite, "--out", "parts", "--shard", f"{order[1]}/2")
    assert f"{CASES - half} cases attacked" in second.out
    assert "still lack" not in second.out
    same(records(Path("parts")), records(finished))
    boards = [read_results(folder).leaderboard() for folder in ("parts", finished)]
    timed = [column for column in boards[0] if "seconds" in column]
    pd.testing.assert_frame_equal(boards[0].drop(columns=timed), boards[1].drop(columns=timed))


def test_shards_are_dealt_over_all_cells(harness: Command, suite: Path) -> None:
    # Of two cells with a shard each, either process has one.
    for share in ("1/2", "2/2"):
        ran = harness("run", suite, "--set", "shard_size=1000", "--shard", share)
        assert f"{CASES // 2} cases attacked" in ran.out


def test_the_last_of_several_processes_sees_what_the_others_did_meanwhile(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = executor.run_shard
    calls = []

    def other_process_runs_first(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        if arguments[0].cell.attack.label == "still" and len(calls) < 10:
            monkeypatch.setattr(executor, "run_shard", real)
            assert harness("run", suite, "--shard", "1/2").status == 0
        return real(*arguments, **more)

    monkeypatch.setattr(executor, "run_shard", other_process_runs_first)
    assert "still lack" not in harness("run", suite, "--shard", "2/2").out
    assert set(read_results("results/small").cells()["status"]) == {"done"}


def test_a_limit_takes_so_many_images(harness: Command, suite: Path) -> None:
    assert "12 cases attacked" in harness("run", suite, "--limit", 3).out
    few = set(records(Path("results/small"))["sample_id"])
    assert len(few) == 3
    harness("run", suite, "--limit", 5, "--out", "more")
    assert few < set(records(Path("more"))["sample_id"])


def test_a_manifest_value_is_set(harness: Command, suite: Path) -> None:
    ran = harness("run", suite, "--set", "attack.step.eps=2/255", "--set", "seed=3", "--limit", 2)
    assert ran.status == 0
    results = read_results("results/small")
    assert set(results.cells()["seed"]) == {3}
    assert "linf 2/255" in set(results.cells()["threat"])


def test_variables_stand_for_flags_that_are_not_given(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_LIMIT", "2")
    monkeypatch.setenv("HARNESS_OUT", "elsewhere")
    assert "8 cases attacked; 2 cells, 0 pairs skipped; results in elsewhere" in harness("run", suite).out
    assert "12 cases attacked" in harness("run", suite, "--limit", 3, "--out", "here").out
    assert Path("here/leaderboard.parquet").is_file()


def test_a_cell_in_which_an_attack_crashes_is_an_error_and_not_robust(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_FAULT", "Red")
    ran = harness("run", suite)
    assert ran.status == 1
    line = "failed: linear x step linf 40/255: 24 of 48 cases: RuntimeError: no step towards Red"
    assert ran.err.splitlines() == [line]
    found = records(Path("results/small"))
    broken = found[found["error"].notna()]
    assert set(broken["target"]) == {"Red"}
    assert set(broken["attack"]) == {"step"}
    assert broken[["reached", "valid", "success", "linf", "adversarial"]].isna().all(axis=None)
    results = read_results("results/small")
    board = results.leaderboard().set_index("attack")
    assert board.loc["step", "coverage"] == 0.5
    assert board.loc["still", "coverage"] == 1
    status = results.cells().set_index("attack")["status"]
    assert (status["step"], status["still"]) == ("failed", "done")


def test_a_single_case_in_error_has_no_outcome(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_FAULT", "first")
    assert harness("run", suite).status == 1
    found = records(Path("results/small"))
    broken = found["error"].notna()
    assert broken.sum() == CASES // 2 // 8  # one of every batch
    outcome = ["reached", "valid", "success", "linf", "l2", "margin_adv", "decisions_adv", "adversarial"]
    assert found.loc[broken, outcome].isna().all(axis=None)
    assert found.loc[~broken, outcome].notna().all(axis=None)
    assert found.loc[broken, ["clean_correct", "margin_clean", "forwards"]].notna().all(axis=None)


OTHER = [
    "seed=1",
    "keep=false",
    "compute=bfloat16",
    "shard_size=9",
    "dataset.tiny.count=47",
    "dataset.tiny.seed=1",
    "dataset.tiny.sample=23",
    "model.linear.strength=2",
    "attack.step.size=0.5",
    "attack.step.eps=0.1",
    "attack.step.attributes=['Red']",
    "measure.shift.scale=1",
    "measure.shift.id=moved",
]
SAME = ["batch_size=5", "description=new", "attack.step.id=renamed", "attack.step.size=1", "device=cpu"]


@pytest.mark.parametrize("change", OTHER)
def test_records_of_another_configuration_are_not_taken_for_these(
    harness: Command, suite: Path, begun: Callable[..., Path], change: str
) -> None:
    few = () if "sample" in change else ("--limit", "2")  # which is a sample, too
    begun(*few)
    assert "nothing was left to do" not in harness("run", suite, *few, "--set", change).out


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_record_attacks_nothing_again(
    harness: Command, suite: Path, begun: Callable[..., Path], change: str
) -> None:
    begun("--limit", "2")
    assert "nothing was left to do" in harness("run", suite, "--limit", 2, "--set", change).out


def test_other_weights_are_another_cell(harness: Command, suite: Path) -> None:
    for value in (1.0, -1.0):
        weights = {"scores.weight": torch.zeros(2, 1440), "unused": torch.zeros(1)}
        torch.save(weights | {"scores.bias": torch.full((2,), value)}, "mine.pt")
        ran = harness("run", suite, "--set", "model.linear.weights=mine.pt")
        assert f"{CASES} cases attacked" in ran.out


def test_what_is_done_again(harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_FAULT", "Red")
    assert harness("run", suite).status == 1
    monkeypatch.delenv("TINY_FAULT")
    never = harness("run", suite, "--overwrite", "never")
    assert never.status == 1
    assert "no case was attacked; 2 cells, 1 failed, 0 pairs skipped" in never.out
    failed = harness("run", suite, "--overwrite", "failed")
    assert failed.status == 0
    assert "24 cases attacked" in failed.out
    assert "nothing was left to do" in harness("run", suite, "--overwrite", "failed").out
    assert f"{CASES} cases attacked" in harness("run", suite, "--overwrite", "all").out
    mended = records(Path("results/small"))
    harness("run", suite, "--out", "whole")
    same(mended, records(Path("whole")))


def test_only_the_current_plan_is_on_the_board(harness: Command, suite: Path) -> None:
    harness("run", suite, "--limit", 2)
    harness("run", suite, "--limit", 2, "--set", "attack.step.eps=4/255")
    board = read_results("results/small").leaderboard()
    assert set(board.loc[board["attack"] == "step", "threat"]) == {"linf 4/255"}


def test_a_model_that_cannot_be_trained_fails_its_cells_alone(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE + '[[model]]\nuse = "linear"\nid = "diverging"\nfail = true\n')
    ran = harness("run", suite)
    assert ran.status == 1
    assert f"{CASES} cases attacked" in ran.out
    lines = ran.err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "failed: diverging x" in line
        assert "training failed: RuntimeError: the loss is not a number" in line


@pytest.mark.parametrize("use", ["linear", "untrained"])
def test_a_model_that_cannot_answer_fails_its_cells_alone(harness: Command, suite: Path, use: str) -> None:
    suite.write_text(SUITE + f'[[model]]\nuse = "{use}"\nid = "mute"\nbroken = "answer"\n')
    ran = harness("run", suite)
    assert ran.status == 1
    assert len(ran.err.splitlines()) == 2
    assert all(
        "failed: mute x" in line and "the model cannot answer" in line for line in ran.err.splitlines()
    )
    results = read_results("results/small")
    assert set(results.cells()["status"]) == {"done", "failed"}


def test_a_model_without_training_is_taken_as_it_is(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('"linear"', '"untrained"'))
    assert harness("run", suite, "--limit", 2).status == 0


def test_weights_of_the_user(harness: Command, suite: Path) -> None:
    torch.save({"scores.weight": torch.zeros(2, 1440)}, "partial.pt")
    ran = harness("run", suite, "--set", "model.linear.weights=partial.pt")
    assert ran.status == 1
    assert "weights partial.pt lack scores.bias" in ran.err
    ran = harness("run", suite, "--set", "model.linear.weights=nowhere.pt")
    assert ran.status == 1
    assert "weights nowhere.pt: no such file" in ran.err
    weights = {"scores.weight": torch.zeros(2, 1440), "scores.bias": torch.ones(2), "unused": torch.zeros(1)}
    torch.save(weights, "whole.pt")
    assert harness("run", suite, "--set", "model.linear.weights=whole.pt", "--limit", 4).status == 0
    assert read_results("results/small").samples()["decisions_clean"].map(all).all()


def test_pairs_that_do_not_fit_are_skipped(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('"linear"', '"boxed"'))
    ran = harness("run", suite, "--limit", 2)
    assert ran.status == 0
    assert "1 cell, 1 pair skipped" in ran.out
    cells = read_results("results/small").cells()
    skipped = cells[cells["status"] == "skipped"]
    assert skipped["error"].tolist() == ["step needs gradients, and boxed shows no more than decisions"]


def test_a_suite_of_which_nothing_fits(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE + '[[exclude]]\nmodel = "linear"\n')
    for verb in ("run", "plan"):
        ran = harness(verb, suite)
        assert ran.status == 2
        assert "harness: suite small attacks nothing, since all 2 pairs are skipped (linear x step" in ran.err
        assert ran.err.endswith(
            "add a model or an attack that fit each other, or remove what excludes them\n"
        )
        assert len(ran.err.splitlines()) == 1


def test_a_stand_in_is_used_where_the_variable_is_unset(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    suite.write_text(
        SUITE.replace('use = "tiny"', 'use = "tiny-files"\nroot = "$TINY_FACES"\nstand_in = "tiny"')
    )
    harness("run", suite, "--limit", 2)
    cells = read_results("results/small").cells()
    assert set(cells["dataset"]) == {"tiny"}
    assert set(cells["stand_in_for"]) == {"tiny-files"}
    monkeypatch.setenv("TINY_FACES", str(tmp_path))
    (tmp_path / "faces").touch()
    harness("run", suite, "--limit", 2)
    cells = read_results("results/small").cells()
    assert set(cells["dataset"]) == {"tiny-files"}
    assert cells["stand_in_for"].isna().all()


# --- wrong requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smal.toml"], 'smal.toml: no such suite; did you mean "small.toml"?'),
        (["small.toml", "--limit", "0"], "--limit 0 must be a whole number of at least 1"),
        (["small.toml", "--shard", "3/2"], "--shard 3/2 must be i/n"),
        (["small.toml", "--overwrite", "some"], "--overwrite some is unknown; valid: all, failed, never"),
        (["small.toml", "--device", "cud"], 'device "cud" cannot be used'),
        (["small.toml", "--device", "cuda:77"], 'device "cuda:77" cannot be used'),
        (["small.toml", "--set", "seed"], "--set seed: write KEY=VALUE"),
        (["small.toml", "--set", "seed=x"], "small.toml.seed = 'x' must be int"),
        (["small.toml", "--set", "attack.setp.eps=1"], 'has no attack "setp"; did you mean "step"?'),
        (["small.toml", "--set", "attack.step.szie=1"], '"szie" is unknown; did you mean "size"?'),
        (["small.toml", "--set", "attack.step.attributes=['Blue']"], 'attribute "Blue" is unknown'),
        (["small.toml", "--set", "dataset.tiny.partition=validation"], 'partition "validation" is empty'),
        (
            ["small.toml", "--set", "dataset.tiny.sample=25"],
            'sample = 25, but partition "test" has 24 images',
        ),
        (["small.toml", "--out", "small.toml"], "small.toml cannot be written: Not a directory"),
        (["small.toml", "--out", ""], "--out is empty; give the path of a folder"),
    ],
)
def test_a_wrong_request_is_one_line(
    refused: Callable[..., str], suite: Path, arguments: list[str], message: str
) -> None:
    assert message in refused("run", *arguments)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('use = "tiny-files"\nroot = "nowhere"', 'dataset "tiny-files": nowhere: no file called faces'),
        (
            'use = "tiny-files"\nroot = "$TINY_FACES"',
            'root = "$TINY_FACES": the environment variable TINY_FACES is unset; set it, or --set',
        ),
        ('use = "unreadable"', "dataset \"unreadable\": KeyError: 'annotations'"),
        ('use = "unreadable"\nstage = "read"', "unreadable: OSError: [Errno 5] Input/output error"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_one_line(
    refused: Callable[..., str], suite: Path, table: str, message: str
) -> None:
    text = SUITE.replace('use = "tiny"\npartition = "test"', table).replace('"linear"', '"untrained"')
    suite.write_text(text)
    assert message in refused("run", suite)


def test_a_folder_in_use_is_refused(refused: Callable[..., str], suite: Path) -> None:
    with lock(Path("results/small/.lock-1-of-1"), "busy"):
        assert "results/small is being written by another run (process " in refused("run", suite)


def test_a_cache_that_cannot_be_written_is_one_line(
    refused: Callable[..., str], suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(suite))
    assert "small.toml" in refused("run", suite)


def test_a_damaged_shard_is_one_line(harness: Command, refused: Callable[..., str], suite: Path) -> None:
    harness("run", suite, "--limit", 4)
    part = next(Path("results/small/samples").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    message = refused("run", suite, "--limit", 4)
    assert part.name in message
    assert message.endswith("remove it and run again")


def test_an_interruption_is_told(harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.session.executor.run_shard", interrupted)
    ran = harness("run", suite)
    assert ran.status == 130
    assert ran.err == "harness: interrupted; finished shards are kept, run it again to continue\n"
    assert Path("results/small/cells.parquet").is_file()
