"""The board: what counts, what is left out, the worst case, ranks and ties."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from harness.catalog import Entry, Plugin
from harness.errors import ResultsError
from harness.export.columns import notes
from harness.leaderboard.board import build, columns, write
from harness.leaderboard.ranking import standing
from harness.metrics import CORE, SPECS, Estimate, rate
from harness.metrics.outcomes import as_outcomes
from harness.results import read_results
from harness.specs import MetricSpec
from harness.store.parquet import read_records

from . import board_fixture as tiny
from .board_fixture import broken, cell, record

METRICS = ["clean_accuracy", "robust_accuracy", "success_rate", "natural_rate", "mean_l2", "mean_linf"]


def board_of(tmp_path: Path, *cells: dict[str, Any], **options: Any) -> pd.DataFrame:
    """The board of some cells."""
    return build(tiny.write(tmp_path / "tiny", cells), **options)


def row_of(board: pd.DataFrame, attack: str, model: str = "moon", **where: Any) -> pd.Series:
    """The only row of an attack on a model."""
    found = board[(board["attack"] == attack) & (board["model"] == model)]
    for name, value in where.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_rates_count_what_they_say(tmp_path: Path) -> None:
    records = [
        record("a", success=True, l2=2.0, linf=0.5, **{"pass": 0.25}),
        record("b", success=False, l2=9.0, linf=0.9),
        record("c", success=False, l2=9.0, linf=0.9),
        record("d", success=True, clean_correct=False, l2=7.0, linf=0.7),
        record("e", success=False, clean_correct=False, valid=False, forwards=8),
    ]
    row = row_of(board_of(tmp_path, cell(records)), "pgd")
    assert (row["n"], row["images"], row["coverage"]) == (5, 5, 1.0)
    assert row["clean_accuracy"] == pytest.approx(3 / 5)
    assert row["robust_accuracy"] == pytest.approx(2 / 5)
    assert row["success_rate"] == pytest.approx(1 / 3)
    assert row["natural_rate"] == pytest.approx(1 / 2)
    assert row["valid_rate"] == pytest.approx(4 / 5)
    assert (row["mean_l2"], row["mean_linf"], row["mean_pass"]) == (2.0, 0.5, 0.25)
    assert row["mean_forwards"] == 4.0
    assert row["forwards_per_success"] == 20 / 2
    expected = binomtest(1, 3).proportion_ci(method="wilson")
    assert row["success_rate_low"] == pytest.approx(expected.low)
    assert row["success_rate_high"] == pytest.approx(expected.high)


def test_columns_come_in_order_whatever_the_board_holds(tmp_path: Path) -> None:
    full = board_of(tmp_path / "full", cell([record("a")]), metric_entries={})
    empty = board_of(tmp_path / "empty", metric_entries={})
    assert list(full.columns) == list(empty.columns) == columns()
    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    assert columns()[:12] == [
        *("rank", "tied", "dataset", "stand_in_for", "model", "attack", "threat", "goal"),
        *("n", "images", "coverage", "clean_accuracy"),
    ]
    late = columns().index("error")
    assert columns()[late : late + 6] == [
        *("error", "flags", "forwards_per_success", "backwards_per_success", "seconds_per_success"),
        "clusters",
    ]
    assert all(name.endswith("_n") for name in columns()[late + 6 :])
    assert len(empty) == 0


def test_errors_are_neither_robust_nor_fooled(tmp_path: Path) -> None:
    records = [record("a", success=True), record("b"), *(broken(f"x{i}") for i in range(8))]
    row = row_of(board_of(tmp_path, cell(records)), "pgd")
    assert (row["n"], row["coverage"]) == (10, 0.2)
    assert row["robust_accuracy"] == row["success_rate"] == 0.5
    assert row["error"] == "8 of 10 cases: RuntimeError: no"


def test_an_outcome_beside_an_error_does_not_count(tmp_path: Path) -> None:
    records = [
        record("a"),
        record("b", error="RuntimeError"),
        record("c", success=True, error="RuntimeError"),
    ]
    board = board_of(tmp_path, cell(records))
    for attack in ("pgd", "worst-case"):
        row = row_of(board, attack)
        assert row["coverage"] == pytest.approx(1 / 3)
        assert row["success_rate"] == 0.0


def test_a_record_without_outcome_is_not_covered(tmp_path: Path) -> None:
    records = [record("a"), record("b", success=None), record("c", clean_correct=None)]
    board = board_of(tmp_path, cell(records))
    assert row_of(board, "pgd")["coverage"] == row_of(board, "worst-case")["coverage"] == pytest.approx(1 / 3)
    assert row_of(board, "clean")["coverage"] == pytest.approx(2 / 3)


def test_only_errors_leave_every_metric_null(tmp_path: Path) -> None:
    board = board_of(tmp_path, cell([broken("a"), broken("b")]))
    for attack in ("pgd", "worst-case"):
        row = row_of(board, attack)
        assert row["coverage"] == 0.0
        assert row[METRICS].isna().all()
        assert pd.isna(row["rank"])
        assert pd.isna(row["attack_rank"])
    # What the model answered before the attack is known all the same.
    assert row_of(board, "clean")["robust_accuracy"] == 1.0


def test_missing_records_lower_the_coverage(tmp_path: Path) -> None:
    board = board_of(tmp_path, cell([record("a"), record("b")], cases=8, status="partial"))
    for attack in ("clean", "pgd", "worst-case"):
        assert row_of(board, attack)["n"] == 8
        assert row_of(board, attack)["coverage"] == 0.25
    assert row_of(board, "pgd")["robust_accuracy"] == 1.0


def test_a_failed_cell_is_shown_with_its_error(tmp_path: Path) -> None:
    failed = cell(attack="cw", status="failed", error="AttackError:\n no gradient", cases=2)
    row = row_of(board_of(tmp_path, cell([record("a"), record("b")]), failed), "cw")
    assert (row["n"], row["coverage"], row["cells_failed"]) == (2, 0.0, 1)
    assert row["error"] == "AttackError: no gradient"
    assert row[METRICS].isna().all()


def test_skipped_cells_are_not_on_the_board(tmp_path: Path) -> None:
    skipped = cell(attack="fgs", status="skipped", error="one loss", cases=None)
    elsewhere = cell(attack="fgs", model="paw", status="skipped", cases=None)
    board = board_of(tmp_path, cell([record("a")]), skipped, elsewhere)
    assert list(board["attack"]) == ["clean", "pgd", "worst-case"]
    assert board["coverage"].eq(1.0).all()


def test_cells_of_other_plans_are_not_on_the_board(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "tiny", [cell([record("a", success=True)], attack="old")])
    tiny.write(folder, [cell([record("a")])])
    assert list(build(folder)["attack"]) == ["clean", "pgd", "worst-case"]
    assert row_of(build(folder), "worst-case")["success_rate"] == 0.0


def test_several_cells_share_a_row_where_seeds_are_crossed(tmp_path: Path) -> None:
    cells = [cell([record("a", success=seed > 0), record("b")], seed=seed) for seed in (0, 1, 2)]
    board = board_of(tmp_path, *cells)
    row = row_of(board, "pgd")
    assert (row["n"], row["images"]) == (6, 2)
    assert row["success_rate"] == pytest.approx(2 / 6)
    assert row_of(board, "worst-case")["n"] == 2
    assert row_of(board, "worst-case")["success_rate"] == 0.5


def test_clean_row(tmp_path: Path) -> None:
    records = [record(str(i), success=True, clean_correct=i < 6) for i in range(8)]
    row = row_of(board_of(tmp_path, cell(records)), "clean")
    expected = binomtest(6, 8).proportion_ci(method="wilson")
    assert row["threat"] == "none"
    assert row["clean_accuracy"] == row["robust_accuracy"] == 0.75
    assert row["robust_accuracy_low"] == pytest.approx(expected.low)
    assert row["robust_accuracy_high"] == pytest.approx(expected.high)
    assert row[["success_rate", "natural_rate", "mean_l2", "mean_forwards"]].isna().all()


def test_an_uncovered_case_is_not_robust_in_the_worst_case(tmp_path: Path) -> None:
    one = cell([record("a"), record("b", success=True), record("c")], attack="one")
    other = cell([broken("a"), broken("b"), record("c")], attack="other")
    row = row_of(board_of(tmp_path, one, other), "worst-case")
    assert row["threat"] == "linf 8/255"
    assert row["coverage"] == pytest.approx(2 / 3)  # a: no success, and not known to be robust
    assert row["robust_accuracy"] == row["success_rate"] == 0.5
    assert row["robust_accuracy_low"] == pytest.approx(binomtest(1, 3).proportion_ci(method="wilson").low)
    assert row["robust_accuracy_high"] == pytest.approx(binomtest(2, 3).proportion_ci(method="wilson").high)
    assert row["success_rate_low"] == pytest.approx(binomtest(1, 3).proportion_ci(method="wilson").low)
    assert row["success_rate_high"] == pytest.approx(binomtest(2, 3).proportion_ci(method="wilson").high)


def test_cases_that_an_unfinished_cell_may_have_planned_are_not_robust(tmp_path: Path) -> None:
    rows = [record(image, target, success=image == "d") for image in "abcd" for target in ("Young", "Male")]
    whole = cell(rows, attack="whole")
    partial = cell([record("a", "Young"), record("b", "Young")], attack="partial", cases=8, status="partial")
    row = row_of(board_of(tmp_path, whole, partial), "worst-case")
    # Young of a and b are settled, and what the other attack succeeded on; "Male" may be planned there, too
    assert (row["n"], row["coverage"]) == (8, 4 / 8)
    # A cell that failed before its cases were counted may have planned any.
    failed = cell(attack="failed", cases=None, status="failed")
    row = row_of(board_of(tmp_path / "2", whole, failed), "worst-case")
    assert (row["n"], row["coverage"]) == (8, 2 / 8)
    assert row["robust_accuracy"] == 0.0


def test_cases_of_which_no_attack_has_a_record_yet_are_counted(tmp_path: Path) -> None:
    one = cell([record("a"), record("b")], attack="one", cases=6, status="partial")
    other = cell([record("c")], attack="other", cases=4, status="partial")
    row = row_of(board_of(tmp_path, one, other), "worst-case")
    assert (row["n"], row["coverage"]) == (4, 0.0)  # the worst case will have four cases at most
    failed = cell(attack="failed", cases=None, status="failed")
    assert row_of(board_of(tmp_path / "2", one, failed), "worst-case")["n"] == 6
    assert row_of(board_of(tmp_path / "3", failed), "worst-case")["n"] == 0


def test_a_weak_attack_on_more_cases_does_not_make_a_model_robust(tmp_path: Path) -> None:
    """Noise is tried on forty attributes, and a strong attack on one of them."""
    attributes = [f"attribute {number}" for number in range(40)]
    noise = cell([record(image, name) for image in "abcde" for name in attributes], attack="noise")
    strong = [record(image, attributes[0], success=image != "e") for image in "abcde"]
    row = row_of(board_of(tmp_path, noise, cell(strong, attack="pgd")), "worst-case")
    assert (row["n"], row["images"], row["coverage"]) == (5, 5, 1.0)
    assert row["success_rate"] == 0.8
    assert row["robust_accuracy"] == pytest.approx(0.2)
    # Errors of the strong attack leave cases open, and take none away.
    holed = [broken("a", attributes[0]), *strong[1:]]
    row = row_of(board_of(tmp_path / "2", noise, cell(holed, attack="pgd")), "worst-case")
    assert (row["n"], row["coverage"]) == (5, 0.8)
    assert row["robust_accuracy_low"] == pytest.approx(rate([True] + [False] * 4).low)
    assert row["robust_accuracy_high"] == pytest.approx(rate([True] * 2 + [False] * 3).high)


def test_the_clean_row_has_the_cases_of_all_attacks(tmp_path: Path) -> None:
    young = cell([record("a", "Young"), record("b", "Young", clean_correct=False)], attack="young")
    both = cell([record(image, name) for image in "ac" for name in ("Young", "Male")], attack="both")
    row = row_of(board_of(tmp_path, young, both), "clean")
    assert (row["n"], row["images"], row["coverage"]) == (5, 3, 1.0)
    assert row["clean_accuracy"] == row["robust_accuracy"] == 0.8


def test_attacks_on_other_cases_have_no_worst_case(tmp_path: Path) -> None:
    young = cell([record("a", "Young", success=True), record("b", "Young")], attack="young")
    male = cell([record("a", "Male"), record("b", "Male", success=True)], attack="male")
    board = board_of(tmp_path, young, male, cell([record("a")], attack="other", threat="square"))
    row = row_of(board, "worst-case", threat="linf 8/255")
    assert (row["n"], row["images"], row["coverage"]) == (0, 0, 0.0)
    assert row[METRICS].isna().all()
    assert pd.isna(row["rank"])
    assert row["error"].startswith(
        "no case was tried by all 2 attacks that count under this threat; name the"
    )
    assert row["error"] in "".join(notes(board))
    other = row_of(board, "worst-case", threat="square")
    assert (other["n"], other["error"]) == (1, None)
    assert row_of(board, "clean")["n"] == 5


def _random_cells(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Attacks on random subsets of cases, with errors and missing PASS."""
    cases = [(f"{image}.jpg", target) for image in range(12) for target in ("Young", "Male", None)]
    correct = {case: bool(rng.random() < 0.7) for case in cases}
    cells = []
    for number in range(5):
        records = []
        for case in cases:
            draw = rng.random()
            if draw < 0.2:
                continue
            values = {"l2": float(rng.random()), "linf": float(rng.random()), "pass": float(rng.random())}
            if draw < 0.3:
                records.append(broken(*case, clean_correct=correct[case]))
            else:
                success = bool(rng.random() < 0.3)
                records.append(record(*case, success=success, clean_correct=correct[case], **values))
        rng.shuffle(records)  # type: ignore[arg-type]
        cells.append(cell(records, attack=f"attack {number}"))
    return cells


