"""Analyses turn the records of a suite into tables, figures and claims; studies are written on this kit."""

from __future__ import annotations

from harness.analysis.analysis import (
    FOLDER as FOLDER,
    Analysis as Analysis,
    Written as Written,
    write as write,
)
