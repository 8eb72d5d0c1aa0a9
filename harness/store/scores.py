"""Clean comparisons are read from comparisons.parquet here, with strings as codes: millions fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from harness.errors import ResultsError
from harness.store.schema import COMPARISON_SCHEMA, THRESHOLD_SCHEMA

COMPARISONS, THRESHOLDS = "comparisons.parquet", "thresholds.parquet"
COLUMNS = tuple(COMPARISON_SCHEMA.names)
STRINGS = tuple(field.name for field in COMPARISON_SCHEMA if pa.types.is_string(field.type))
ABSENT = 'write [dataset.comparisons] into the suite, add a model with the head "embedding", and run it again'


def comparisons_file(folder: Path) -> Path:
    """Return the file of the comparisons of a results folder.

    Raises:
        ResultsError: there is none, or it lacks a column.
    """
    file = folder / COMPARISONS
    if not file.is_file():
        raise ResultsError(f"{folder}: no comparisons are stored; {ABSENT}")
    try:
        held = pq.read_schema(file).names
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{file} cannot be read: {error}; run the suite again") from error
    for name in COLUMNS:
        if name not in held:
            raise ResultsError(f'{file} has no column "{name}": it was not written by `harness run`')
    return file


def compared_models(folder: Path) -> list[tuple[str, str]]:
    """Return the data sets and models that have comparisons, in the order of their rows."""
    table = _read(comparisons_file(folder), ["dataset", "model"], None)
    pairs = table.group_by(["dataset", "model"], use_threads=False).aggregate([])
    return list(zip(pairs["dataset"].to_pylist(), pairs["model"].to_pylist(), strict=True))


def read_comparisons(folder: Path, dataset: str, model: str, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """Return the comparisons of a model on a data set; strings are codes, with a dictionary per column."""
    wanted = (pc.field("dataset") == dataset) & (pc.field("model") == model)
    return _read(comparisons_file(folder), columns, wanted).combine_chunks()


def comparison_batches(folder: Path, dataset: str, model: str, split: str) -> Iterator[dict[str, list[Any]]]:
    """Yield the comparisons of a split as lists by column, some ten thousand at a time."""
    wanted = (pc.field("dataset") == dataset) & (pc.field("model") == model) & (pc.field("split") == split)
    scanned = ds.dataset(comparisons_file(folder), format="parquet")
    for batch in scanned.to_batches(filter=wanted, batch_size=2**14):
        if batch.num_rows:
            yield batch.to_pydict()


def _read(file: Path, columns: Sequence[str], wanted: Any) -> pa.Table:
    try:
        coded = [name for name in columns if name in STRINGS]
        table = pq.read_table(file, columns=list(columns), filters=wanted, read_dictionary=coded)
        return table.unify_dictionaries()  # each row group has its own
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{file} cannot be read: {error}; run the suite again") from error


def read_thresholds(folder: Path) -> pa.Table:
    """Return thresholds.parquet: the operating points of each model; no rows where there is no such file.

    Raises:
        ResultsError: it cannot be read.
    """
    file = folder / THRESHOLDS
    if not file.is_file():
        return THRESHOLD_SCHEMA.empty_table()
    try:
        return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{file} cannot be read: {error}; run the suite again") from error