@pytest.mark.parametrize("seed", range(5))
def test_worst_case_is_that_of_brute_force(tmp_path: Path, seed: int) -> None:
    cells = _random_cells(np.random.default_rng(seed))
    row = row_of(board_of(tmp_path, *cells), "worst-case")
    frame = pd.DataFrame([row for one in cells for row in one["records"]])
    correct, success, covered, nearest = [], [], [], []
    for _, tried in frame.groupby(["sample_id", "target"], dropna=False):
        if len(tried) < len(cells):
            continue
        hits = tried[tried["success"].eq(True)]
        correct.append(bool(tried["clean_correct"].iloc[0]))
        success.append(len(hits) > 0)
        covered.append(len(hits) > 0 or tried["error"].isna().all())
        nearest.append((hits["l2"].min(), hits["linf"].min(), hits["pass"].max()))
    right, hit, known = np.array(correct), np.array(success), np.array(covered)
    assert row["n"] == right.size
    assert row["coverage"] == pytest.approx(known.mean())
    assert row["robust_accuracy"] == pytest.approx((right & ~hit)[known].mean())
    assert row["success_rate"] == pytest.approx(hit[known & right].mean())
    assert row["natural_rate"] == pytest.approx(hit[known & ~right].mean())
    expected = np.array(nearest)[right & hit].mean(axis=0)
    assert row[["mean_l2", "mean_linf", "mean_pass"]].tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_ranks_and_ties(tmp_path: Path) -> None:
    def attacked(model: str, successes: int) -> dict[str, Any]:
        return cell([record(str(i), success=i < successes) for i in range(100)], model=model)

    board = board_of(tmp_path, attacked("a", 10), attacked("b", 12), attacked("c", 50), attacked("d", 90))
    ranks = {model: tuple(row_of(board, "pgd", model)[["rank", "tied"]]) for model in "abcd"}
    assert ranks == {"a": (1, True), "b": (1, True), "c": (3, False), "d": (4, False)}
    clean = board[board["attack"] == "clean"]
    assert clean["rank"].eq(1).all()
    assert clean["tied"].all()
    assert list(dict.fromkeys(board["model"])) == ["a", "b", "c", "d"]


