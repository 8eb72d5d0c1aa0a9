"""Verification: stored adversarials judged again from the files alone; no attack is run, nothing trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from harness.catalog import catalog
from harness.errors import ResultsError
from harness.judge import judge
from harness.manifest import read_suite
from harness.plan import Cell, Plan, plan
from harness.population import Cases, enumerate_cases
from harness.session import Loaded, cell_id, device_of, open_datasets
from harness.shard import CleanAnswers, decode, images
from harness.store import Store
from harness.zoo import Specimen, obtain, read_card

TOLERANCE = 1e-4
"""Of distances: float32 arithmetic on another machine."""


@dataclass(frozen=True)
class Report:
    """What was compared, and what differs."""

    compared: int
    without: int
    differences: tuple[str, ...]


def verify(folder: Path, device_name: str) -> Report:
    """Judge every stored adversarial of a results folder again.

    Raises:
        ResultsError: the folder holds no results or no adversarials, or a model's weights are not there.
    """
    try:
        description = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
        cells = {row["cell"]: row for row in pq.read_table(folder / "cells.parquet").to_pylist()}
    except (OSError, ValueError) as error:
        raise ResultsError(f"{folder} holds no results of `harness run`: {error}") from None
    planned = plan(read_suite(description["suite"]), catalog())
    loaded = open_datasets(planned, description.get("limit"))
    device = device_of(device_name)
    compared, without, differences = 0, 0, []
    for cell in planned.cells:
        if not cell.attack.keep:
            continue
        data = loaded[cell.dataset]
        specimen = _specimen(planned, cell, data, device)
        name = cell_id(planned, cell, data, specimen.digest)
        if name not in cells:
            raise ResultsError(
                f"{folder}: no cell is {name} ({cell.model.label} x {cell.attack.label}): data, weights or "
                "versions are not those of the run"
            )
        names = specimen.model.names or data.dataset.attribute_names
        cases = enumerate_cases(cell, data.dataset, data.rows, names)
        clean = CleanAnswers(specimen.model, data.dataset, data.rows)
        store = Store(folder)
        for shard in sorted(store.finished(name)):
            size = planned.suite.shard_size
            part = cases.part(shard * size, (shard + 1) * size)
            records = pq.read_table(store.part(name, shard)).to_pylist()
            stored = [row for row, record in enumerate(records) if record["adversarial"] is not None]
            without += len(records) - len(stored)
            compared += len(stored)
            differences += _compare(
                cell, data, specimen, clean, part, records, stored, store.part(name, shard)
            )
    if not compared:
        raise ResultsError(f"{folder} keeps no adversarials; run the suite with keep = true")
    return Report(compared, without, tuple(differences))


def _specimen(planned: Plan, cell: Cell, data: Loaded, device: torch.device) -> Specimen:
    trained = cell.model.entry.spec.train is not None and cell.model.weights is None
    if trained and read_card(cell.model, data.dataset, planned.suite.seed) is None:
        raise ResultsError(f"the weights of {cell.model.label} are not in the cache; nothing can be judged")
    return obtain(cell.model, data.dataset, planned.suite.seed, device)


def _compare(
    cell: Cell,
    data: Loaded,
    specimen: Specimen,
    clean: CleanAnswers,
    cases: Cases,
    records: list[dict[str, Any]],
    stored: list[int],
    path: Path,
) -> list[str]:
    if not stored:
        return []
    chosen = torch.tensor(stored)
    x = images(data.dataset, cases.rows[stored], specimen.model.device)
    pictures = [decode(records[row]["adversarial"], x.shape[1]) for row in stored]
    objective = cases.as_goal().objective(specimen.model, clean.at(cases.rows)).take(chosen)
    verdict = judge(specimen.model, objective, cell.attack.threat, x, torch.stack(pictures))
    found = {
        "reached": verdict.reached.tolist(),
        "valid": verdict.valid.tolist(),
        "success": verdict.success.tolist(),
        "linf": verdict.linf.tolist(),
        "l2": verdict.l2.tolist(),
    }
    lines = []
    for position, row in enumerate(stored):
        record = records[row]
        for column, values in found.items():
            ours, theirs = values[position], record[column]
            if isinstance(ours, bool) != isinstance(theirs, bool) or abs(ours - theirs) > TOLERANCE:
                lines.append(
                    f"{path.name} of {cell.model.label} x {cell.attack.label}: {record['sample_id']} "
                    f"{record['target'] or ''}: {column} is {ours}, recorded {theirs}"
                )
        if record["sample_id"] != data.dataset.ids[cases.rows[row]]:
            lines.append(f"{path.name}: row {row} is {record['sample_id']}, not the case of the plan")
    return lines
