"""The rows of cells.parquet and models.json are made here."""

from __future__ import annotations

import json
from typing import Any

from harness.judge.examination import RANDOMISED
from harness.judge.region import digest_of_region
from harness.parameters import jsonable
from harness.plan.cells import Cell, Skipped
from harness.plan.datasets import DatasetChoice
from harness.plan.models import ModelChoice
from harness.shards.context import ReadyModel
from harness.shards.jobs import Job


def planned_row(cell: Cell, seed: int) -> dict[str, Any]:
    """Return the row of a cell that has not begun."""
    return _row(cell, cell.goal, cell.source.model if cell.source else None, seed) | {"status": "partial"}


def skipped_row(item: Skipped, seed: int) -> dict[str, Any]:
    """Return the row of a pair that is not run, with the reason."""
    return _row(item, "", item.surrogate, seed) | {"status": "skipped", "error": item.reason}


def _row(cell: Cell | Skipped, goal: str, surrogate: ModelChoice | None, seed: int) -> dict[str, Any]:
    return {
        "cell": "",
        "dataset": cell.dataset.label,
        "stand_in_for": cell.dataset.stand_in_for,
        "model": cell.model.label,
        "attack": cell.attack_label,
        "surrogate": surrogate.label if surrogate else None,
        "threat": cell.attack.threat.label,
        "norm": cell.attack.threat.norm,
        "eps": cell.attack.threat.eps,
        "access": cell.attack.threat.access,
        "budget": cell.attack.entry.spec.budget,
        "traits": ",".join(sorted(cell.attack.entry.spec.traits)),
        "goal": goal,
        "seed": seed,
        "dataset_use": cell.dataset.entry.qualified,
        "dataset_parameters": json.dumps(jsonable(cell.dataset.parameters)),
        "dataset_source": _source(cell.dataset.source),
        "model_use": cell.model.entry.qualified,
        "model_parameters": json.dumps(jsonable(cell.model.parameters)),
        "model_version": cell.model.entry.full_version,
        "attack_use": cell.attack.entry.qualified,
        "attack_parameters": json.dumps(jsonable(cell.attack.parameters)),
        "attack_version": cell.attack.entry.full_version,
        "model_traits": ",".join(sorted(cell.model.entry.spec.traits)),
    }


def _source(source: DatasetChoice | None) -> str | None:
    if source is None:
        return None
    known = {"label": source.label, "use": source.entry.qualified, "parameters": source.parameters}
    return json.dumps(jsonable(known | {"source": _source(source.source)}))


def of_model(ready: ReadyModel) -> dict[str, Any]:
    """Return what a cell's row says once its model is there."""
    return {
        "randomised": None if ready.signs is None else RANDOMISED in ready.signs,
        "model_flags": None if ready.signs is None else ",".join(sorted(ready.signs)),
        "weights": ready.trained.digest,
        "dataset_fingerprint": ready.data.dataset.fingerprint,
    }


def of_job(job: Job) -> dict[str, Any]:
    """Return what a cell's row says once its cases are known."""
    context, attack = job.context, job.context.cell.attack
    shape = context.dataset.shape
    return {
        "cell": job.id,
        "cases": job.cases,
        "shards": len(job.shards),
        "source": job.source,
        "region": digest_of_region(attack.entry, attack.parameters, attack.threat, (shape[1], shape[2])),
    }


def state_of(tally: dict[str, Any], shards: int) -> dict[str, Any]:
    """Return the status and the sums of a cell with so many shards."""
    if tally["shards_done"] < shards:
        return tally | {"status": "partial"}
    return tally | {"status": "failed" if tally["cases_failed"] else "done"}


def model_row(dataset: DatasetChoice, model: ModelChoice, ready: ReadyModel) -> dict[str, Any]:
    """Return a model's entry in models.json: what it answers, and the card of its weights."""
    trained, known = ready.trained, ready.data.dataset
    names = trained.model.names
    if not names:
        names = known.attribute_names if trained.model.head == "attributes" else known.class_names
    return {
        "dataset": dataset.label,
        "model": model.label,
        "use": model.entry.qualified,
        "parameters": jsonable(model.parameters),
        "weights": trained.digest,
        "outputs": list(names),
        "card": {key: value for key, value in trained.card.items() if key != "identity"},
    }
