"""A resolved suite is a plan written back as a manifest in which nothing is left to be resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.catalog import Choice
from harness.parameters import jsonable
from harness.plan.cells import Plan
from harness.plan.datasets import DatasetChoice


def resolved(planned: Plan) -> dict[str, Any]:
    """Return the plan as a manifest without defaults and lists; planning it gives the same cells."""
    suite = planned.suite
    return {
        "schema": 1,
        "name": suite.name,
        "description": suite.description,
        "seed": suite.seed,
        "keep": suite.keep,
        "compute": suite.compute,
        "batch_size": suite.batch_size,
        "shard_size": suite.shard_size,
        "device": suite.device,
        "judge": suite.judge,
        "order_by": suite.order_by,
        "overall_worst_case": suite.overall_worst_case,
        "source": [_table(choice, source=_label(choice.source)) for choice in planned.sources],
        "dataset": [
            _table(
                choice,
                partition=choice.partition,
                sample=choice.sample,
                source=_label(choice.source),
                comparisons=jsonable(choice.comparisons.table) if choice.comparisons else None,
            )
            for choice in planned.datasets
        ],
        "model": [_table(choice, weights=choice.weights) for choice in planned.models],
        "attack": [
            _table(
                choice,
                norm=choice.threat.norm,
                eps=choice.threat.eps,
                attributes=jsonable(choice.attributes),
                compute=choice.compute,
                keep=choice.keep,
                fit=choice.fit,
                goals=jsonable(choice.goals),
            )
            for choice in planned.attacks
        ],
        "transfer": [
            dict(zip(("dataset", "surrogate", "victim", "attack"), names, strict=True))
            for names in dict.fromkeys(
                (cell.dataset.label, cell.source.model.label, cell.model.label, cell.attack.label)
                for cell in planned.cells
                if cell.source
            )
        ],
        "measure": [
            _table(choice, at_least=choice.at_least, at_most=choice.at_most) for choice in planned.measures
        ],
        "analysis": [_table(choice) for choice in planned.analyses],
        "exclude": [
            {"dataset": item.dataset.label, "model": item.model.label, "attack": item.attack.label}
            for item in planned.skipped
            if item.reason.startswith("excluded")
        ],
    }


def _label(source: DatasetChoice | None) -> str | None:
    return None if source is None else source.label


def _table(choice: Choice[Any], **own: Any) -> dict[str, Any]:
    """Return one resolved table, without None where the default preset would not fill it in."""
    filled: Mapping[str, Any] = next(iter(getattr(choice.entry.spec, "presets", {}).values()), {})
    table = {"use": choice.entry.qualified, "id": choice.label, **own}
    table |= jsonable(choice.parameters)
    return {key: value for key, value in table.items() if value is not None or key in filled}
