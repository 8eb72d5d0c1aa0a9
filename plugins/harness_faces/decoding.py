"""Image files are decoded to 8-bit RGB on one pixel grid."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from harness.dataset import UInt8Images
from harness.errors import DatasetError
from harness_faces.frame import Crop

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
# Orientation tags are ignored, because they would rotate a face but not its landmarks.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def file_sizes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the size in bytes of each named file that is in the folder, in one pass over it.

    Raises:
        DatasetError: the folder cannot be read.
    """
    wanted = frozenset(names)
    try:
        with os.scandir(folder) as entries:
            # is_file follows links, and is false for a broken one
            files = (entry for entry in entries if entry.name in wanted and entry.is_file())
            return {entry.name: entry.stat().st_size for entry in files}
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read: {error.strerror}; restore it") from error


def fault_in(data: bytes) -> str | None:
    """Return why ``data`` is not a complete JPEG or PNG file, or None if it is one.

    cv2 cannot tell: depending on its version it fills missing pixels with grey, and it writes to stderr.
    """
    if not data:
        return "is empty"
    if data.startswith(_JPEG):
        # Coded pixels never contain the end-of-image marker, but a thumbnail in the header may: search after
        # the last start of scan. Bytes after the end are harmless.
        return None if data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") else "is a truncated JPEG"
    if data.startswith(_PNG):
        at, kind = len(_PNG), b""
        while kind != b"IEND":  # each chunk: length, kind, that many bytes, CRC-32 of kind and bytes
            kind = data[at + 4 : at + 8]
            end = at + 8 + int.from_bytes(data[at : at + 4], "big")
            if end + 4 > len(data):
                return "is a truncated PNG"
            if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                return "is a damaged PNG"
            at = end + 4
        return None
    return "is neither a JPEG nor a PNG"


def decode(
    path: Path, origin: str, source: tuple[int, int], size: tuple[int, int], crop: Crop | None = None
) -> UInt8Images:
    """Decode an image file to uint8 RGB (3, height, width), resized from ``source`` or a crop to ``size``.

    Args:
        path: a JPEG or PNG file.
        origin: the place where the file is listed, for error messages.
        source: the height and width in pixels that the file must have.
        size: the height and width in pixels of the result, as of ``resized``.
        crop: the part of ``source`` to use; pixels outside of it have no effect.

    Raises:
        DatasetError: the file cannot be read, is damaged, or is of another size than ``source``.
    """
    place = f"{path} ({origin})"
    image = read_pixels(path, place)
    height, width = image.shape[:2]
    if (height, width) != source:
        raise DatasetError(
            f"{place} is {width} pixels wide and {height} high, expected {source[1]} x {source[0]}; "
            "replace it by the aligned image"
        )
    if crop is not None:
        image = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    return planes(resized(image, size))


def read_pixels(path: Path, place: str) -> UInt8Images:
    """Return the pixels (H, W, 3) of a JPEG or PNG file in 8-bit BGR.

    Args:
        place: begins the message of an error.

    Raises:
        DatasetError: the file cannot be read, or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{place} cannot be read: {error.strerror}; restore it") from error
    fault = fault_in(data)
    if fault is not None:
        raise DatasetError(f"{place} {fault}; fetch or unpack it again")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    if image is None:
        raise DatasetError(f"{place} cannot be decoded; fetch or unpack it again")
    return np.asarray(image)


def resized(image: UInt8Images, size: tuple[int, int]) -> UInt8Images:
    """Resize pixels (H, W, C): averaged over their area to shrink, and else interpolated linearly."""
    height, width = image.shape[:2]
    if size == (height, width):
        return image
    shrinks = size[0] <= height and size[1] <= width
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=kind))


def planes(image: UInt8Images) -> UInt8Images:
    """Return pixels (H, W, 3) in BGR as RGB (3, H, W)."""
    # cv2 splits the planes without holding the interpreter's lock; NumPy's transposed copy would hold it.
    blue, green, red = cv2.split(image)
    return np.stack((red, green, blue))
