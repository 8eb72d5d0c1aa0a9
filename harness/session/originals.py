"""The attacked originals are written once, beside the adversarials that a suite keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.files import write_whole
from harness.store.png import encode
from harness.store.schema import ORIGINAL_SCHEMA

if TYPE_CHECKING:
    from harness.cases.datasets import OpenedDataset
    from harness.plan.datasets import DatasetChoice

FILE = "originals.parquet"
_CHUNK = 256
_IDENTITY = b"identity"
"""Metadata of originals.parquet: which data sets and samples it holds."""


def keep_originals(folder: Path, loaded: Mapping[DatasetChoice, OpenedDataset]) -> None:
    """Write originals.parquet: the attacked images of these data sets, and possible references, once each.

    Raises:
        DatasetError: an image cannot be read.
    """
    if not loaded:
        return
    file = folder / FILE
    known = [[data.choice.label, data.dataset.fingerprint, data.pictured_digest] for data in loaded.values()]
    identity = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    if _identity(file) == identity:
        return
    schema = ORIGINAL_SCHEMA.with_metadata({_IDENTITY: identity.encode()})

    def fill(aside: Path) -> None:
        with pq.ParquetWriter(aside, schema, compression="none") as writer:  # PNG is compressed already
            for data in loaded.values():
                for start in range(0, len(data.pictured), _CHUNK):
                    writer.write_table(_table(data, start, schema))

    write_whole(file, fill)


def _table(data: OpenedDataset, start: int, schema: pa.Schema) -> pa.Table:
    rows = data.pictured[start : start + _CHUNK]
    columns: dict[str, Any] = {
        "dataset": [data.choice.label] * len(rows),
        "sample_id": [data.dataset.ids[row] for row in rows],
        "original": [encode(image) for image in data.read(rows)],
    }
    return pa.table(columns, schema=schema)


def _identity(file: Path) -> str | None:
    try:
        return str((pq.read_schema(file).metadata or {})[_IDENTITY], "utf-8")
    except (OSError, pa.ArrowException, KeyError):
        return None
