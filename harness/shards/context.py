"""A cell's context is what all its shards share: model, data set, clean answers, measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from harness.cases import GOALS
from harness.cases.cases import Cases
from harness.cases.comparisons import References, Verifier
from harness.cases.comparisons.distances import distances
from harness.cases.comparisons.examined import separation, some_people
from harness.cases.datasets import OpenedDataset, pixels
from harness.dataset import Dataset
from harness.errors import ModelError
from harness.goals import Goal
from harness.judge.batching import BatchSize, fitting
from harness.judge.examination import CONSTANT, GUESSING, are_alike, is_guessing, signs_among, steadiness
from harness.model import Model
from harness.plan.cells import Cell
from harness.plan.measures import MeasureChoice
from harness.plan.models import ModelChoice
from harness.store.schema import record_schema
from harness.threat import pixels as on_grid
from harness.zoo.trained import TrainedModel

_CHUNK = 256
EXAMINED = 64
"""So many of the attacked images, from the first to the last at equal steps, show what a model is like."""


@dataclass(frozen=True, eq=False)
class CleanAnswers:
    """Clean answers are a model's outputs on the attacked images, computed once for all attacks.

    They are computed in chunks that do not depend on shards or batches, so that every case sees the same
    clean answer wherever it runs.
    """

    model: Model
    dataset: Dataset
    rows: npt.NDArray[np.intp]  # (N,) sorted
    _chunks: dict[int, Tensor] = field(default_factory=dict)

    def at(self, rows: npt.NDArray[np.intp]) -> Tensor:
        """Return the outputs (B, M) of the given rows."""
        positions = np.searchsorted(self.rows, rows)
        for chunk in np.unique(positions // _CHUNK).tolist():
            if chunk not in self._chunks:
                wanted = self.rows[chunk * _CHUNK : (chunk + 1) * _CHUNK]
                self._chunks[chunk] = self.model.scores(images(self.dataset, wanted, self.model.device))
        return torch.stack([self._chunks[at // _CHUNK][at % _CHUNK] for at in positions.tolist()])


@dataclass(frozen=True, eq=False)
class ReadyModel:
    """A ready model is trained, and knows the data set that it is attacked on and its clean answers."""

    choice: ModelChoice
    trained: TrainedModel
    data: OpenedDataset
    clean: CleanAnswers
    wanted: int | Literal["auto"]
    """Cases of a batch, as the suite says."""
    verifier: Verifier | None = None
    """A model of embeddings on the comparisons of the data set; None for other models."""

    @cached_property
    def batch_size(self) -> BatchSize:
        """Return one size for all attacks on the model: a size that did not fit is not tried again."""
        if self.wanted == "auto":
            return fitting(self.trained.model, self.data.dataset.shape)
        return BatchSize(self.wanted)

    @cached_property
    def signs(self) -> frozenset[str] | None:
        """Return what ``signs_on`` finds on 64 of the attacked images."""
        return self.signs_on(EXAMINED)

    def signs_on(self, count: int) -> frozenset[str] | None:
        """Return the signs that the model's numbers say nothing of its robustness; None where it fails.

        Its answers on some of the attacked images are compared with the truth and with each other. A model
        that is constant on purpose is only asked whether it is steady.

        Raises:
            ModelError: it has another number of outputs than the data set has names for them.
        """
        model, dataset = self.trained.model, self.data.dataset
        people = None if self.verifier is None else some_people(self.verifier.drawn, count)
        if people is not None:
            rows = np.concatenate(people)
        else:
            rows = self.data.rows[np.unique(np.linspace(0, len(self.data.rows) - 1, count).astype(int))]
        x = images(dataset, rows, model.device)
        try:
            outputs = model.scores(x)
        except Exception:  # whatever it raises: its cells will say so
            return None
        self._check_width(outputs.shape[1])
        found = steadiness(model, x, outputs)
        if self.is_baseline:
            return frozenset(found)
        if people is not None and self.verifier is not None:
            return frozenset(found | self._signs_of_embeddings(outputs, list(map(len, people))))
        found |= signs_among(model, outputs, dataset, rows, self.names)
        return frozenset(found)

    def _signs_of_embeddings(self, outputs: Tensor, images: list[int]) -> set[str]:
        """Return the signs in embeddings (N, D) of so many images of each of some persons."""
        assert self.verifier is not None
        if not outputs.isfinite().all():
            return set()
        if are_alike(self.trained.model, outputs):
            return {CONSTANT}
        verifier = self.verifier
        plain = outputs[:, : outputs.shape[1] // 2] if verifier.mirrored else outputs
        right = separation(distances(verifier.distance, plain, plain), images)
        return {GUESSING} if is_guessing(float(right.sum()), len(right), 0.5) else set()

    def examine(self) -> None:
        """Look for signs now, and raise what ``signs`` raises."""
        self.signs  # noqa: B018  (it is kept)

    @property
    def is_baseline(self) -> bool:
        """Say whether the model answers every image alike on purpose, as its spec says."""
        return "constant" in self.choice.entry.spec.traits

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the outputs: the model's own, else those of the data set."""
        return self.trained.model.names or self._expected

    @property
    def _expected(self) -> tuple[str, ...]:
        known = {"attributes": self.data.dataset.attribute_names, "classes": self.data.dataset.class_names}
        return known.get(self.trained.model.head, ())

    def _check_width(self, width: int) -> None:
        """Refuse a model whose outputs cannot be told apart by the names of the data set."""
        expected, head = self._expected, self.trained.model.head
        if self.trained.model.names or not expected or width == len(expected):
            return
        names = "attribute_names" if head == "attributes" else "class_names"
        raise ModelError(
            f"{self.choice.place}: the model has {width} outputs, but {self.data.choice.label} has "
            f"{len(expected)} {head}; give the module {names} that say which they are"
        )


@dataclass(frozen=True, eq=False)
class CellContext:
    """A cell's context is what all its shards share."""

    cell: Cell
    dataset: Dataset
    model: Model
    clean: CleanAnswers
    measures: tuple[MeasureChoice, ...]
    seed: int
    batch_size: BatchSize
    restore: Callable[[], None] = lambda: None
    """Puts the model's weights back after an attack wrote to them."""
    weights: str = ""
    """The digest of the model's weights."""
    verifier: Verifier | None = None
    """Of embeddings: the model on the comparisons of the data set."""

    @property
    def observes(self) -> tuple[str, ...]:
        """Return the names of what the model says of images beside its scores."""
        return self.cell.model.entry.spec.observes

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the cell's records, with columns for its measures and observations."""
        measures = tuple(measure.column for measure in self.measures)
        return record_schema((*measures, *self.cell.model.entry.spec.observed_columns))

    def references_of(self, cases: Cases) -> References | None:
        """Return what the model says of the references of some cases; None where there are none."""
        if cases.references is None or self.verifier is None:
            return None
        found = images(self.dataset, cases.references, self.model.device)
        return References(self.verifier.anchors(cases.references), found, self.verifier.threshold)

    def goal_of(self, cases: Cases) -> Goal:
        """Return the goal of some cases for this model: of embeddings, with its own anchors and threshold."""
        return GOALS[cases.goal].as_goal(cases, self.references_of(cases))


def images(dataset: Dataset, rows: npt.NDArray[np.intp], device: torch.device) -> Tensor:
    """Return the images (B, C, H, W) of the given rows, float32 in [0, 1].

    Raises:
        DatasetError: they cannot be read.
    """
    return on_grid(torch.from_numpy(pixels(dataset, rows)).to(device).float())
