"""The rows of cells.parquet and models.json are made here."""

from __future__ import annotations

import json
from typing import Any

from harness.cases.datasets import Loaded
from harness.parameters import jsonable
from harness.plan.cells import Cell, Plan, Skipped
from harness.plan.datasets import DatasetChoice
from harness.plan.models import ModelChoice
from harness.zoo.trained import Specimen


def planned_row(cell: Cell, planned: Plan) -> dict[str, Any]:
    return {
        "cell": "",
        "dataset": cell.dataset.label,
        "stand_in_for": cell.dataset.stand_in_for,
        "model": cell.model.label,
        "attack": cell.attack_label,
        "surrogate": cell.source.model.label if cell.source else None,
        "threat": cell.attack.threat.label,
        "norm": cell.attack.threat.norm,
        "eps": cell.attack.threat.eps,
        "access": cell.attack.threat.access,
        "budget": cell.attack.entry.spec.budget,
        "traits": ",".join(sorted(cell.attack.entry.spec.traits)),
        "goal": cell.goal,
        "seed": planned.suite.seed,
        "status": "partial",
        "dataset_use": cell.dataset.entry.qualified,
        "dataset_parameters": json.dumps(jsonable(cell.dataset.parameters)),
        "dataset_source": _source(cell.dataset.source),
        "model_use": cell.model.entry.qualified,
        "model_parameters": json.dumps(jsonable(cell.model.parameters)),
        "model_version": cell.model.entry.version,
        "attack_use": cell.attack.entry.qualified,
        "attack_parameters": json.dumps(jsonable(cell.attack.parameters)),
        "attack_version": cell.attack.entry.version,
    }


def _source(source: DatasetChoice | None) -> str | None:
    if source is None:
        return None
    known = {"label": source.label, "use": source.entry.qualified, "parameters": source.parameters}
    return json.dumps(jsonable(known | {"source": _source(source.source)}))


def skipped_row(item: Skipped, planned: Plan) -> dict[str, Any]:
    row = planned_row(Cell(item.dataset, item.model, item.attack, ""), planned)
    surrogate = item.surrogate.label if item.surrogate else None
    own = {"attack": item.attack_label, "surrogate": surrogate, "status": "skipped", "error": item.reason}
    return row | own


def state_of(tally: dict[str, Any], shards: int) -> dict[str, Any]:
    if tally["shards_done"] < shards:
        return tally | {"status": "partial"}
    return tally | {"status": "failed" if tally["cases_failed"] else "done"}


def model_row(dataset: DatasetChoice, model: ModelChoice, data: Loaded, specimen: Specimen) -> dict[str, Any]:
    names = specimen.model.names
    if not names:
        answers = specimen.model.head
        names = data.dataset.attribute_names if answers == "attributes" else data.dataset.class_names
    return {
        "dataset": dataset.label,
        "model": model.label,
        "use": model.entry.qualified,
        "parameters": jsonable(model.parameters),
        "weights": specimen.digest,
        "outputs": list(names),
        "card": {key: value for key, value in specimen.card.items() if key != "identity"},
    }