def test_ranks_compare_only_what_is_comparable(tmp_path: Path) -> None:
    def one(model: str, success: bool, **values: Any) -> dict[str, Any]:
        records = [record(str(i), success=success) for i in range(50)]
        return cell(records, model=model, cell=f"{model}{len(values)}{values}", **values)

    board = board_of(
        tmp_path, one("a", True), one("b", False, threat="l2 1"), one("c", False, dataset="mnist")
    )
    attacked = board[board["attack"] == "pgd"]
    assert attacked["rank"].eq(1).all()
    assert not attacked["tied"].any()
    worst = board[board["attack"] == "worst-case"].set_index("model")["rank"].to_dict()
    assert worst == {"b": 1, "a": 1, "c": 1}  # under other threats, and of other images


def better(size: int, *pairs: tuple[int, int]) -> np.ndarray:
    found = np.zeros((size, size), bool)
    for one, other in pairs:
        found[one, other] = True
    return found


def test_what_is_worse_than_one_is_worse_than_all_that_beat_it() -> None:
    # 0 and 1 beat 2, 2 beats 3, and 3 is like 0 and 1: it stands below 2 all the same
    ranks, tied = standing(better(4, (0, 2), (1, 2), (2, 3)))
    assert ranks == [1, 1, 3, 4]
    assert tied == [True, True, False, False]


