"""Clean comparisons are read from comparisons.parquet here, with strings as codes: ten million fit in memory.

A row is a comparison that a model made before any attack: dataset, model, probe and reference (sample ids),
probe_identity and reference_identity, same, split ("calibration" or "attacked"), fold, distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from harness.errors import ResultsError

COMPARISONS, THRESHOLDS = "comparisons.parquet", "thresholds.parquet"
STRINGS = ("dataset", "model", "probe", "reference", "probe_identity", "reference_identity", "split")
COLUMNS = (*STRINGS, "same", "fold", "distance")
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
    return _read(comparisons_file(folder), columns, wanted).unify_dictionaries().combine_chunks()


def comparison_batches(folder: Path, dataset: str, model: str, split: str) -> Iterator[dict[str, list[Any]]]:
    """Yield the comparisons of a split as lists by column, some ten thousand at a time."""
    wanted = (pc.field("dataset") == dataset) & (pc.field("model") == model) & (pc.field("split") == split)
    scanned = ds.dataset(comparisons_file(folder), format="parquet")
    for batch in scanned.to_batches(filter=wanted, batch_size=2**14):
        if batch.num_rows:
            yield batch.to_pydict()


def _read(file: Path, columns: Sequence[str], wanted: Any) -> pa.Table:
    try:
        return pq.read_table(
            file, columns=list(columns), filters=wanted, read_dictionary=[n for n in columns if n in STRINGS]
        )
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{file} cannot be read: {error}; run the suite again") from error


def read_thresholds(folder: Path) -> pa.Table:
    """Return thresholds.parquet: the operating points of each model; no rows where there is no such file.

    Raises:
        ResultsError: it cannot be read.
    """
    file = folder / THRESHOLDS
    if not file.is_file():
        return pa.table({"dataset": pa.array([], pa.string()), "model": pa.array([], pa.string())})
    try:
        return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{file} cannot be read: {error}; run the suite again") from error
