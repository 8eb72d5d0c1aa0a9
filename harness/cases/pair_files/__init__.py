"""Files of pairs say which images are compared; they are read, written and drawn here."""

from __future__ import annotations

from harness.cases.pair_files.drawing import draw_pairs as draw_pairs
from harness.cases.pair_files.pairs import Pairs as Pairs, as_csv as as_csv, read_pairs as read_pairs
