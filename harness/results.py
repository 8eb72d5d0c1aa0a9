"""``Results`` reads a results folder back as frames."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import ResultsError, nearest
from harness.files import holder
from harness.store.clusters import cluster_column, read_people
from harness.store.parquet import (
    IDENTITY,
    matches,
    read_cells,
    read_parquet,
    read_records,
    record_files,
    to_frame,
)
from harness.store.schema import ANNOTATION_SCHEMA, RECORD_SCHEMA

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """Results read what a suite's run left in its folder, when asked for, never all at once."""

    path: Path
    suite: Mapping[str, Any]
    """The content of suite.json: the resolved suite, versions, hardware, revision."""

    def leaderboard(self) -> pd.DataFrame:
        """Return one row per dataset x model x attack x threat x goal; see ``harness.leaderboard``.

        Where the run has not come to write it, or another process is at it, it is made from the records.
        """
        file = self.path / "leaderboard.parquet"
        if file.is_file() and not set(writers(self.path)) - {str(os.getpid())}:
            return to_frame(read_parquet(file))
        from harness import leaderboard  # here: it imports this module

        return leaderboard.build(self.path)

    def cells(self) -> pd.DataFrame:
        """Return a row per cell of the plan and per skipped pair: identity, status, error, cost."""
        return to_frame(read_cells(self.path))

    def models(self) -> pd.DataFrame:
        """Return a row per data set and model that was ready: what it answers, and the card of its weights.

        Columns: dataset, model, use, parameters (dict), weights, outputs (list of names, in the order of
        ``decisions_clean``), card (dict: where known accuracy, accuracy_by_attribute, …).
        """
        import pandas as pd

        names = ["dataset", "model", "use", "parameters", "weights", "outputs", "card"]
        file = self.path / "models.json"
        if not file.is_file():
            return pd.DataFrame(columns=names)
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResultsError(f"{file} cannot be read: {error}") from error
        return pd.DataFrame(rows, columns=names)

    def analysis(self, name: str) -> pd.DataFrame:
        """Return the table of an analysis that the suite asks for, by its name or id.

        Raises:
            ResultsError: the folder holds no such analysis.
        """
        folder = self.path / "analyses"
        file = folder / f"{name}.parquet"
        if Path(name).name != name or not file.is_file():
            there = [found.stem for found in folder.glob("*.parquet")]
            raise ResultsError(f'"{self.path}" holds no analysis "{name}"; {nearest(name, there)}')
        return to_frame(read_parquet(file))

    def originals(self, dataset: str) -> dict[str, bytes]:
        """Return the attacked images of a data set as PNG, by sample id; empty where the suite keeps none."""
        file = self.path / "originals.parquet"
        if not file.is_file():
            return {}
        table = read_parquet(file)
        table = table.filter(matches(table, "dataset", dataset))
        return dict(
            zip(table.column("sample_id").to_pylist(), table.column("original").to_pylist(), strict=True)
        )

    def annotations(self) -> pd.DataFrame:
        """Return the numbers that data sets know of the attacked images: dataset, sample_id, name, value."""
        file = self.path / "annotations.parquet"
        return to_frame(read_parquet(file) if file.is_file() else ANNOTATION_SCHEMA.empty_table())

    def samples(
        self, columns: Sequence[str] | None = None, where: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return a row per case, with the identity of its cell: cell, dataset, model, attack, threat, goal.

        Args:
            columns: record columns; None for all. Only these are read. "cluster" is one, too: the person
                that an image shows where the data set knows it, else the image; cases of one cluster are
                no independent evidence.
            where: columns of cells or records, and the value or the list of values that they must have.
                Cells that do not match are not opened.

        Raises:
            ResultsError: a column is unknown, or a file cannot be read.
        """
        cells = read_cells(self.path)
        conditions = dict(where or {})
        if isinstance(columns, str):
            columns = [columns]
        # Of the columns that cells and records share ("error", "seconds"), the record's is meant.
        of_cells = {*IDENTITY, *(set(cells.column_names) - set(RECORD_SCHEMA.names))}
        for name in conditions.keys() & of_cells:
            cells = cells.filter(matches(cells, name, conditions.pop(name)))
        cells = cells.filter(pc.not_equal(cells.column("status"), "skipped"))
        ids = cells.column("cell").to_pylist()
        stored = _record_schema(self.path, ids)
        schema = stored.append(pa.field("cluster", pa.string()))
        chosen = [
            name
            for name in dict.fromkeys(stored.names if columns is None else columns)
            if name not in IDENTITY
        ]
        for name in [*chosen, *conditions]:
            if name not in schema.names:
                valid = [*schema.names, *(cells.column_names if name not in chosen else IDENTITY)]
                raise ResultsError(f'{self.path}: column "{name}" is unknown; {nearest(name, valid)}')
        people = read_people(self.path) if "cluster" in {*chosen, *conditions} else {}
        parts = [
            _samples_of(self.path, cell, schema, chosen, conditions, people) for cell in cells.to_pylist()
        ]
        return to_frame(pa.concat_tables(parts) if parts else _no_samples(schema, chosen))


def read_results(path: str | os.PathLike[str]) -> Results:
    """Return the results in a folder that `harness run` wrote.

    Raises:
        ResultsError: there is no such folder, or it holds no results.
    """
    folder = Path(path)
    return Results(folder, require_results(folder))


def require_results(folder: Path) -> Mapping[str, Any]:
    """Return the content of suite.json of a folder that holds results; raise what ``read_results`` raises."""
    suite = read_description(folder)
    _require(folder, "cells.parquet")
    return suite


def read_description(folder: Path) -> Mapping[str, Any]:
    """Return the content of suite.json, which is there as soon as a run has begun.

    Raises:
        ResultsError: there is no such folder, or it holds no readable suite.json.
    """
    if not folder.is_dir():
        raise ResultsError(f'results folder "{folder}" does not exist{_neighbour(folder)}')
    _require(folder, "suite.json")
    try:
        suite = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{folder / 'suite.json'} cannot be read: {error}") from error
    if not isinstance(suite, dict):
        raise ResultsError(f"{folder / 'suite.json'} cannot be read: it holds no JSON object")
    return suite


def _require(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise ResultsError(_without(folder, name))


def writers(folder: Path) -> list[str]:
    """Return the processes of this machine that are writing a results folder."""
    held = (holder(file) for file in sorted(folder.glob(".lock*")))
    return list(dict.fromkeys(process for process in held if process is not None))


def _without(folder: Path, name: str) -> str:
    """Say why a folder holds no results, and what to do."""
    writing = writers(folder)
    if writing:
        return (
            f'"{folder}": the run of process {", ".join(writing)} is opening its data sets, and has no '
            "results yet; look again when it attacks"
        )
    if (folder / "samples").is_dir():
        return f'"{folder}" holds no {name}: its run was stopped before it had results; run it again'
    return f'"{folder}" holds no {name}, so it holds no results: name a folder that `harness run` wrote'


def _record_schema(folder: Path, cells: Iterable[str]) -> pa.Schema:
    """Return all record columns of some cells: those of every record, and the measures that they have."""
    schema = RECORD_SCHEMA
    for cell in cells:
        files = record_files(folder, cell)
        if files:
            try:
                found = pq.read_schema(files[0])
            except (OSError, pa.ArrowException) as error:
                raise ResultsError(f"{files[0]} cannot be read: {error}") from error
            for field in found:
                if field.name not in schema.names:
                    schema = schema.append(field.with_nullable(True).remove_metadata())
    return schema.remove_metadata()


def _samples_of(
    folder: Path,
    cell: Mapping[str, Any],
    schema: pa.Schema,
    chosen: Sequence[str],
    where: Mapping[str, Any],
    people: Mapping[str, Mapping[str, int]],
) -> pa.Table:
    """Return the chosen columns of a cell's records that match."""
    # sample_id, too, so that the number of rows is known where nothing else is read
    table = read_records(folder, cell["cell"], {"sample_id", *chosen, *where})
    if "cluster" in {*chosen, *where}:
        clusters = cluster_column(table.column("sample_id"), people.get(cell["dataset"], {}))
        table = table.append_column("cluster", clusters)
    for name in where:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    for name, wanted in where.items():
        table = table.filter(matches(table, name, wanted))
    n = table.num_rows
    arrays: dict[str, Any] = {
        name: pa.repeat(pa.scalar(cell[name], pa.string()), n) if n else pa.array([], pa.string())
        for name in IDENTITY
    }
    for name in chosen:
        kind = schema.field(name).type
        arrays[name] = table.column(name).cast(kind) if name in table.column_names else pa.nulls(n, kind)
    return pa.table(arrays)


def _no_samples(schema: pa.Schema, chosen: Sequence[str]) -> pa.Table:
    fields = [pa.field(name, pa.string()) for name in IDENTITY]
    return pa.schema([*fields, *(pa.field(name, schema.field(name).type) for name in chosen)]).empty_table()


def _neighbour(folder: Path) -> str:
    """Return a remedy: the results folder beside it whose name is nearest."""
    try:
        beside = [entry.name for entry in folder.parent.iterdir() if (entry / "cells.parquet").is_file()]
    except OSError:
        beside = []
    return f"; {nearest(folder.name, beside)}" if beside else ""
