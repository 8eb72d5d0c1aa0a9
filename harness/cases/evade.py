"""Suites let persons evade: a case is an image of a person that is no longer to be accepted as such."""

from __future__ import annotations

from harness.cases.cases import Cases, Rows
from harness.cases.comparisons import Drawn, References, Verifier
from harness.cases.pairs import count_pairs, pairs_of
from harness.dataset import Dataset
from harness.goals import Evade
from harness.plan.cells import Cell


def enumerate(
    cell: Cell, dataset: Dataset, rows: Rows, names: tuple[str, ...], verifier: Verifier | None = None
) -> Cases:
    """Return a case per reference and other image of the person."""
    assert verifier is not None
    return pairs_of(cell, dataset, verifier, same=True)


def count(cell: Cell, dataset: Dataset, images: int, drawn: Drawn | None = None) -> int:
    """Count a case per reference and other image of the person."""
    assert drawn is not None
    return count_pairs(drawn, same=True)


def as_goal(cases: Cases, references: References | None = None) -> Evade:
    """Return the goal of being rejected as the person of each reference."""
    assert references is not None
    return Evade(references.anchors, references.threshold, references.images)


def for_victim(cases: Cases, names: tuple[str, ...]) -> Cases:
    """Return all cases: every verifier can judge them."""
    return cases
