"""Verification judges stored adversarials again, from the files alone: nothing is attacked or trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.cases import GOALS
from harness.cases.cases import Cases
from harness.errors import ResultsError
from harness.judge.region import with_region
from harness.judge.verdict import judge
from harness.results import read_results
from harness.session.device import device_of
from harness.shards.context import images
from harness.shards.jobs import Job
from harness.shards.preparation import rebuilt
from harness.shards.records import decode
from harness.store.folder import Store
from harness.store.parquet import read_parquet

TOLERANCE = 1e-4
"""Of distances: float32 arithmetic on another machine."""


@dataclass(frozen=True)
class Report:
    """A report tells how many adversarials were compared, and what differs."""

    compared: int
    without: int
    differences: tuple[str, ...]


def verify(folder: Path, device_name: str) -> Report:
    """Judge every stored adversarial of a results folder again, on its own model and on its victims.

    Raises:
        ResultsError: the folder holds no results or no adversarials, or a model's weights are not there.
    """
    prepared = rebuilt(folder, device_of(device_name))
    known = set(read_results(folder).cells()["cell"])
    store = Store(folder)
    compared, without, differences = 0, 0, []
    for cell in prepared.planned.cells:
        if not cell.keep and not cell.source:
            continue
        job = prepared.job(cell)
        if job.id not in known:
            raise ResultsError(
                f"{folder}: no cell is {job.id} ({cell.model.label} x {cell.attack_label}): data, weights or "
                "versions are not those of the run"
            )
        for shard in sorted(store.finished(job.id)):
            file = store.part(job.id, shard)
            records, cases = read_parquet(file).to_pylist(), job.parts[shard]
            if len(records) != len(cases):
                differences.append(f"{file}: {len(records)} records of a shard of {len(cases)} cases")
                continue
            if job.source:
                _lend_pictures(records, store.part(job.source, shard))
            stored = [row for row, record in enumerate(records) if record["adversarial"] is not None]
            without += len(records) - len(stored)
            compared += len(stored)
            differences += _compare(job, records, cases, stored, file)
    if not compared:
        raise ResultsError(f"{folder} keeps no adversarials; run the suite with keep = true")
    return Report(compared, without, tuple(differences))


def _lend_pictures(records: list[dict[str, Any]], source: Path) -> None:
    """Give the records of a transfer the adversarials that they are of; those in error have none."""
    made = read_parquet(source, {"sample_id", "target", "adversarial"}).to_pylist()
    pictures = {(record["sample_id"], record["target"]): record["adversarial"] for record in made}
    for record in records:
        if record["error"] is None:
            record["adversarial"] = pictures.get((record["sample_id"], record["target"]))


def _compare(
    job: Job, records: list[dict[str, Any]], cases: Cases, stored: list[int], path: Path
) -> list[str]:
    context = job.context
    cell, dataset, model = context.cell, context.dataset, context.model
    place = f"{path.name} of {cell.model.label} x {cell.attack_label}"
    lines, pictures = [], {}
    for row in stored:
        try:
            pictures[row] = _picture(records[row]["adversarial"], dataset.shape)
        except ValueError as error:
            lines.append(f"{place}: row {row}: {error}")
    stored = list(pictures)
    if not stored:
        return lines
    chosen = torch.tensor(stored)
    x = images(dataset, cases.rows[stored], model.device)
    objective = GOALS[cases.goal].as_goal(cases).objective(model, context.clean.at(cases.rows)).take(chosen)
    attack = cell.attack
    threat = with_region(attack.entry, attack.parameters, attack.threat, dataset.shape[1:])
    verdict = judge(model, objective, threat, x, torch.stack(list(pictures.values())))
    names = {
        "sample_id": [dataset.ids[row] for row in cases.rows[stored]],
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
                case = f"{record['sample_id']} {record['target'] or ''}"
                lines.append(f"{place}: {case}: {column} is {ours}, recorded {theirs}")
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
