"""The places on a face at which a square is tried are computed here, without torch."""

from __future__ import annotations

from math import floor

WINDOW = (15.0, 45.0)
"""The first and last row, and column, of the part of the published 64x64 crop in which squares lie."""


def starts(side: float, stride: float) -> list[float]:
    """Return the first rows, or columns, of the places in 64ths of the crop: 15, 20, … 35 as published."""
    first, last = WINDOW
    return [first + stride * place for place in range(floor((last - side - first) / stride + 1e-9) + 1)]
