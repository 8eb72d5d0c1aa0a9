"""Suites let intruders impersonate: a case is an image that is to be accepted as another person."""

from __future__ import annotations

from harness.cases.cases import Cases, Rows
from harness.cases.comparisons import Drawn, References, Verifier
from harness.cases.pairs import count_pairs, pairs_of
from harness.dataset import Dataset
from harness.goals import Impersonate
from harness.plan.cells import Cell


def enumerate(
    cell: Cell, dataset: Dataset, rows: Rows, names: tuple[str, ...], verifier: Verifier | None = None
) -> Cases:
    """Return a case per reference and image of another person."""
    assert verifier is not None
    return pairs_of(cell, dataset, verifier, same=False)


def count(cell: Cell, dataset: Dataset, images: int, drawn: Drawn | None = None) -> int:
    """Count a case per reference and image of another person."""
    assert drawn is not None
    return count_pairs(drawn, same=False)


def as_goal(cases: Cases, references: References | None = None) -> Impersonate:
    """Return the goal of being accepted as the person of each reference."""
    assert references is not None
    return Impersonate(references.anchors, references.threshold, references.images)


def for_victim(cases: Cases, names: tuple[str, ...]) -> Cases:
    """Return all cases: every verifier can judge them."""
    return cases
