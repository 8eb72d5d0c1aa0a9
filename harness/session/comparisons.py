"""The clean comparisons of verifiers and their thresholds are stored for metrics and analyses to read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.cases.comparisons import Verifier
from harness.cases.comparisons.drawn import Split
from harness.cases.datasets import VERIFIER, OpenedDataset
from harness.files import write_whole
from harness.parameters import digest_of, jsonable
from harness.plan.cells import Plan
from harness.plan.datasets import DatasetChoice
from harness.shards.context import ReadyModel
from harness.store.schema import COMPARISON_SCHEMA, THRESHOLD_SCHEMA
from harness.store.scores import COMPARISONS, THRESHOLDS

Place = tuple[str, str]
"""The labels of a data set and a model."""

_GROUP = 1 << 17
"""Rows of a row group; each is of one model, so that it can be copied as it is."""
_IDENTITIES = b"harness.comparisons"
"""Metadata of both files: a digest of what each model's rows depend on."""


def keep_comparisons(folder: Path, ready: Mapping[Place, ReadyModel], planned: Collection[Place]) -> None:
    """Write comparisons.parquet and thresholds.parquet; rows that are there already are copied.

    Args:
        ready: the verifiers that are ready; others keep the rows that they have.
        planned: all verifiers of the suite.

    Raises:
        HarnessError: a model fails, or its embeddings are not finite.
    """
    for name, schema in ((COMPARISONS, COMPARISON_SCHEMA), (THRESHOLDS, THRESHOLD_SCHEMA)):
        file = folder / name
        held = _identities(file)
        mine = {place: identity_of(model) for place, model in ready.items()}
        wanted = {place: mine.get(place, held.get(place)) for place in planned}
        wanted = {place: identity for place, identity in wanted.items() if identity is not None}
        if wanted == held:
            continue
        if not wanted:
            file.unlink(missing_ok=True)
            continue
        told = json.dumps([[*place, identity] for place, identity in wanted.items()])
        marked = schema.with_metadata({_IDENTITIES: told.encode()})

        def fill(
            aside: Path,
            file: Path = file,
            marked: pa.Schema = marked,
            held: Mapping[Place, str] = held,
            wanted: Mapping[Place, Any] = wanted,
        ) -> None:
            with pq.ParquetWriter(aside, marked, compression="zstd") as writer:
                for place, identity in wanted.items():
                    if held.get(place) == identity:
                        tables = _copied(file, place)
                    elif file.name == COMPARISONS:
                        tables = comparisons_of(place, ready[place])
                    else:
                        tables = iter([thresholds_of(place, ready[place])])
                    for table in tables:
                        writer.write_table(table.cast(marked), row_group_size=_GROUP)

        write_whole(file, fill)


def verifiers_of(planned: Plan) -> list[Place]:
    """Return the data sets and models of a plan that compare faces, each pair once."""
    pairs = [
        (cell.dataset.label, cell.model.label)
        for cell in planned.cells
        if cell.model.entry.spec.head == VERIFIER
    ]
    return list(dict.fromkeys(pairs))


def persons_of(opened: Mapping[DatasetChoice, OpenedDataset]) -> dict[str, dict[str, Any]]:
    """Return, by data set, how many persons its comparisons ask for and how many were drawn."""
    return {
        choice.label: data.comparisons.persons
        for choice, data in opened.items()
        if data.comparisons is not None and data.comparisons.persons
    }


def identity_of(ready: ReadyModel) -> str:
    """Return a digest of everything that a verifier's comparisons and thresholds depend on."""
    drawn = _verifier(ready).drawn
    choice = ready.choice
    known = [drawn.dataset.fingerprint, ready.trained.digest, choice.entry.identity(choice.parameters)]
    return digest_of(
        [*known, jsonable(drawn.settings.table), drawn.digest, drawn.attacked.digest(drawn.dataset)]
    )


def comparisons_of(place: Place, ready: ReadyModel) -> Iterator[pa.Table]:
    """Yield the clean comparisons of a verifier, so many at a time that memory stays bounded."""
    verifier = _verifier(ready)
    rows, dataset = verifier.drawn.rows, verifier.drawn.dataset
    ids = pa.array([dataset.ids[row] for row in rows], pa.string())
    people = pa.array([verifier.drawn.people[int(row)] for row in rows], pa.string())

    def named(values: pa.Array, of: Any) -> pa.Array:
        return pc.take(values, pa.array(np.searchsorted(rows, of)))

    for split in (verifier.drawn.calibration, verifier.drawn.attacked):
        for blocks in _gathered(verifier, split):
            probes, references, same, folds, apart = blocks
            count = len(probes)
            columns: dict[str, Any] = {
                "dataset": pa.array([place[0]] * count, pa.string()),
                "model": pa.array([place[1]] * count, pa.string()),
                "probe": named(ids, probes),
                "reference": named(ids, references),
                "probe_identity": named(people, probes),
                "reference_identity": named(people, references),
                "same": pa.array(same),
                "split": pa.array([split.name] * count, pa.string()),
                "fold": pa.nulls(count, pa.int32()) if folds is None else pa.array(folds, pa.int32()),
                "distance": pa.array(apart, pa.float32()),
            }
            yield pa.table(columns, schema=COMPARISON_SCHEMA)


def thresholds_of(place: Place, ready: ReadyModel) -> pa.Table:
    """Return the operating points of a verifier."""
    rows = [{"dataset": place[0], "model": place[1], **asdict(point)} for point in _verifier(ready).points]
    return pa.Table.from_pylist(rows, schema=THRESHOLD_SCHEMA)


def _verifier(ready: ReadyModel) -> Verifier:
    assert ready.verifier is not None
    return ready.verifier


def _gathered(verifier: Verifier, split: Split) -> Iterator[tuple[Any, ...]]:
    """Yield the columns of some blocks at a time, so that row groups are not small."""
    held: list[Any] = []
    count = 0
    for block in verifier.clean(split):
        held.append((block.probes, block.references, block.same, block.folds, block.distances))
        count += len(block.probes)
        if count >= _GROUP:
            yield _joined(held)
            held, count = [], 0
    if count:
        yield _joined(held)


def _joined(blocks: list[Any]) -> tuple[Any, ...]:
    return tuple(
        None if column[0] is None else np.concatenate(column) for column in zip(*blocks, strict=True)
    )


def _identities(file: Path) -> dict[Place, str]:
    """Return the digest of each model's rows in a file; none where there is no such file."""
    try:
        told = json.loads((pq.read_schema(file).metadata or {})[_IDENTITIES])
        return {(dataset, model): identity for dataset, model, identity in told}
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return {}


def _copied(file: Path, place: Place) -> Iterator[pa.Table]:
    """Yield the row groups of one model."""
    with pq.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            table = opened.read_row_group(group)
            if len(table) and (table["dataset"][0].as_py(), table["model"][0].as_py()) == place:
                yield table.replace_schema_metadata(None)
