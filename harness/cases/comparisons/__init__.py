"""Comparisons of faces are drawn on a data set; a model finds them near or far, and has thresholds."""

from __future__ import annotations

from harness.cases.comparisons.drawn import Drawn as Drawn, draw_comparisons as draw_comparisons
from harness.cases.comparisons.listed import read_comparisons as read_comparisons
from harness.cases.comparisons.references import References as References
from harness.cases.comparisons.verifier import Verifier as Verifier
