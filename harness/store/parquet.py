"""Cells and records are read from Parquet files here, only the columns that are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import ResultsError
from harness.store.schema import CELL_SCHEMA, RECORD_SCHEMA

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("cell", "dataset", "model", "attack", "surrogate", "threat", "goal")
"""The columns of its cell that every sample carries."""
ENCODED = ("sample_id", "target", "fault", "error")
"""Record columns with few distinct strings, which are read as codes."""

_PART = re.compile(r"part-([0-9]+)\.parquet")


def read_cells(folder: Path) -> pa.Table:
    """Return cells.parquet, checked for the columns that identify a cell."""
    file = folder / "cells.parquet"
    table = read_parquet(file)
    for name in ("stand_in_for", "surrogate", "source", "error", "cases"):
        if name not in table.column_names:
            kind = CELL_SCHEMA.field(name).type
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
    for name in (*IDENTITY, "status"):
        if name not in table.column_names:
            raise ResultsError(f'{file} has no column "{name}": it was not written by `harness run`')
    return table


def part_name(shard: int) -> str:
    """Return the name of a shard's file."""
    return f"part-{shard:05d}.parquet"


def part_files(place: Path) -> dict[int, Path]:
    """Return the files of a cell's folder that hold its shards, by number, in order.

    Nothing else is one: no hidden, unfinished or copied file, such as "part-00000 (1).parquet".
    """
    if not place.is_dir():
        return {}
    found: dict[int, Path] = {}
    for file in place.iterdir():
        match = _PART.fullmatch(file.name)
        # Other programs may number parts with other digits; the harness's own file is the shard.
        if match and (int(match[1]) not in found or file.name == part_name(int(match[1]))):
            found[int(match[1])] = file
    return dict(sorted(found.items()))


def record_files(folder: Path, cell: str) -> list[Path]:
    """Return the files of a cell's shards, in order."""
    if not cell:  # it failed before its identity was known
        return []
    if Path(cell).name != cell:
        raise ResultsError(f'{folder / "cells.parquet"}: "{cell}" is no cell id')
    return list(part_files(folder / "samples" / cell).values())


def read_records(folder: Path, cell: str, columns: Iterable[str]) -> pa.Table:
    """Return the columns of a cell's shards as one table, null where a shard lacks one."""
    wanted = set(columns)
    parts = [read_parquet(file, wanted) for file in record_files(folder, cell)]
    if not parts:
        parts = [_coded(pa.schema([field for field in RECORD_SCHEMA if field.name in wanted])).empty_table()]
    return pa.concat_tables(parts, promote_options="permissive") if len(parts) > 1 else parts[0]


def read_parquet(file: Path, columns: set[str] | None = None) -> pa.Table:
    """Return the content of a Parquet file, or those of the columns that it has.

    Raises:
        ResultsError: it cannot be read.
    """
    try:
        metadata = pq.read_metadata(file)
        present = metadata.schema.to_arrow_schema().names
        names = [name for name in present if columns is None or name in columns]
        coded = [name for name in names if name in ENCODED]
        with pq.ParquetFile(file, metadata=metadata, read_dictionary=coded) as opened:
            return opened.read(columns=names)
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(
            f"{file} cannot be read: {error}; delete it, and `harness run` makes it again"
        ) from error


def matches(table: pa.Table, name: str, wanted: Any) -> Any:
    """Return which rows have one of the wanted values, where None means null."""
    column = table.column(name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    values = list(wanted) if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
    try:
        return pc.is_in(column.cast(kind), value_set=pa.array(values, kind))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ResultsError(f'column "{name}" cannot be compared with {wanted!r}: it holds {kind}') from error


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a frame in which codes of strings are strings again."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(field.type.value_type))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _coded(schema: pa.Schema) -> pa.Schema:
    """Return the schema in which strings that repeat are read as codes."""
    codes = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([field.with_type(codes) if field.name in ENCODED else field for field in schema])