def test_ties_are_not_transitive() -> None:
    ranks, tied = standing(better(4, (0, 2), (0, 3), (1, 3), (2, 3)))
    assert ranks == [1, 1, 2, 4]  # the first and the third differ; both are like the second
    assert tied == [True, True, True, False]


def test_a_circle_shares_its_rank() -> None:
    ranks, _ = standing(better(3, (0, 1), (1, 2), (2, 0)))
    assert ranks == [3, 3, 3]


def test_attacks_are_ranked_by_success(tmp_path: Path) -> None:
    def attack(name: str, successes: int, threat: str = "linf 8/255") -> dict[str, Any]:
        records = [record(str(i), success=i < successes) for i in range(100)]
        return cell(records, attack=name, threat=threat, cell=f"{name} {successes}")

    board = board_of(tmp_path, attack("x", 5), attack("y", 95), attack("z", 90), attack("x", 50, "linf 1"))
    assert list(board["attack"]) == ["clean", "y", "z", "x", "x", "worst-case", "worst-case"]
    # z succeeds only where y does, and on 5 of 100 cases less
    assert board["attack_rank"].tolist() == [pd.NA, 1, 1, 3, 4, pd.NA, pd.NA]
    assert board["attack_tied"].tolist() == [pd.NA, True, True, False, False, pd.NA, pd.NA]


