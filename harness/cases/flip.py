"""Suites flip attributes: a case is an image and one attribute whose decision is to change."""

from __future__ import annotations

import numpy as np
import torch

from harness.cases.cases import Cases, Rows, make_cases
from harness.cases.comparisons import Drawn, References, Verifier
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.goals import FlipAttribute
from harness.plan.cells import Cell


def enumerate(
    cell: Cell, dataset: Dataset, rows: Rows, names: tuple[str, ...], verifier: Verifier | None = None
) -> Cases:
    """Return all cases, attribute by attribute, so that a batch mostly asks about one attribute."""
    if dataset.attributes is None:
        raise DatasetError(f"{cell.dataset.label} has no attributes to flip")
    foreign = [name for name in names if name not in dataset.attribute_names]
    if foreign:
        raise DatasetError(f'{cell.dataset.label} has no attribute "{foreign[0]}", which the model answers')
    wanted = cell.attack.attributes
    chosen = [name for name in names if wanted is None or name in wanted]
    index = [dataset.attribute_names.index(name) for name in chosen]
    return make_cases(
        cell,
        dataset,
        np.tile(rows, len(chosen)),
        tuple(name for name in chosen for _ in range(len(rows))),
        np.repeat(np.array([names.index(name) for name in chosen], np.int64), len(rows)),
        dataset.attributes[rows][:, index].T.reshape(-1).astype(np.int64),
    )


def count(cell: Cell, dataset: Dataset, images: int, drawn: Drawn | None = None) -> int:
    """Return one case per image and attribute that attack, model and, in a transfer, surrogate all know."""
    names = cell.model.attributes or dataset.attribute_names
    known = (cell.attack.attributes, cell.source.model.attributes if cell.source else None)
    return images * sum(all(chosen is None or name in chosen for chosen in known) for name in names)


def as_goal(cases: Cases, references: References | None = None) -> FlipAttribute:
    """Return the flip of each case's attribute."""
    return FlipAttribute(torch.from_numpy(cases.columns), torch.from_numpy(cases.labels) > 0)


def for_victim(cases: Cases, names: tuple[str, ...]) -> Cases:
    """Return the cases about attributes that the victim answers."""
    columns = np.array([names.index(name) if name in names else -1 for name in cases.targets], np.int64)
    return cases.among(np.flatnonzero(columns >= 0), columns)
