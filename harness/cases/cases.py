"""Cases say which images a cell attacks and what must become of each, in an order that shards keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.goals import FlipAttribute, Goal, Untargeted
from harness.plan.cells import Cell
from harness.randomness import derived_seed


@dataclass(frozen=True, eq=False)
class Cases:
    """N cases, one row each."""

    goal: str
    rows: npt.NDArray[np.intp]
    """(N,): rows of the data set."""
    targets: tuple[str | None, ...]
    """(N,): the attribute to flip; None where the goal names nothing."""
    columns: npt.NDArray[np.int64]
    """(N,): the model's output of that attribute; -1 where there is none."""
    labels: npt.NDArray[np.int64]
    """(N,): the truth: whether the attribute is present, or the class."""
    keys: tuple[str, ...]
    """(N,): with the seed, what each case's random numbers depend on."""

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> Cases:
        """The cases from start to stop."""
        return Cases(
            self.goal,
            self.rows[start:stop],
            self.targets[start:stop],
            self.columns[start:stop],
            self.labels[start:stop],
            self.keys[start:stop],
        )

    def with_others(self, others: Cases) -> Cases:
        """These cases, and others of the same goal behind them."""
        return Cases(
            self.goal,
            np.concatenate([self.rows, others.rows]),
            self.targets + others.targets,
            np.concatenate([self.columns, others.columns]),
            np.concatenate([self.labels, others.labels]),
            self.keys + others.keys,
        )

    def select(self, chosen: npt.NDArray[np.intp]) -> Cases:
        """Some of the cases."""
        return self.among(chosen, self.columns)

    def among(self, chosen: npt.NDArray[np.intp], columns: npt.NDArray[np.int64]) -> Cases:
        """The chosen cases, with output columns (N,) of another model in place of their own."""
        return Cases(
            self.goal,
            self.rows[chosen],
            tuple(self.targets[case] for case in chosen),
            columns[chosen],
            self.labels[chosen],
            tuple(self.keys[case] for case in chosen),
        )

    def as_goal(self) -> Goal:
        """The goal of these cases, as attacks and the judge see it."""
        if self.goal == "flip":
            return FlipAttribute(torch.from_numpy(self.columns), torch.from_numpy(self.labels) > 0)
        return Untargeted(torch.from_numpy(self.labels))


def enumerate_cases(
    cell: Cell, dataset: Dataset, rows: npt.NDArray[np.intp], names: tuple[str, ...]
) -> Cases:
    """All cases of a cell. Attribute by attribute, so that a batch mostly asks about one attribute.

    Args:
        names: of the model's outputs, where it answers attributes.

    Raises:
        DatasetError: the data set lacks what the goal needs.
    """
    if cell.goal == "flip":
        if dataset.attributes is None:
            raise DatasetError(f"{cell.dataset.label} has no attributes to flip")
        chosen = _attributes(cell, dataset, names)
        width = len(rows)
        index = [dataset.attribute_names.index(name) for name in chosen]
        return _cases(
            cell,
            dataset,
            np.tile(rows, len(chosen)),
            tuple(name for name in chosen for _ in range(width)),
            np.repeat(np.array([names.index(name) for name in chosen], np.int64), width),
            dataset.attributes[rows][:, index].T.reshape(-1).astype(np.int64),
        )
    if dataset.labels is None:
        raise DatasetError(f"{cell.dataset.label} has no classes, which {cell.model.label} is to tell apart")
    nothing = np.full(len(rows), -1, np.int64)
    return _cases(cell, dataset, rows, (None,) * len(rows), nothing, dataset.labels[rows])


def by_target(cases: Cases) -> list[Cases]:
    """The cases of each target; their order stays."""
    groups: dict[str | None, list[int]] = {}
    for case, target in enumerate(cases.targets):
        groups.setdefault(target, []).append(case)
    return [cases.select(np.array(members, np.intp)) for members in groups.values()]


def divided(cases: Cases, dataset: Dataset, share: float, seed: int) -> tuple[Cases, Cases]:
    """The cases of the images that one change is learned on, and the others, on which it is judged.

    An image is on one side whatever is asked about it, and stays there when the sample grows.

    Raises:
        DatasetError: one of the two would be empty.
    """
    drawn = np.array([derived_seed(seed, "fit", dataset.ids[row]) for row in cases.rows], np.float64)
    fit = drawn / 2.0**63 < share
    if fit.all() or not fit.any():
        raise DatasetError(
            f"of {len(cases)} images {fit.sum()} are to be learned on and {(~fit).sum()} judged; "
            "take a larger sample"
        )
    return cases.select(np.flatnonzero(fit)), cases.select(np.flatnonzero(~fit))


def _attributes(cell: Cell, dataset: Dataset, names: tuple[str, ...]) -> list[str]:
    wanted = cell.attack.attributes
    foreign = [name for name in names if name not in dataset.attribute_names]
    if foreign:
        raise DatasetError(f'{cell.dataset.label} has no attribute "{foreign[0]}", which the model answers')
    return [name for name in names if wanted is None or name in wanted]


def _cases(
    cell: Cell,
    dataset: Dataset,
    rows: npt.NDArray[np.intp],
    targets: tuple[str | None, ...],
    columns: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
) -> Cases:
    keys = tuple(
        f"{dataset.ids[row]}\x1f{cell.goal}\x1f{target or ''}"
        for row, target in zip(rows, targets, strict=True)
    )
    return Cases(cell.goal, rows, targets, columns, labels, keys)
