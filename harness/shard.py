"""Shard: some cases of a cell → their records; what the executors run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from harness import pictures
from harness.batching import BatchSize, in_batches, out_of_memory
from harness.choices import MeasureChoice
from harness.dataset import Dataset
from harness.errors import ContractError, DatasetError
from harness.judge import Verdict
from harness.loading import pixels
from harness.model import Model
from harness.parameters import keyword_parameters
from harness.plan import Cell
from harness.population import Cases
from harness.records import record_schema
from harness.region import run_parameters, with_region
from harness.trial import Trial, attempt

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class CleanAnswers:
    """A model's outputs on the attacked images, computed once for all attacks, in fixed chunks.

    The chunks do not depend on shards or batches, so every case sees the same clean answer wherever it runs.
    """

    model: Model
    dataset: Dataset
    rows: npt.NDArray[np.intp]  # (N,) sorted
    _chunks: dict[int, Tensor] = field(default_factory=dict)

    def at(self, rows: npt.NDArray[np.intp]) -> Tensor:
        """Outputs (B, M) of the given rows."""
        positions = np.searchsorted(self.rows, rows)
        for chunk in np.unique(positions // _CHUNK).tolist():
            if chunk not in self._chunks:
                wanted = self.rows[chunk * _CHUNK : (chunk + 1) * _CHUNK]
                self._chunks[chunk] = self.model.scores(images(self.dataset, wanted, self.model.device))
        return torch.stack([self._chunks[at // _CHUNK][at % _CHUNK] for at in positions.tolist()])


@dataclass(frozen=True, eq=False)
class Bench:
    """All that the shards of a cell have in common."""

    cell: Cell
    dataset: Dataset
    model: Model
    clean: CleanAnswers
    measures: tuple[MeasureChoice, ...]
    seed: int
    batch_size: BatchSize


def images(dataset: Dataset, rows: npt.NDArray[np.intp], device: torch.device) -> Tensor:
    """float32 (B, C, H, W) in [0, 1] of the given rows.

    Raises:
        DatasetError: they cannot be read.
    """
    return torch.from_numpy(pixels(dataset, rows)).to(device).float() / 255


def run_shard(
    bench: Bench,
    cases: Cases,
    *,
    learning: Cases | None = None,
    advance: Callable[[int], None] = lambda cases: None,
    repair: Callable[[], None] = lambda: None,
) -> pa.Table:
    """Attack and judge some cases; one record each, in their order.

    A batch in which the attack or the model fails becomes records with an error; one that does not fit into
    memory is halved. A data set that cannot be read is the user's to mend: it ends the run.

    Args:
        learning: of an attack that learns one change for many images, those that it learns on; it then gets
            all cases at once.
        advance: told the number of cases after each batch.
        repair: called after a breach of contract, which may have cost the model its weights.

    Raises:
        DatasetError: an image cannot be read.
    """
    schema = record_schema(tuple(measure.column for measure in bench.measures))

    def table(rows: slice) -> pa.Table:
        batch = cases.part(rows.start, rows.stop)
        try:
            columns = _attacked(bench, batch, learning)
        except DatasetError:
            raise
        except Exception as error:
            if out_of_memory(error) and bench.batch_size.cases > 1 and learning is None:
                raise  # smaller batches may fit
            if isinstance(error, ContractError):
                repair()
            columns = {"error": [failure(error)] * len(batch)}
        columns |= {
            "sample_id": [bench.dataset.ids[row] for row in batch.rows],
            "goal": [batch.goal] * len(batch),
            "target": list(batch.targets),
        }
        empty = [None] * len(batch)
        return pa.table([columns.get(name, empty) for name in schema.names], schema=schema)

    size = bench.batch_size if learning is None else BatchSize(max(len(cases), 1))
    tables = []
    for made in in_batches(len(cases), size, table):
        tables.append(made)
        advance(len(made))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _attacked(bench: Bench, batch: Cases, learning: Cases | None) -> dict[str, list[Any]]:
    """The record columns of a batch, attacked and judged; ``learning`` is attacked beside it."""
    attack = bench.cell.attack
    entry = attack.entry
    every = batch if learning is None else learning.with_others(batch)
    trial = attempt(
        bench.model,
        entry.load(entry.spec.run),
        images(bench.dataset, every.rows, bench.model.device),
        every.as_goal(),
        with_region(entry, attack.parameters, attack.threat, bench.dataset.shape[1:]),
        seed=bench.seed,
        keys=every.keys,
        parameters=run_parameters(entry, attack.parameters),
        compute=attack.compute,
        clean=bench.clean.at(every.rows),
        fit=None if learning is None else torch.arange(len(every)) < len(learning),
    )
    return columns_of(bench, batch, trial)


def failure(error: Exception) -> str:
    """How records name what went wrong."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def columns_of(bench: Bench, batch: Cases, trial: Trial) -> dict[str, list[Any]]:
    """The record columns of a batch that was judged, measures included."""
    measures = {measure: measured(measure, trial) for measure in bench.measures}
    verdict, objective = _constrained(trial.verdict, measures), trial.objective
    failed = [bool(error) for error in verdict.errors]

    def outcome(values: Tensor) -> list[Any]:
        return [None if bad else value for bad, value in zip(failed, values.tolist(), strict=True)]

    columns: dict[str, list[Any]] = {
        "clean_correct": [
            bool(right) if known else None
            for right, known in zip(
                objective.correct.tolist(), trial.clean.flatten(1).isfinite().all(1).tolist(), strict=True
            )
        ],
        "reached": outcome(verdict.reached),
        "reached_unrounded": [None] * len(batch) if verdict.unrounded is None else outcome(verdict.unrounded),
        "valid": outcome(verdict.valid),
        "success": outcome(verdict.success),
        "fault": [fault or None for fault in verdict.faults],
        "linf": outcome(verdict.linf),
        "l2": outcome(verdict.l2),
        "l0": outcome(verdict.l0),
        "margin_clean": objective.margin(trial.clean).tolist(),
        "margin_adv": outcome(verdict.margin),
        "forwards": trial.forwards.tolist(),
        "backwards": trial.backwards.tolist(),
        "seconds": [trial.seconds / len(batch)] * len(batch),
        "found": [None if passes < 0 else passes for passes in trial.meter.found.tolist()],
        "zero_gradients": trial.meter.zero_gradients.tolist(),
        "error": [error or None for error in verdict.errors],
    }
    if bench.model.head == "attributes":
        columns["decisions_clean"] = bench.model.decide(trial.clean).tolist()
        columns["decisions_adv"] = outcome(bench.model.decide(verdict.outputs))
    if bench.cell.keep:
        kept = [encode(image) for image in verdict.adversarials.cpu()]
        columns["adversarial"] = [None if bad else picture for bad, picture in zip(failed, kept, strict=True)]
    for measure, values in measures.items():
        columns[measure.column] = values
    return columns


