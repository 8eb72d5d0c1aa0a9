"""Annotations are numbers that data sets know of the attacked images, stored for analyses to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.cases.datasets import OpenedDataset
from harness.errors import DatasetError, HarnessError
from harness.files import write_whole
from harness.store.clusters import IDENTITY
from harness.store.schema import ANNOTATION_SCHEMA

FILE = "annotations.parquet"


def keep_annotations(folder: Path, loaded: Iterable[OpenedDataset]) -> None:
    """Write annotations.parquet: a row per attacked image and number that its data set knows of it.

    Raises:
        DatasetError: a data set cannot tell, or tells something else than a number per image.
    """
    table = annotations_of(loaded)
    file = folder / FILE
    if table is None:
        file.unlink(missing_ok=True)
        return
    write_whole(file, lambda aside: pq.write_table(table, aside, compression="zstd"))


def annotations_of(loaded: Iterable[OpenedDataset]) -> pa.Table | None:
    """Return what annotations.parquet holds; None where no data set knows a number.

    Raises:
        DatasetError: as of ``keep_annotations``.
    """
    tables = [table for data in loaded for table in _tables(data)]
    return pa.concat_tables(tables) if tables else None


def _tables(data: OpenedDataset) -> Iterable[pa.Table]:
    name = data.dataset.name
    for what, numbers in _known(data).items():
        values = np.asarray(numbers, np.float64)
        if values.shape != data.attacked.shape:
            count = len(data.attacked)
            raise DatasetError(f"{name}: annotation {what} has shape {values.shape}, not ({count},)")
        columns: dict[str, Any] = {
            "dataset": [data.choice.label] * len(values),
            "sample_id": [data.dataset.ids[row] for row in data.attacked],
            "name": [what] * len(values),
            "value": values,
        }
        yield pa.table(columns, schema=ANNOTATION_SCHEMA)


def _known(data: OpenedDataset) -> Mapping[str, Any]:
    """Return what a data set knows of the attacked images: numbers by name, and who they show."""
    dataset = data.dataset
    who = {} if dataset.identities is None else {IDENTITY: dataset.identities[data.attacked]}
    if dataset.annotations is None:
        return who
    try:
        return {**dataset.annotations(data.attacked), **who}
    except HarnessError:
        raise
    except Exception as error:
        raise DatasetError(f"{dataset.name}: annotations: {type(error).__name__}: {error}") from error
