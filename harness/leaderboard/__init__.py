"""The leaderboard turns records into a ranked board, with flags on rows that should not be believed yet."""

from __future__ import annotations

from harness.leaderboard.board import build as build, columns as columns, write as write
