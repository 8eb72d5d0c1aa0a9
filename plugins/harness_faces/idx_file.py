"""IDX files, the format of MNIST, hold a magic number, the length of each dimension, and then bytes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import DatasetError

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTES = 0x08


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read the uint8 array of an IDX file, which may be compressed by gzip.

    Args:
        path: the file.
        dimensions: the number of dimensions that the array must have.

    Raises:
        DatasetError: the file cannot be read, is damaged, or has another content.
    """
    data = _content(path)
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if data[:4] != magic[: len(data[:4])]:
        raise DatasetError(
            f"{path}: begins with 0x{data[:4].hex()}, expected 0x{magic.hex()}: an IDX file of bytes in "
            f"{dimensions} dimension{'s' * (dimensions > 1)}; fetch it again"
        )
    if len(data) < header:
        raise DatasetError(f"{path}: is truncated in its first {header} bytes; fetch it again")
    shape = [int(length) for length in np.frombuffer(data, ">u4", dimensions, offset=4)]
    promised = header + int(np.prod(shape, dtype=object))
    if len(data) != promised:
        fault = "is truncated" if len(data) < promised else "is too long"
        raise DatasetError(
            f"{path}: {fault}: {' x '.join(map(str, shape))} makes {promised} bytes, but it has {len(data)}; "
            "fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    """Read a file, and decompress it if it begins like a gzip file, whatever its name."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}; restore the file") from error
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise DatasetError(f"{path}: is a damaged gzip file: {error}; fetch it again") from error
