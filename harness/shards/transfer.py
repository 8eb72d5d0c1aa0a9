"""Adversarials that were made on one model, the surrogate, are judged here on another, the victim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from harness.cases.cases import Cases
from harness.errors import DatasetError
from harness.handle import Meter
from harness.judge.region import with_region
from harness.judge.trial import Trial
from harness.judge.verdict import judge
from harness.shards.context import CellContext, images
from harness.shards.records import case_of, columns_of, decode, failure, names_of, pairs_of
from harness.store.parquet import read_parquet

_NEEDED = {"sample_id", "target", "reference", "adversarial", "success", "valid", "fault", "error"}


def judge_shard(context: CellContext, cases: Cases, source: Path) -> pa.Table:
    """Judge the adversarials of a shard of the surrogate; return a record of each case, in order.

    An image that broke a bound of the threat on the surrogate breaks it here too. A case that is an error
    there has no image, and is an error here. Nothing is attacked: the passes are 0.

    Args:
        cases: those of the shard that the victim can judge.
        source: the shard's file.

    Raises:
        ResultsError: the file cannot be read.
        DatasetError: an image cannot be read.
    """
    made = {case_of(record): record for record in read_parquet(source, _NEEDED).to_pylist()}
    schema = context.schema
    tables = []
    size = context.batch_size.cases
    for start in range(0, len(cases), size):
        batch = cases.part(start, start + size)
        ids = [context.dataset.ids[row] for row in batch.rows]
        records = [made.get(key) for key in names_of(context.dataset, batch)]
        try:
            columns = _judged(context, batch, records)
        except DatasetError:
            raise
        except Exception as error:
            columns = {"error": [failure(error)] * len(batch)}
        columns |= {
            "sample_id": ids,
            "goal": [batch.goal] * len(batch),
            "target": list(batch.targets),
            **pairs_of(context, batch),
            "surrogate_success": [record["success"] if record else None for record in records],
        }
        empty = [None] * len(batch)
        tables.append(pa.table([columns.get(name, empty) for name in schema.names], schema=schema))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _judged(context: CellContext, batch: Cases, records: list[dict[str, Any] | None]) -> dict[str, list[Any]]:
    x = images(context.dataset, batch.rows, context.model.device)
    x_adv = x.clone()
    missing: list[str] = []
    for case, record in enumerate(records):
        if record is None or record["adversarial"] is None:
            reason = record["error"] if record else None
            missing.append(f"no adversarial of the surrogate: {reason or 'it was not stored'}")
            continue
        missing.append("")
        x_adv[case] = decode(record["adversarial"], x.shape[1]).to(x)
    clean = context.clean.at(batch.rows)
    attack = context.cell.attack
    threat = with_region(attack.entry, attack.parameters, attack.threat, context.dataset.shape[1:])
    objective = context.goal_of(batch).objective(context.model, clean)
    verdict = judge(context.model, objective, threat, x, x_adv, clean=clean)
    # What broke a bound was the image as it was returned; what is stored is its rounding.
    faults = [(record or {}).get("fault") or "" for record in records]
    kept = torch.tensor([not fault for fault in faults], device=x.device)
    verdict = verdict.restricted(
        kept,
        tuple(fault or own for fault, own in zip(faults, verdict.faults, strict=True)),
        tuple(one or other for one, other in zip(missing, verdict.errors, strict=True)),
    )
    return columns_of(context, batch, Trial(x, clean, objective, verdict, Meter(len(batch)), 0.0))
