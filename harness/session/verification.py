"""Verification judges stored adversarials again, from the files alone: nothing is attacked or trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.cases.cases import Cases
from harness.cases.datasets import Learn, Loaded, open_datasets
from harness.catalog import catalog
from harness.dataset import Dataset
from harness.errors import ResultsError
from harness.judge.batching import BatchSize
from harness.judge.region import with_region
from harness.judge.verdict import judge
from harness.manifest import read_suite
from harness.plan.cells import Cell, Plan
from harness.plan.datasets import DatasetChoice
from harness.plan.planner import plan
from harness.results import read_results
from harness.session.device import device_of
from harness.shards.bench import CleanAnswers, images
from harness.shards.jobs import Job, make_job, transfer_job
from harness.shards.records import decode
from harness.store.folder import Store
from harness.store.parquet import read_parquet
from harness.training import StateDict
from harness.zoo.cards import read_card
from harness.zoo.fits import known_fit
from harness.zoo.trained import Specimen, obtain

TOLERANCE = 1e-4
"""Of distances: float32 arithmetic on another machine."""


@dataclass(frozen=True)
class Report:
    """What was compared, and what differs."""

    compared: int
    without: int
    differences: tuple[str, ...]


def verify(folder: Path, device_name: str) -> Report:
    """Judge every stored adversarial of a results folder again, on its own model and on its victims.

    Raises:
        ResultsError: the folder holds no results or no adversarials, or a model's weights are not there.
    """
    results = read_results(folder)
    if not isinstance(results.suite.get("suite"), dict):
        raise ResultsError(f"{folder / 'suite.json'} holds no resolved suite")
    known = set(results.cells()["cell"])
    planned = plan(read_suite(results.suite["suite"]), catalog())
    loaded = open_datasets(planned, results.suite.get("limit"), _learned(planned))
    device = device_of(device_name)
    store = Store(folder)
    compared, without, differences = 0, 0, []
    jobs: dict[Cell, Job] = {}
    for cell in planned.cells:  # transfers come after their sources
        if not cell.keep and not cell.source:
            continue
        data = loaded[cell.dataset]
        specimen = _specimen(planned, cell, data, device)
        clean = CleanAnswers(specimen.model, data.dataset, data.rows)
        if cell.source:
            job = transfer_job(planned, cell, data, specimen, clean, jobs[cell.source])
        else:
            size = BatchSize(64)  # nothing is attacked here
            job = jobs[cell] = make_job(planned, cell, data, specimen, clean, size)
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


def _learned(planned: Plan) -> Learn:
    """What data sets learned from others, where that is still there; nothing is learned anew."""

    def learned(choice: DatasetChoice, source: Dataset | None) -> StateDict:
        found = known_fit(choice, source, planned.suite.seed)
        if found is None:
            raise ResultsError(f"the fit of {choice.label} is not in the cache; nothing can be judged")
        return found

    return learned


def _specimen(planned: Plan, cell: Cell, data: Loaded, device: torch.device) -> Specimen:
    trained = cell.model.entry.spec.train is not None and cell.model.weights is None
    if trained and read_card(cell.model, data.dataset, planned.suite.seed) is None:
        raise ResultsError(f"the weights of {cell.model.label} are not in the cache; nothing can be judged")
    return obtain(cell.model, data.dataset, planned.suite.seed, device)


def _compare(
    job: Job, records: list[dict[str, Any]], cases: Cases, stored: list[int], path: Path
) -> list[str]:
    bench = job.bench
    cell, dataset, model = bench.cell, bench.dataset, bench.model
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
    objective = cases.as_goal().objective(model, bench.clean.at(cases.rows)).take(chosen)
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