def _constrained(verdict: Verdict, measures: Mapping[MeasureChoice, list[float | None]]) -> Verdict:
    """Successes whose measures keep to the suite's bounds; the others break one, and are not valid."""
    for measure, values in measures.items():
        low, high = measure.at_least, measure.at_most
        if low is None and high is None:
            continue
        faults, kept = list(verdict.faults), []
        for case, value in enumerate(values):
            broken = ""
            if value is not None and low is not None and not value >= low:
                broken = f"{measure.column} below {low:g}"
            elif value is not None and high is not None and not value <= high:
                broken = f"{measure.column} above {high:g}"
            kept.append(not broken)
            faults[case] = faults[case] or broken
        verdict = verdict.restricted(torch.tensor(kept, device=verdict.valid.device), tuple(faults))
    return verdict


def measured(measure: MeasureChoice, trial: Trial) -> list[float | None]:
    """A measure of the successful cases; null elsewhere, where there is no adversarial to be measured."""
    successful = trial.verdict.success
    values: list[float | None] = [None] * len(successful)
    if successful.any():
        run = measure.entry.load(measure.entry.spec.run)
        wanted = keyword_parameters(run)
        parameters = {name: value for name, value in measure.parameters.items() if name in wanted}
        found = np.asarray(run(trial.verdict.adversarials[successful], trial.x[successful], **parameters))
        for case, value in zip(torch.nonzero(successful).flatten().tolist(), found, strict=True):
            values[case] = float(value)
    return values


def encode(image: Tensor) -> bytes:
    """PNG of an image (C, H, W) on the 8-bit grid, C = 1 or 3; lossless."""
    return pictures.encode((image * 255).round().to(torch.uint8).numpy())


def decode(picture: bytes, channels: int) -> Tensor:
    """float32 (C, H, W) in [0, 1] of a PNG that ``encode`` wrote.

    Raises:
        ValueError: it is no readable PNG.
    """
    return torch.from_numpy(pictures.decode(picture, channels)).float() / 255
