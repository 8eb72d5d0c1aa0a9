"""What a run stores of its data sets, originals and annotations, is compared with the data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from harness.cases.datasets import OpenedDataset
from harness.session.annotations import FILE as ANNOTATIONS, annotations_of
from harness.session.originals import FILE as ORIGINALS
from harness.session.verification.report import Report, shown
from harness.store.parquet import read_parquet
from harness.store.png import decode

_CHUNK = 256


def compare_annotations(folder: Path, loaded: Iterable[OpenedDataset], due: bool, report: Report) -> None:
    """Report what annotations.parquet says other than the data sets do; it names the person of each image."""
    table, file = annotations_of(loaded), folder / ANNOTATIONS
    if not file.is_file():
        if table is not None and due:
            report.differ(file.name, "it is missing; `harness run` makes it again")
        return
    columns = ("dataset", "name", "sample_id", "value")
    ours = {} if table is None else _values(table.select(columns).to_pylist())
    theirs = _values(read_parquet(file, set(columns)).to_pylist())
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            told = f"{' '.join(key)}: {shown(ours.get(key))}, recorded {shown(theirs.get(key))}"
            report.differ(file.name, told)
    report.agree(file.name)


def _values(rows: list[dict[str, object]]) -> dict[tuple[str, str, str], list[str]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        key = str(row["dataset"]), str(row["name"]), str(row["sample_id"])
        found.setdefault(key, []).append(repr(row["value"]))
    return found


def compare_originals(folder: Path, loaded: Iterable[OpenedDataset], due: bool, report: Report) -> None:
    """Report the originals whose pixels are not those of the data set, and those that are missing.

    Args:
        loaded: the data sets of which adversarials are kept.
    """
    file, loaded = folder / ORIGINALS, list(loaded)
    if not file.is_file():
        if loaded and due:
            report.differ(file.name, "it is missing; `harness run` makes it again")
        return
    places = {
        (data.choice.label, data.dataset.ids[row]): (data, row) for data in loaded for row in data.pictured
    }
    seen: Counter[tuple[str, str]] = Counter()
    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(_CHUNK):
            for row in batch.to_pylist():
                key = row["dataset"], row["sample_id"]
                seen[key] += 1
                if key not in places:
                    report.differ(file.name, f"{' '.join(key)}: the suite uses no such image")
                    continue
                data, at = places[key]
                if not _same_picture(row["original"], data, at):
                    report.differ(file.name, f"{' '.join(key)}: its pixels are not those of the data set")
    for key in places:
        if seen[key] != 1:
            report.differ(file.name, f"{' '.join(key)}: it stands there {seen[key]} times")
    report.agree(file.name)


def _same_picture(picture: bytes, data: OpenedDataset, row: int) -> bool:
    pixels = data.read(np.array([row], np.intp))[0]
    try:
        return np.array_equal(decode(picture, len(pixels)), pixels)
    except ValueError:
        return False
