"""The clean comparisons and the thresholds of verifiers are computed again, and compared with the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.session.comparisons import COMPARISONS, THRESHOLDS, comparisons_of, thresholds_of
from harness.session.verification.again import ANSWER
from harness.session.verification.cells import same
from harness.session.verification.report import Report, shown
from harness.shards.context import ReadyModel
from harness.store.parquet import read_parquet
from harness.store.schema import COMPARISON_SCHEMA

_EXACT = tuple(name for name in COMPARISON_SCHEMA.names if name != "distance")
_CHUNK = 1 << 16


def compare_comparisons(
    folder: Path, ready: Mapping[tuple[Any, Any], ReadyModel], finished: bool, report: Report
) -> None:
    """Report what comparisons.parquet and thresholds.parquet say other than the verifiers do."""
    verifiers = {
        (dataset.label, model.label): made
        for (dataset, model), made in ready.items()
        if made.verifier is not None
    }
    for name, compare in ((COMPARISONS, _compare_distances), (THRESHOLDS, _compare_points)):
        file = folder / name
        if file.is_file():
            compare(file, verifiers, report)
            report.agree(name)
        elif verifiers and finished:
            report.differ(name, "it is missing; `harness run` makes it again")


def _compare_distances(file: Path, verifiers: Mapping[Any, ReadyModel], report: Report) -> None:
    """Compare the comparisons of each verifier, row by row, some of them at a time."""
    told = _by_place(file)
    for place, ready in verifiers.items():
        theirs = _slices(told.pop(place, iter(())))
        for number, ours in enumerate(_slices(comparisons_of(place, ready))):
            other = next(theirs, COMPARISON_SCHEMA.empty_table())
            fault = _unlike(ours, other)
            if fault:
                report.differ(file.name, f"{place[1]} on {place[0]}, from row {number * _CHUNK}: {fault}")
                break
        else:
            if next(theirs, None) is not None:
                report.differ(file.name, f"{place[1]} on {place[0]}: it has more comparisons than are drawn")
    for place in told:
        report.differ(file.name, f"{place[1]} on {place[0]}: the suite has no such verifier")


def _unlike(ours: pa.Table, theirs: pa.Table) -> str:
    """Return the first difference of two tables of comparisons, or nothing."""
    if len(ours) != len(theirs):
        return f"it has {len(theirs)} comparisons where {len(ours)} are drawn"
    for name in _EXACT:
        column, other = ours[name], theirs[name]
        if not column.equals(other):
            return f"{name} is not as drawn"
    one, two = (table["distance"].to_numpy() for table in (ours, theirs))
    allowed = ANSWER * np.maximum(1.0, np.abs(one))
    wrong = np.flatnonzero(~((np.abs(one - two) <= allowed) | (np.isnan(one) & np.isnan(two))))
    if not len(wrong):
        return ""
    at = int(wrong[0])
    row = theirs.slice(at, 1).to_pylist()[0]
    return f"the distance of {row['probe']} to {row['reference']} is {one[at]}, recorded {two[at]}"


def _by_place(file: Path) -> dict[tuple[str, str], Iterator[pa.Table]]:
    """Return the tables of each verifier in a file, which are read when they are asked for."""
    found: dict[tuple[str, str], list[int]] = {}
    with pq.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            named = opened.read_row_group(group, ["dataset", "model"])
            for place in {(row["dataset"], row["model"]) for row in _distinct(named)}:
                found.setdefault(place, []).append(group)
    return {place: _groups(file, place, groups) for place, groups in found.items()}


def _distinct(named: pa.Table) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = named.group_by(["dataset", "model"]).aggregate([]).to_pylist()
    return rows


def _groups(file: Path, place: tuple[str, str], groups: list[int]) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as opened:
        for group in groups:
            table = opened.read_row_group(group).replace_schema_metadata(None)
            own = pc.and_(pc.equal(table["dataset"], place[0]), pc.equal(table["model"], place[1]))
            yield table.filter(own)


def _slices(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of some tables in pieces of one length, the last one aside."""
    held: list[pa.Table] = []
    count = 0
    for table in chain(tables, [None]):
        if table is not None:
            held.append(table)
            count += len(table)
        while count >= _CHUNK or (table is None and count):
            whole = pa.concat_tables(held)
            yield whole.slice(0, _CHUNK).combine_chunks()
            held, count = [whole.slice(_CHUNK)], max(0, count - _CHUNK)


def _compare_points(file: Path, verifiers: Mapping[Any, ReadyModel], report: Report) -> None:
    rows: dict[Any, list[dict[str, Any]]] = {}
    for row in read_parquet(file).to_pylist():
        rows.setdefault((row["dataset"], row["model"]), []).append(row)
    for place, ready in verifiers.items():
        ours, theirs = thresholds_of(place, ready).to_pylist(), rows.pop(place, [])
        named = f"{place[1]} on {place[0]}"
        if len(ours) != len(theirs):
            report.differ(file.name, f"{named}: {len(ours)} thresholds, recorded {len(theirs)}")
        for own, other in zip(ours, theirs, strict=False):
            for name, value in own.items():
                if not same(value, other.get(name), ANSWER):
                    at = f"{named}, FMR {own['fmr']}: {name} is {shown(value)}"
                    report.differ(file.name, f"{at}, recorded {shown(other.get(name))}")
    for place in rows:
        report.differ(file.name, f"{place[1]} on {place[0]}: the suite has no such verifier")
