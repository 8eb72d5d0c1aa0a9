"""A shard is some cases of a cell, attacked and judged; it becomes their records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import torch

from harness.cases.cases import Cases
from harness.errors import AttackError, ContractError, DatasetError
from harness.judge.batching import BatchSize, in_batches
from harness.judge.region import with_region
from harness.judge.trial import Elsewhere, attempt
from harness.model import out_of_memory
from harness.shards.context import CellContext, images
from harness.shards.records import columns_of, failure, pairs_of

Remote = Callable[[CellContext, Cases, int | None], Elsewhere]
"""Runs the attack of a cell on some cases in another process, or learns on the first so many of them."""


def run_shard(
    context: CellContext,
    cases: Cases,
    *,
    learning: Cases | None = None,
    remote: Remote | None = None,
    advance: Callable[[int], None] = lambda cases: None,
) -> pa.Table:
    """Attack and judge some cases; return a record of each, in their order.

    A batch in which the attack or the model fails becomes records with an error; one that does not fit into
    memory is halved. A data set that cannot be read is the user's to mend: it ends the run.

    Args:
        learning: of an attack that learns one change for many images, those that it learns on; it then gets
            all cases at once.
        remote: runs the attack in another process; None runs it in this one.
        advance: told the number of cases after each batch.

    Raises:
        DatasetError: an image cannot be read.
    """
    schema = context.schema

    def table(rows: slice) -> pa.Table:
        batch = cases.part(rows.start, rows.stop)
        try:
            columns = _attacked(context, batch, learning, remote)
        except DatasetError:
            raise
        except Exception as error:
            if out_of_memory(error) and context.batch_size.cases > 1 and learning is None:
                raise  # smaller batches may fit
            if isinstance(error, ContractError):
                context.restore()  # it may have cost the model its weights
            columns = {"error": [failure(error)] * len(batch)}
        columns |= {
            "sample_id": [context.dataset.ids[row] for row in batch.rows],
            "goal": [batch.goal] * len(batch),
            "target": list(batch.targets),
            **pairs_of(context, batch),
        }
        empty = [None] * len(batch)
        return pa.table([columns.get(name, empty) for name in schema.names], schema=schema)

    size = context.batch_size if learning is None else BatchSize(max(len(cases), 1))
    tables = []
    for made in in_batches(len(cases), size, table):
        tables.append(made)
        advance(len(made))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def failed_shard(context: CellContext, cases: Cases, reason: str) -> pa.Table:
    """Return the records of a shard that could not be run, in which every case is an error."""
    schema = context.schema
    columns: dict[str, list[Any]] = {
        "sample_id": [context.dataset.ids[row] for row in cases.rows],
        "goal": [cases.goal] * len(cases),
        "target": list(cases.targets),
        **pairs_of(context, cases),
        "error": [reason] * len(cases),
    }
    empty = [None] * len(cases)
    return pa.table([columns.get(name, empty) for name in schema.names], schema=schema)


def _attacked(
    context: CellContext, batch: Cases, learning: Cases | None, remote: Remote | None
) -> dict[str, list[Any]]:
    """Return the record columns of a batch that is attacked, together with ``learning``, and judged."""
    attack = context.cell.attack
    entry = attack.entry
    if learning is not None and not len(learning):
        raise AttackError(
            f"{attack.label} learns on some images and is judged on others, but has one alone; take a "
            "larger sample, or for a verifier more intruders or genuine images"
        )
    every = batch if learning is None else learning.with_others(batch)
    learned = None if learning is None else len(learning)
    trial = attempt(
        context.model,
        remote(context, every, learned) if remote else entry.load(entry.spec.run),
        images(context.dataset, every.rows, context.model.device),
        context.goal_of(every),
        with_region(entry, attack.parameters, attack.threat, context.dataset.shape[1:]),
        seed=context.seed,
        keys=every.keys,
        parameters={} if remote else entry.arguments(entry.spec.run, attack.parameters),
        following=entry.spec.following(attack.parameters),
        compute=attack.compute,
        clean=context.clean.at(every.rows),
        fit=None if learned is None else torch.arange(len(every)) < learned,
    )
    return columns_of(context, batch, trial)
