"""Pictures: images as PNG, and the attacked originals that results keep beside their adversarials."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from harness.files import write_whole
from harness.records import ORIGINAL_SCHEMA

if TYPE_CHECKING:
    from harness.dataset_choice import DatasetChoice
    from harness.loading import Loaded

_CHUNK = 256
_IDENTITY = b"identity"
"""Metadata of originals.parquet: which data sets and samples it holds."""


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """PNG of pixels (C, H, W), C = 1 or 3 (RGB); lossless."""
    planes = pixels.transpose(1, 2, 0)
    fine, encoded = cv2.imencode(".png", planes[..., ::-1] if planes.shape[2] == 3 else planes)
    if not fine:
        raise ValueError("the image cannot be written as PNG")
    return bytes(encoded)


def decode(picture: bytes, channels: int) -> npt.NDArray[np.uint8]:
    """Pixels (C, H, W) of a PNG that ``encode`` wrote.

    Raises:
        ValueError: it is no readable PNG.
    """
    mode = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), mode)
    if pixels is None:
        raise ValueError("the stored adversarial is no readable PNG")
    planes = pixels[..., ::-1].transpose(2, 0, 1) if channels == 3 else pixels[None]
    return np.ascontiguousarray(planes, np.uint8)


def keep_originals(folder: Path, loaded: Mapping[DatasetChoice, Loaded]) -> None:
    """Write originals.parquet: the attacked images of these data sets, once each.

    Raises:
        DatasetError: an image cannot be read.
    """
    if not loaded:
        return
    file = folder / "originals.parquet"
    known = [[data.choice.label, data.dataset.fingerprint, data.sample_digest] for data in loaded.values()]
    identity = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    if _identity(file) == identity:
        return
    schema = ORIGINAL_SCHEMA.with_metadata({_IDENTITY: identity.encode()})

    def fill(aside: Path) -> None:
        with pq.ParquetWriter(aside, schema, compression="none") as writer:  # PNG is compressed already
            for data in loaded.values():
                for start in range(0, len(data.rows), _CHUNK):
                    writer.write_table(_table(data, start, schema))

    write_whole(file, fill)


def _table(data: Loaded, start: int, schema: pa.Schema) -> pa.Table:
    rows = data.rows[start : start + _CHUNK]
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
