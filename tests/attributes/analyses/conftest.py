"""Figures of the analyses are saved as the core saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], int]:
    """Save a figure as SVG, warnings being errors; its size in bytes."""

    def save(figure: Any) -> int:
        file = tmp_path / "figure.svg"
        figure.savefig(file, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.15)
        return file.stat().st_size

    return save
