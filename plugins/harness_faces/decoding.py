"""Streamed decoding: image files to 8-bit RGB on one pixel grid, kept in memory up to a bound."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from harness.dataset import UInt8Images
from harness.errors import DatasetError

BLOCK_BYTES = 16 << 20
"""The cache grows by this much at a time."""
PORTION = 8
"""Images that one thread takes at a time: few enough to share out evenly, enough to hide the hand-over."""

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
# Pixels as stored: an orientation tag would turn the face away from its landmarks.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def file_sizes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Size in bytes of each named file that is in the folder, found in one pass over it.

    Raises:
        DatasetError: the folder cannot be read.
    """
    wanted = frozenset(names)
    try:
        with os.scandir(folder) as entries:
            # is_file follows links, and is false for one that leads nowhere
            files = (entry for entry in entries if entry.name in wanted and entry.is_file())
            return {entry.name: entry.stat().st_size for entry in files}
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read: {error.strerror}; restore it") from error


def fault_in(data: bytes) -> str | None:
    """Why ``data`` is no complete JPEG or PNG file, or None where it is one.

    cv2 is not asked: depending on its version it fills what is missing with grey, and it writes to stderr.
    """
    if not data:
        return "is empty"
    if data.startswith(_JPEG):
        # Coded pixels never contain the end-of-image marker, but a thumbnail in the header may: look behind
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


def decode(path: Path, origin: str, source: tuple[int, int], size: tuple[int, int]) -> UInt8Images:
    """One image file as uint8 RGB (3, height, width), resized from ``source`` to ``size``.

    Args:
        path: a JPEG or PNG file.
        origin: where the file is listed, for error messages.
        source: height and width in pixels that the file must have.
        size: height and width in pixels of the result; where it differs from ``source``, pixels are averaged
            over their area to shrink and interpolated linearly to enlarge.

    Raises:
        DatasetError: the file cannot be read, is damaged, or is of another size than ``source``.
    """
    place = f"{path} ({origin})"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{place} cannot be read: {error.strerror}; restore it") from error
    fault = fault_in(data)
    if fault is not None:
        raise DatasetError(f"{place} {fault}; fetch or unpack it again")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)  # (H, W, 3), BGR
    if image is None:
        raise DatasetError(f"{place} cannot be decoded; fetch or unpack it again")
    height, width = image.shape[:2]
    if (height, width) != source:
        raise DatasetError(
            f"{place} is {width} pixels wide and {height} high, expected {source[1]} x {source[0]}; "
            "replace it by the aligned image"
        )
    if size != source:
        shrinks = size[0] <= height and size[1] <= width
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    # cv2 takes the planes apart without the interpreter's lock, where NumPy's transposed copy would hold it.
    blue, green, red = cv2.split(image)
    return np.stack((red, green, blue))


class StreamedImages:
    """Images decoded on demand by a few threads, of which the first to come stay in memory.

    The cache fills and then stays as it is. A run goes through all its images again and again in much the
    same order; there, a least-recently-used cache that is smaller than the run drops every image just before
    its turn comes, and never hits, while this one hits for whatever share fits.
    """

    def __init__(
        self,
        decode_row: Callable[[int], UInt8Images],
        count: int,
        shape: tuple[int, int, int],
        cache_bytes: int,
    ) -> None:
        """Nothing is decoded or allocated yet.

        Args:
            decode_row: row number to uint8 image of ``shape``; called from several threads at once.
            count: number of rows.
            shape: channels, height, width.
            cache_bytes: the most that the kept images may take, in bytes; 0 keeps none.
        """
        self._decode_row = decode_row
        self._shape = shape
        image_bytes = int(np.prod(shape))
        self._capacity = min(count, cache_bytes // image_bytes)  # images
        self._block_length = max(1, BLOCK_BYTES // image_bytes)  # images
        self._threads = min(4, os.cpu_count() or 1)
        # Guarded by the lock. A slot is written once, before its number is given out, and never again: its
        # pixels are read without the lock.
        self._lock = threading.Lock()
        self._slots = np.full(count, -1, dtype=np.int32)  # by row; -1: not kept
        self._blocks: list[UInt8Images] = []
        self._kept = 0

    @property
    def cached_bytes(self) -> int:
        """Memory that the cache has allocated so far."""
        return sum(block.nbytes for block in self._blocks)

    def read(self, rows: npt.NDArray[np.intp]) -> UInt8Images:
        """uint8 images (B, C, H, W) of the given rows (B,), in any order; callable from several threads.

        Raises:
            DatasetError: an image cannot be decoded.
        """
        rows = np.asarray(rows, dtype=np.intp)
        images = np.empty((len(rows), *self._shape), dtype=np.uint8)
        with self._lock:
            slots = self._slots[rows]
        for place in np.flatnonzero(slots >= 0):
            block, within = divmod(int(slots[place]), self._block_length)
            images[place] = self._blocks[block][within]
        missing = np.flatnonzero(slots < 0)
        if len(missing):
            self._decode_into(images, rows, missing)
        return images

    def _decode_into(
        self, images: UInt8Images, rows: npt.NDArray[np.intp], missing: npt.NDArray[np.intp]
    ) -> None:
        unique, first, copies = np.unique(rows[missing], return_index=True, return_inverse=True)
        places = missing[first]  # each row once, in rising order: the error that comes first is reproducible
        portions = [places[start : start + PORTION] for start in range(0, len(places), PORTION)]
        work = partial(self._decode_portion, images, rows)
        if len(portions) == 1 or self._threads == 1:
            for portion in portions:
                work(portion)
        else:
            # A pool for each call costs a fraction of one decoded image, and leaves no thread behind that a
            # forked process would wait for in vain.
            with ThreadPoolExecutor(min(self._threads, len(portions))) as pool:
                for _ in pool.map(work, portions):
                    pass
        if len(places) < len(missing):
            images[missing] = images[places[copies]]
        self._keep(unique, images, places)

    def _decode_portion(
        self, images: UInt8Images, rows: npt.NDArray[np.intp], portion: npt.NDArray[np.intp]
    ) -> None:
        for place in portion:
            images[place] = self._decode_row(int(rows[place]))

    def _keep(self, rows: npt.NDArray[np.intp], images: UInt8Images, places: npt.NDArray[np.intp]) -> None:
        with self._lock:
            for row, place in zip(rows, places, strict=True):
                if self._kept == self._capacity:
                    return
                if self._slots[row] >= 0:  # another thread decoded it meanwhile
                    continue
                block, within = divmod(self._kept, self._block_length)
                if block == len(self._blocks):
                    length = min(self._block_length, self._capacity - self._kept)
                    self._blocks.append(np.empty((length, *self._shape), dtype=np.uint8))
                self._blocks[block][within] = images[place]
                self._slots[row] = self._kept
                self._kept += 1
