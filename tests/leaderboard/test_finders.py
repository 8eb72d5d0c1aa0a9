"""The board says which share of the cases each member of an ensemble broke, and which attacks would tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.export.columns import columns_of, flag_text
from harness.leaderboard.board import build
from harness.leaderboard.hints import hint
from tests.leaderboard.board_fixture import cell, record, write


def hits(names: list[str | None], **more: Any) -> list[dict[str, Any]]:
    """Records of cases that were right; those with a name, or with "", fell."""
    return [
        record(f"{at}.jpg", success=name is not None, found_by=name or None, **more)
        for at, name in enumerate(names)
    ]


def test_shares_are_of_the_cases_that_were_right(tmp_path: Path) -> None:
    wrong = record("wrong.jpg", clean_correct=False, success=True, found_by="two")
    write(tmp_path, [cell([*hits(["one", "one", "two", None, None]), wrong])])
    board = build(tmp_path, {})
    row = board[board["attack"] == "pgd"].iloc[0]
    assert row["success_rate"] == pytest.approx(0.6)
    assert row["found_by"] == "one 40.0 %, two 20.0 %"
    others = board[board["attack"] != "pgd"]["found_by"]
    assert others.isna().all()
    assert "found by" in [column.heading for column in columns_of(board)]


def test_an_attack_of_one_has_no_shares(tmp_path: Path) -> None:
    write(tmp_path, [cell(hits(["", "", None]))])
    board = build(tmp_path, {})
    assert "found_by" not in board.columns
    assert "found by" not in [column.heading for column in columns_of(board)]


def test_masked_gradients_name_the_attacks_that_would_tell() -> None:
    assert hint("zero-gradients").startswith("to tell, run ")
    assert "square-attack" in hint("zero-gradients")
    assert "apgd with bpda = true" in hint("zero-gradients")
    assert "square-attack" not in hint("zero-gradients", {"square-attack"}), "it is on the board"
    assert "apgd with eot = 10" in hint("randomised-model")
    assert hint("lost-by-rounding") == ""
    board = pd.DataFrame({"attack": ["standard"]})
    assert "square-attack" in flag_text("noise-as-strong", board)
    assert "standard" not in flag_text("noise-as-strong", board)
