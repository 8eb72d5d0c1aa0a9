"""Success versus cost: the share of cases broken after so many passes, and what ends a curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.analysis.analysis import write
from harness.analysis.cost_curve import run
from harness.catalog import Choice, catalog
from harness.errors import HarnessError
from harness.metrics import rate
from harness.results import Results, read_results
from tests.leaderboard import board_fixture as tiny
from tests.leaderboard.board_fixture import broken, cell, record


def results_of(tmp_path: Path, *cells: dict[str, Any]) -> Results:
    return read_results(tiny.write(tmp_path / "tiny", cells))


def table_of(tmp_path: Path, *cells: dict[str, Any]) -> pd.DataFrame:
    return run(results_of(tmp_path, *cells)).table


SOME = [
    record("a", success=True, forwards=4, backwards=2, found=2),  # half of the way: 2 + 1
    record("b", success=True, forwards=4, backwards=2, found=4),
    record("c", success=True, forwards=5, backwards=0),  # it did not say when: all that it spent
    record("d", success=False, forwards=20, backwards=10, found=1),
    record("e", success=True, clean_correct=False, forwards=1, backwards=0),
    broken("f"),
]


def test_successes_count_when_they_were_found(tmp_path: Path) -> None:
    table = table_of(tmp_path, cell(SOME))
    assert table["passes"].tolist() == [3, 5, 6, 30]
    assert table["successes"].tolist() == [1, 2, 3, 3]
    assert table["rate"].tolist() == [1 / 4, 2 / 4, 3 / 4, 3 / 4]
    assert table["n"].eq(4).all()  # neither the error nor the natural adversarial
    assert table["last"].tolist() == [False, False, False, True]
    # Stopped after 5 passes, the cases cost 3, 5, 5 and 5.
    assert table["mean_passes"].tolist() == [3, 18 / 4, 20 / 4, (3 + 5 + 6 + 30) / 4]
    interval = rate(np.array([True, True, False, False]))
    assert (table["low"][1], table["high"][1]) == pytest.approx((interval.low, interval.high))


def test_a_curve_ends_at_the_most_that_was_spent(tmp_path: Path) -> None:
    never = [record(str(spent), success=False, forwards=spent, backwards=0) for spent in (7, 9)]
    table = table_of(tmp_path, cell(never))
    assert table[["passes", "successes", "rate", "last"]].to_numpy().tolist() == [[9, 0, 0.0, True]]
    # A success at the very end is one row, not two.
    table = table_of(tmp_path / "2", cell([*never, record("c", success=True, forwards=9, backwards=0)]))
    assert table[["passes", "successes", "last"]].to_numpy().tolist() == [[9, 1, True]]


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_that_of_brute_force(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = []
    for number in range(300):
        forwards = int(rng.integers(1, 60))
        success = bool(rng.random() < 0.6)
        found = int(rng.integers(1, forwards + 1)) if rng.random() < 0.8 else None
        told = {"forwards": forwards, "backwards": forwards, "found": found if success else None}
        records.append(record(f"{number % 100}", f"t{number // 100}", success=success, **told))
    whole = run(results_of(tmp_path, cell(records)), points=1000).table
    frame = pd.DataFrame(records)
    passes = 2 * frame["found"].fillna(frame["forwards"])
    for row in whole.to_dict("records"):
        hits = frame["success"] & (passes <= row["passes"])
        assert row["rate"] == pytest.approx(hits.mean())
        until = passes.where(frame["success"], 2 * frame["forwards"])
        assert row["mean_passes"] == pytest.approx(until.clip(upper=row["passes"]).mean())
    assert set(whole["passes"]) == {*passes[frame["success"]], 2 * frame["forwards"].max()}
    few = run(read_results(tmp_path / "tiny"), points=5).table
    assert len(few) <= 6
    assert whole.merge(few, on=["passes", "successes", "rate"]).shape[0] == len(few)


def test_rows_are_those_of_the_board_without_transfers(tmp_path: Path) -> None:
    cells = [
        cell(SOME),
        cell(SOME, seed=1),
        cell(SOME, attack="pgd from paw", surrogate="paw"),
        cell(SOME, attack="fgs", status="skipped"),
        cell(SOME, model="paw", stand_in_for="celeba"),
        cell([broken("a")], attack="cw"),
    ]
    table = table_of(tmp_path, *cells)
    ends = table[table["last"]]
    assert ends[["model", "attack", "n"]].to_numpy().tolist() == [["moon", "pgd", 8], ["paw", "pgd", 4]]
    assert ends["stand_in_for"].tolist() == [None, "celeba"]


def test_there_is_a_panel_per_model_and_a_line_per_attack(tmp_path: Path) -> None:
    cells = [cell(SOME, model=model) for model in ("moon", "paw")]
    cells += [cell(SOME, model="moon", threat="linf 16/255", cell="wide")]
    cells += [cell([record("a", success=True, forwards=0, backwards=0)], attack="unasked", model="moon")]
    figure = run(results_of(tmp_path, *cells)).figure
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["moon", "paw"]
    for axes, ends in zip(figure.axes, (2, 1), strict=True):
        assert axes.get_xscale() == "log"
        marks = [line for line in axes.get_lines() if line.get_marker() != "None"]
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [(30, 75)] * ends
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["pgd, linf 8/255", "pgd, linf 16/255"]  # by budget; what never asked has no line
    # The curve itself: steps up at 3, 5 and 6 passes, from nothing.
    (first, *_) = [line for line in figure.axes[1].get_lines() if line.get_marker() == "None"]
    assert first.get_drawstyle() == "steps-post"
    assert first.get_xydata().tolist() == [[3, 0], [3, 25], [5, 50], [6, 75], [30, 75]]


def test_folders_of_earlier_versions_are_charged_in_full(tmp_path: Path) -> None:
    results = results_of(tmp_path, cell(SOME))
    for file in (results.path / "samples").rglob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["found"]), file)
    assert run(results).table["passes"].tolist() == [5, 6, 30]


def test_nothing_attacked_is_one_line(tmp_path: Path) -> None:
    for number, cells in enumerate(([], [cell([broken("a")])], [cell(SOME, surrogate="paw")])):
        with pytest.raises(HarnessError, match="classified correctly before an attack has an outcome"):
            run(results_of(tmp_path / str(number), *cells))


def test_it_is_an_analysis_of_the_core(tmp_path: Path) -> None:
    entry = catalog().analyses["core/success-versus-cost"]
    results = results_of(tmp_path, cell(SOME))
    (written,) = write(results.path, [Choice("curve", entry, {}, "here")])
    assert written.error is None
    assert [file.suffix for file in written.files] == [".parquet", ".svg"]
    assert len(results.analysis("curve")) == 4