def test_rows_are_ordered(tmp_path: Path) -> None:
    def one(model: str, success: bool | None, **values: Any) -> dict[str, Any]:
        rows = [record("a", success=success) if success is not None else broken("a")]
        return cell(rows, model=model, cell=f"{model}-{values}", **values)

    board = board_of(
        tmp_path,
        one("weak", True),
        one("unknown", None),
        one("robust", False),
        one("robust", False, dataset="aaa"),
        one("robust", True, goal="untargeted"),
    )
    blocks = list(dict.fromkeys(zip(board["dataset"], board["goal"], board["model"], strict=True)))
    assert blocks == [
        ("aaa", "flip", "robust"),
        ("faces", "flip", "robust"),
        ("faces", "flip", "weak"),
        ("faces", "flip", "unknown"),
        ("faces", "untargeted", "robust"),
    ]


def test_intervals_are_clustered_by_image(tmp_path: Path) -> None:
    records = [record(f"{i}.jpg", f"t{t}", success=i % 2 == 0) for i in range(20) for t in range(10)]
    board = board_of(tmp_path, cell(records))
    expected = binomtest(10, 20).proportion_ci(method="wilson")
    for attack in ("pgd", "worst-case"):
        row = row_of(board, attack)
        assert (row["n"], row["images"]) == (200, 20)
        assert row["success_rate_low"] == pytest.approx(expected.low, abs=0.03)
        assert row["success_rate_high"] == pytest.approx(expected.high, abs=0.03)


