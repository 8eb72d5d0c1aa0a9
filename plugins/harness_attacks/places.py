"""Places: where on a face a square is tried (imports no torch)."""

from __future__ import annotations

from math import floor

WINDOW = (15.0, 45.0)
"""Rows, and columns, of the published 64x64 crop inside which squares lie."""


def starts(side: float, stride: float) -> list[float]:
    """The first rows, or columns, of the places, in 64ths of the crop: 15, 20, 25, 30, 35 as published."""
    first, last = WINDOW
    return [first + stride * place for place in range(floor((last - side - first) / stride + 1e-9) + 1)]
