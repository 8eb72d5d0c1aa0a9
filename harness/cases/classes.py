"""Suites let images leave their class: a case is an image that is to be taken for any other class."""

from __future__ import annotations

import numpy as np
import torch

from harness.cases.cases import Cases, Rows, make_cases
from harness.cases.comparisons import Drawn, References, Verifier
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.goals import Untargeted
from harness.plan.cells import Cell


def enumerate(
    cell: Cell, dataset: Dataset, rows: Rows, names: tuple[str, ...], verifier: Verifier | None = None
) -> Cases:
    """Return one case per image."""
    if dataset.labels is None:
        raise DatasetError(f"{cell.dataset.label} has no classes, which {cell.model.label} is to tell apart")
    nothing = np.full(len(rows), -1, np.int64)
    return make_cases(cell, dataset, rows, (None,) * len(rows), nothing, dataset.labels[rows])


def count(cell: Cell, dataset: Dataset, images: int, drawn: Drawn | None = None) -> int:
    """Return one case per image."""
    return images


def as_goal(cases: Cases, references: References | None = None) -> Untargeted:
    """Return the goal of leaving each case's class."""
    return Untargeted(torch.from_numpy(cases.labels))


def for_victim(cases: Cases, names: tuple[str, ...]) -> Cases:
    """Return all cases: every model of classes can judge them."""
    return cases