def test_stand_in_and_strange_names_survive(tmp_path: Path) -> None:
    strange = 'a | b_{1} <x> "q" ünï & 100 %\t$'
    one = cell([record(strange, strange)], model=strange, attack=strange, stand_in_for="celeba", cell="1")
    board = board_of(tmp_path, one)
    assert row_of(board, strange, strange)["stand_in_for"] == "celeba"
    assert set(board["model"]) == {strange}


def entry(run: str, columns: tuple[str, ...] = ("l2",), plugin: str = "mine") -> Entry[MetricSpec]:
    """A plugin's metric."""
    return Entry(
        MetricSpec(name="largest-l2", summary="", run=f"{__name__}:{run}", columns=columns),
        Plugin(plugin, plugin, "1"),
    )


def largest_l2(records: pd.DataFrame) -> Estimate:
    """A metric of a plugin."""
    assert list(records.columns) == ["l2"]
    return Estimate(float(records["l2"].max()), None, 9.0, len(records))


def failing(records: pd.DataFrame) -> Estimate:
    """A metric that raises."""
    raise ZeroDivisionError("nothing to divide by")


def a_float(records: pd.DataFrame) -> float:
    """A metric that breaks the contract."""
    return 1.0


def test_metrics_of_plugins_add_columns(tmp_path: Path) -> None:
    cells = [cell([record("a", l2=0.5), record("b", l2=0.75), broken("c", l2=8.0)])]
    board = board_of(tmp_path, *cells, metric_entries={"largest-l2": entry("largest_l2")})
    row = row_of(board, "pgd")
    assert (row["largest_l2"], row["largest_l2_high"]) == (0.75, 9.0)  # a case in error is left out
    assert math.isnan(row["largest_l2_low"])
    assert math.isnan(row_of(board, "clean")["largest_l2"])
    assert list(board.columns) == [*columns(), "largest_l2", "largest_l2_low", "largest_l2_high"]


def test_a_metric_without_interval_adds_one_column(tmp_path: Path) -> None:
    plain = entry("largest_l2")
    plain = replace(plain, spec=replace(plain.spec, interval=False))
    board = board_of(tmp_path, cell([record("a", l2=0.5)]), metric_entries={"mine/largest-l2": plain})
    assert list(board.columns) == [*columns(), "mine_largest_l2"]
    assert row_of(board, "pgd")["mine_largest_l2"] == 0.5


def test_a_metric_of_some_goals_reads_no_records_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cell([record("a", l2=0.5)])
    asked: list[set[str]] = []

    def reading(folder: Path, cell: str, columns: Iterable[str]) -> Any:
        asked.append(set(columns))
        return read_records(folder, cell, columns)

    monkeypatch.setattr("harness.leaderboard.model_rows.read_records", reading)
    found = {}
    for goals in (None, frozenset({"flip", "evade"}), frozenset({"triplet"})):
        asked.clear()
        mine = entry("largest_l2")
        mine = replace(mine, spec=replace(mine.spec, goals=goals))
        board = board_of(tmp_path / str(len(found)), one, metric_entries={"largest-l2": mine})
        found[goals] = row_of(board, "pgd")["largest_l2"], {"l2", "error"} in asked
    assert list(found.values())[:2] == [(0.5, True)] * 2
    value, was_read = found[frozenset({"triplet"})]
    assert math.isnan(value)
    assert not was_read


