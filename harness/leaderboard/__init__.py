"""The leaderboard turns records into a ranked board, with flags on rows that should not be believed yet."""

from __future__ import annotations

from harness.leaderboard.board import build, columns, write

__all__ = [
    "build",
    "columns",
    "write",
]
