"""Analyses of a suite: made after a run, and again from the records alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ResultsError
from harness.results import read_results

from .conftest import SUITE, Command

FOLDER = Path("results/small")
PLACE = FOLDER / "analyses"
TALLY = SUITE + '\n[[analysis]]\nuse = "tally"\n'


def files() -> set[str]:
    return {path.name for path in PLACE.iterdir()}


def test_a_run_writes_table_and_figure(harness: Command, suite: Path) -> None:
    suite.write_text(TALLY)
    ran = harness("run", suite)
    assert (ran.status, ran.err) == (0, "")
    assert "1 analysis in results/small/analyses" in ran.out
    assert files() == {"tally.parquet", "tally.svg"}
    table = read_results(FOLDER).analysis("tally")
    records = read_results(FOLDER).samples(columns=["success"], where={"attack": "step"})
    assert table.set_index("attack").loc["step", "success"] == records["success"].sum() > 0
    assert (PLACE / "tally.svg").read_text().lstrip().startswith("<?xml")


def test_the_same_records_give_the_same_bytes(harness: Command, suite: Path) -> None:
    suite.write_text(TALLY)
    harness("run", suite)
    before = {name: (PLACE / name).read_bytes() for name in files()}
    ran = harness("analyze", FOLDER)
    assert (ran.status, ran.err) == (0, "")
    assert "tally: results/small/analyses/tally.parquet, results/small/analyses/tally.svg" in ran.out
    assert {name: (PLACE / name).read_bytes() for name in files()} == before


def test_others_can_be_named(harness: Command, suite: Path) -> None:
    harness("run", suite)
    assert not PLACE.exists()
    assert "has no [[analysis]]" in harness("analyze", FOLDER).out
    (row,) = harness("analyze", FOLDER, "tally", "--json").json
    assert row["analysis"] == "tally"
    assert files() == {"tally.parquet", "tally.svg"}


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("bug", "KeyError: 'no such column'"),
        ("user", "nothing to count; run an attack"),
        ("type", "it gave int instead of a harness.Analysis"),
    ],
)
def test_one_that_fails_costs_nothing_else(harness: Command, suite: Path, fail: str, message: str) -> None:
    suite.write_text(TALLY + f'\n[[analysis]]\nuse = "tally"\nid = "other"\nfail = "{fail}"\n')
    ran = harness("run", suite)
    assert ran.status == 1
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
    assert files() == {"tally.parquet", "tally.svg"}
    assert not read_results(FOLDER).leaderboard().empty


def test_a_figure_of_other_records_does_not_stay(harness: Command, suite: Path) -> None:
    suite.write_text(TALLY)
    harness("run", suite)
    suite.write_text(TALLY + "picture = false\n")
    harness("run", suite)
    assert files() == {"tally.parquet"}
    suite.write_text(TALLY + 'fail = "bug"\n')
    assert harness("run", suite).status == 1
    assert files() == set()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('use = "taly"', 'analysis "taly" is unknown; did you mean "tally"?'),
        ('use = "tally"\npictur = true', '"pictur" is unknown; did you mean "picture"?'),
        ('use = "tally"\npicture = "3"', "picture = '3' must be bool"),
        ('use = "tally"\nid = "a/b"', '"a/b" names files'),
        ('use = "tally"\n[[analysis]]\nuse = "tally"', "stands there twice; give each an id"),
    ],
)
def test_bad_tables(refused: Callable[..., str], suite: Path, table: str, message: str) -> None:
    suite.write_text(f"{SUITE}\n[[analysis]]\n{table}\n")
    assert message in refused("plan", suite)


def test_a_name_that_is_not_there(harness: Command, suite: Path, refused: Callable[..., str]) -> None:
    suite.write_text(TALLY)
    harness("run", suite)
    assert 'did you mean "tally"?' in refused("analyze", FOLDER, "taly")
    with pytest.raises(ResultsError, match='did you mean "tally"'):
        read_results(FOLDER).analysis("taly")