def median_l2(records: Any) -> Estimate:
    """A core metric of the nearest adversarials."""
    cases = as_outcomes(records, "l2")
    return Estimate(float(np.nanmedian(cases.values["l2"])), 0.25, 4.0, cases.keys.size)


def longest(records: Any) -> Estimate:
    """A core metric of what an attack cost."""
    return Estimate(float(as_outcomes(records, "forwards").values["forwards"].max()), None, None, 1)


def test_a_core_metric_needs_its_function_and_its_spec_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = columns()
    for metric, column, interval in ((median_l2, "l2", True), (longest, "forwards", False)):
        name = metric.__name__.replace("_", "-")
        spec = MetricSpec(name=name, summary="", run="", columns=("sample_id", column), interval=interval)
        monkeypatch.setitem(CORE, name, metric)
        monkeypatch.setitem(SPECS, name, spec)
    board = board_of(tmp_path, cell([record("a", success=True, l2=2.0, forwards=7)]), metric_entries={})
    added = ["median_l2", "median_l2_low", "median_l2_high", "longest"]
    at = before.index("clusters")
    assert list(board.columns) == [*before[:at], *added, *before[at:], "median_l2_n"]
    assert board.set_index("attack")["median_l2"].to_dict() == {
        "clean": pytest.approx(math.nan, nan_ok=True),
        "pgd": 2.0,
        "worst-case": 2.0,
    }
    assert row_of(board, "worst-case")["median_l2_high"] == 4.0
    assert row_of(board, "pgd")["longest"] == 7
    assert math.isnan(row_of(board, "worst-case")["longest"])


def test_a_metric_without_its_columns_is_null(tmp_path: Path) -> None:
    board = board_of(tmp_path, cell([record("a")]), metric_entries={"x": entry("largest_l2", ("l2", "ssim"))})
    row = row_of(board, "pgd")
    assert math.isnan(row["x"])
    assert row["error"] is None or pd.isna(row["error"])


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("failing", 'metric "mine/largest-l2": ZeroDivisionError: nothing to divide by'),
        ("a_float", "it gave float instead of a harness.metrics.Estimate"),
        ("absent", "absent cannot be loaded"),
    ],
)
def test_a_metric_that_fails_is_null_and_told(tmp_path: Path, run: str, said: str) -> None:
    board = board_of(tmp_path, cell([record("a"), broken("b")]), metric_entries={"x": entry(run)})
    row = row_of(board, "pgd")
    assert math.isnan(row["x"])
    assert row["success_rate"] == 0.0
    assert said in row["error"]
    assert row["error"].startswith("1 of 2 cases: RuntimeError")


def test_write_is_what_is_read(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "tiny", [cell([record("a", success=True), broken("b")])])
    file = write(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("cells.parquet", "leaderboard.parquet", "samples", "suite.json")
    ]
    pd.testing.assert_frame_equal(read_results(folder).leaderboard(), build(folder))
    names = pq.read_schema(file).names
    assert names[: len(columns())] == columns()
    (folder / "samples").rename(folder / "gone")
    assert row_of(read_results(folder).leaderboard(), "pgd")["success_rate"] == 1.0


def test_write_leaves_the_old_board_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.write(tmp_path / "tiny", [cell([record("a")])])
    write(folder)
    before = (folder / "leaderboard.parquet").read_bytes()

    def full(frame: pd.DataFrame, path: Path, **options: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(ResultsError, match="no space left"):
        write(folder)
    assert (folder / "leaderboard.parquet").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_same_records_give_the_same_board(tmp_path: Path) -> None:
    cells = _random_cells(np.random.default_rng(7))
    pd.testing.assert_frame_equal(board_of(tmp_path / "1", *cells), board_of(tmp_path / "2", *cells))
