"""Analyses turn the records of a suite into tables, figures and claims; studies are written on this kit."""

from __future__ import annotations

from harness.analysis.analysis import FOLDER, Analysis, Written, write

__all__ = ["FOLDER", "Analysis", "Written", "write"]
