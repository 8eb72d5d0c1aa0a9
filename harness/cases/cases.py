"""Cases say which images a cell attacks and what must become of each, in an order that shards keep."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.cases.comparisons import Drawn, References, Verifier
from harness.dataset import Dataset
from harness.goals import Goal
from harness.plan.cells import Cell
from harness.randomness import derived_seed

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Cases:
    """Cases are N images and what must become of each, one row per case."""

    goal: str
    rows: npt.NDArray[np.intp]
    """(N,): rows of the data set."""
    targets: tuple[str | None, ...]
    """(N,): the attribute to flip, or the person of the reference; None where the goal names nothing."""
    columns: npt.NDArray[np.int64]
    """(N,): the model's output of that attribute; -1 where there is none."""
    labels: npt.NDArray[np.int64]
    """(N,): the truth: whether the attribute is present, the class, or whether it is the same person."""
    keys: tuple[str, ...]
    """(N,): with the seed, what each case's random numbers depend on."""
    references: npt.NDArray[np.intp] | None = None
    """(N,): of embeddings, the rows of the images that the cases are compared with."""
    negatives: npt.NDArray[np.intp] | None = None
    """(N,): of triplets, the rows of the images of other persons."""

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> Cases:
        """Return the cases from start to stop."""
        return self.select(np.arange(start, min(stop, len(self))))

    def with_others(self, others: Cases) -> Cases:
        """Return these cases followed by others of the same goal."""
        return Cases(
            self.goal,
            np.concatenate([self.rows, others.rows]),
            self.targets + others.targets,
            np.concatenate([self.columns, others.columns]),
            np.concatenate([self.labels, others.labels]),
            self.keys + others.keys,
            _joined(self.references, others.references),
            _joined(self.negatives, others.negatives),
        )

    def select(self, chosen: npt.NDArray[np.intp]) -> Cases:
        """Return some of the cases."""
        return self.among(chosen, self.columns)

    def among(self, chosen: npt.NDArray[np.intp], columns: npt.NDArray[np.int64]) -> Cases:
        """Return the chosen cases, with output columns (N,) of another model in place of their own."""
        return Cases(
            self.goal,
            self.rows[chosen],
            tuple(self.targets[case] for case in chosen),
            columns[chosen],
            self.labels[chosen],
            tuple(self.keys[case] for case in chosen),
            None if self.references is None else self.references[chosen],
            None if self.negatives is None else self.negatives[chosen],
        )

    @property
    def digest(self) -> str:
        """Return a digest of the keys, which name images, goal and references."""
        return hashlib.sha256("\n".join(self.keys).encode()).hexdigest()[:16]


def _joined(one: Rows | None, other: Rows | None) -> Rows | None:
    return None if one is None or other is None else np.concatenate([one, other])


class SuiteGoal(Protocol):
    """A goal that a suite can pursue is a module of ``harness.cases`` with these four functions."""

    def enumerate(
        self,
        cell: Cell,
        dataset: Dataset,
        rows: Rows,
        names: tuple[str, ...],
        verifier: Verifier | None = None,
    ) -> Cases:
        """Return all cases of a cell.

        Args:
            rows: the attacked rows of the data set.
            names: of the model's outputs, or of the data set's attributes.
            verifier: of embeddings, the model on the comparisons of the data set.

        Raises:
            DatasetError: the data set lacks what the goal needs.
        """

    def count(self, cell: Cell, dataset: Dataset, images: int, drawn: Drawn | None = None) -> int:
        """Return how many cases a cell will have, for the forecast, without the model.

        Args:
            drawn: of embeddings, the comparisons of the data set.
        """

    def as_goal(self, cases: Cases, references: References | None = None) -> Goal:
        """Return the goal of some cases, as attacks and the judge see it.

        Args:
            references: of embeddings, what the model says of the cases' references.
        """

    def for_victim(self, cases: Cases, names: tuple[str, ...]) -> Cases:
        """Return those of the cases that a model with these outputs can judge, with its output columns."""


def make_cases(
    cell: Cell,
    dataset: Dataset,
    rows: npt.NDArray[np.intp],
    targets: tuple[str | None, ...],
    columns: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
) -> Cases:
    """Build the cases of a cell, each with the key that its random numbers depend on."""
    keys = tuple(
        f"{dataset.ids[row]}\x1f{cell.goal}\x1f{target or ''}"
        for row, target in zip(rows, targets, strict=True)
    )
    return Cases(cell.goal, rows, targets, columns, labels, keys)


def by_target(cases: Cases) -> list[Cases]:
    """Return the cases of each target, in their order."""
    groups: dict[str | None, list[int]] = {}
    for case, target in enumerate(cases.targets):
        groups.setdefault(target, []).append(case)
    return [cases.select(np.array(members, np.intp)) for members in groups.values()]


def divided(cases: Cases, dataset: Dataset, share: float, seed: int) -> tuple[Cases, Cases]:
    """Return the cases on which one change for all is learned, and the others, on which it is judged.

    All cases of an image are on one side, and stay there when the sample grows. Where few images would all
    be on one side, the one that was nearest to the other side is moved there. A single image is judged, and
    nothing is learned on.
    """
    drawn = np.array([derived_seed(seed, "fit", dataset.ids[row]) for row in cases.rows], np.float64)
    fit = drawn / 2.0**63 < share
    if len(np.unique(cases.rows)) < 2:
        fit[:] = False
    elif fit.all():
        fit[drawn == drawn.max()] = False
    elif not fit.any():
        fit[drawn == drawn.min()] = True
    return cases.select(np.flatnonzero(fit)), cases.select(np.flatnonzero(~fit))
