"""Pictures: stored adversarials and their originals, as pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import HarnessError
from harness.results import Results
from harness.store.parquet import read_parquet, record_files
from harness.store.png import decode

Pixels = npt.NDArray[np.uint8]
KEEP = "put keep = true into the suite and run it again"


def adversarials(results: Results, cases: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """Sample ids and PNGs of those cases of which a picture was kept; one shard is in memory at a time.

    Args:
        cases: columns sample_id and cell, the cell being the one whose adversarial is wanted.
    """
    for cell, own in cases.groupby("cell", sort=False):
        wanted = set(own["sample_id"])
        for file in record_files(results.path, str(cell)):
            ids = read_parquet(file, {"sample_id"}).column("sample_id").to_pylist()
            if not wanted.intersection(ids):
                continue
            table = read_parquet(file, {"adversarial"})
            if "adversarial" not in table.column_names:
                continue
            for sample, picture in zip(ids, table.column("adversarial").to_pylist(), strict=True):
                if picture is not None and sample in wanted:
                    yield sample, picture


def pixels(picture: bytes) -> Pixels:
    """A PNG as (3, H, W), or as (1, H, W) where it holds no colour channels."""
    # Byte 25 of a PNG is its colour type; 0 is grey.
    return decode(picture, 1 if picture[25] == 0 else 3)


def need_pictures(results: Results) -> None:
    """Whether the folder holds originals.

    Raises:
        HarnessError: it holds none.
    """
    if not (results.path / "originals.parquet").is_file():
        raise HarnessError(f"{results.path}: no pictures are kept; {KEEP}")
