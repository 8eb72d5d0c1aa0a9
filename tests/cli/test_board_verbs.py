"""`harness show` and `harness export`: the leaderboard for people and for others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Command

FOLDER = "results/small"


@pytest.fixture
def done(harness: Command, suite: Path) -> str:
    """A finished run of few images; its folder."""
    assert harness("run", suite, "--limit", 4).status == 0
    return FOLDER


def test_the_board_is_shown(harness: Command, done: str) -> None:
    ran = harness("show", done)
    assert (ran.status, ran.err) == (0, "")
    for part in ("linear", "step", "still", "linf 40/255", "worst-case"):
        assert part in ran.out


def test_the_board_for_programs(harness: Command, done: str) -> None:
    board = harness("show", done, "--json").json
    assert board["suite"] == "small"
    assert {row["attack"] for row in board["leaderboard"]} >= {"step", "still", "worst-case"}


@pytest.mark.parametrize("form", ["csv", "md", "latex", "html", "json"])
def test_every_format_is_written_out_or_to_a_file(harness: Command, done: str, form: str) -> None:
    ran = harness("export", done, "--format", form)
    assert ran.status == 0
    assert "step" in ran.out
    assert harness("export", done, "--format", form, "-o", f"deep/er/board.{form}").out == ""
    assert Path(f"deep/er/board.{form}").read_text().rstrip("\n") == ran.out.rstrip("\n")
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(ran.out)))
        assert {row["attack"] for row in rows} >= {"step", "still"}
    if form == "json":
        json.loads(ran.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "results/smal"], 'results folder "results/smal" does not exist'),
        (["show", "results"], "holds no suite.json"),
        (["show", "small.toml"], "small.toml"),
        (["export", FOLDER, "--format", "cvs"], 'format "cvs" is unknown; did you mean "csv"?'),
        (["export", "nowhere", "--format", "csv"], 'results folder "nowhere" does not exist'),
        (["export", FOLDER, "--format", "csv", "-o", "results"], "results cannot be written: Is a directory"),
        (["export", FOLDER, "--format", "csv", "-o", "small.toml/x"], "cannot be written: "),
    ],
)
def test_a_wrong_request_is_one_line(
    done: str, refused: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in refused(*arguments)


def test_a_damaged_board_is_one_line(done: str, refused: Callable[..., str]) -> None:
    (Path(done) / "leaderboard.parquet").write_bytes(b"no")
    assert "leaderboard.parquet" in refused("show", done)
