"""Verification: stored adversarials judged again from the files alone; no attack is run, nothing trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.catalog import catalog
from harness.errors import ResultsError
from harness.judge import judge
from harness.manifest import read_suite
from harness.plan import Cell, Plan, plan
from harness.population import Cases, enumerate_cases
from harness.results import read_parquet, read_results
from harness.session import Loaded, cell_id, device_of, open_datasets, shard_size
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
    results = read_results(folder)
    if not isinstance(results.suite.get("suite"), dict):
        raise ResultsError(f"{folder / 'suite.json'} holds no resolved suite")
    cells = set(results.cells()["cell"])
    planned = plan(read_suite(results.suite["suite"]), catalog())
    loaded = open_datasets(planned, results.suite.get("limit"))
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
            size = shard_size(planned, len(cases))
            part = cases.part(shard * size, (shard + 1) * size)
            records = read_parquet(store.part(name, shard)).to_pylist()
            if len(records) != len(part):
                differences.append(
                    f"{store.part(name, shard)}: {len(records)} records of a shard of {len(part)} cases"
                )
                continue
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
    lines, pictures = [], {}
    for row in stored:
        try:
            pictures[row] = _picture(records[row]["adversarial"], data.dataset.shape)
        except ValueError as error:
            lines.append(f"{path.name} of {cell.model.label} x {cell.attack.label}: row {row}: {error}")
    stored = list(pictures)
    if not stored:
        return lines
    chosen = torch.tensor(stored)
    x = images(data.dataset, cases.rows[stored], specimen.model.device)
    objective = cases.as_goal().objective(specimen.model, clean.at(cases.rows)).take(chosen)
    verdict = judge(specimen.model, objective, cell.attack.threat, x, torch.stack(list(pictures.values())))
    names = {
        "sample_id": [data.dataset.ids[row] for row in cases.rows[stored]],
        "target": [cases.targets[row] for row in stored],
    }
    found = {
        **names,
        "clean_correct": objective.correct.tolist(),
        "reached": verdict.reached.tolist(),
        "valid": verdict.valid.tolist(),
        "success": verdict.success.tolist(),
        "linf": verdict.linf.tolist(),
        "l2": verdict.l2.tolist(),
    }
    for position, row in enumerate(stored):
        record = records[row]
        for column, values in found.items():
            if record["fault"] and column in ("valid", "success"):
                # What broke a bound was the image as it was returned; what is stored is its rounding.
                continue
            ours, theirs = values[position], record[column]
            if not _agree(ours, theirs):
                lines.append(
                    f"{path.name} of {cell.model.label} x {cell.attack.label}: {record['sample_id']} "
                    f"{record['target'] or ''}: {column} is {ours}, recorded {theirs}"
                )
    return lines


def _picture(stored: bytes, shape: tuple[int, int, int]) -> torch.Tensor:
    picture = decode(stored, shape[0])
    if picture.shape != shape:
        raise ValueError(f"the stored adversarial is {tuple(picture.shape)}, the image {shape}")
    return picture


def _agree(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return abs(ours - theirs) <= TOLERANCE
    return bool(ours == theirs)
