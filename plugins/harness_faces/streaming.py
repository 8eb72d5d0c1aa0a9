"""Images are made on demand and kept in memory up to a limit, so that a data set need not fit into it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from harness.dataset import UInt8Images

CACHE_BYTES = 1 << 30
"""The default size of the cache: 56,000 images of 88x72, or 9,000 of 218x178."""
BLOCK_BYTES = 16 << 20
"""The size of the blocks by which the cache grows."""
PORTION = 8
"""The number of images that a thread takes at a time: few, to share evenly; but enough to hide the cost."""


class StreamedImages:
    """StreamedImages decodes or draws images on demand in a few threads, and keeps the first ones in memory.

    The cache fills and then does not change. A run reads all its images repeatedly in much the same order; a
    least-recently-used cache that is smaller than the run would drop every image just before it is needed
    again, while this one serves all images that fit.
    """

    def __init__(
        self,
        make_row: Callable[[int], UInt8Images],
        count: int,
        shape: tuple[int, int, int],
        cache_bytes: int,
    ) -> None:
        """Prepare the cache, without making or allocating images.

        Args:
            make_row: returns the uint8 image of a row number; several threads call it at once.
            count: the number of rows.
            shape: the channels, height and width of every image.
            cache_bytes: the largest number of bytes that kept images may take; 0 keeps none.
        """
        self._make_row = make_row
        self._shape = shape
        image_bytes = int(np.prod(shape))
        self._capacity = min(count, cache_bytes // image_bytes)  # images
        self._block_length = max(1, BLOCK_BYTES // image_bytes)  # images
        self._threads = min(4, os.cpu_count() or 1)
        # The lock guards these. A slot is written once, before its number is published, so its pixels can be
        # read without the lock.
        self._lock = threading.Lock()
        self._slots = np.full(count, -1, dtype=np.int32)  # by row; -1: not kept
        self._blocks: list[UInt8Images] = []
        self._kept = 0

    @property
    def cached_bytes(self) -> int:
        """Return the number of bytes that the cache has allocated so far."""
        return sum(block.nbytes for block in self._blocks)

    def read(self, rows: npt.NDArray[np.intp]) -> UInt8Images:
        """Return uint8 images (B, C, H, W) of the given rows (B,), in any order; threads may call it at once.

        Raises:
            DatasetError: an image cannot be made.
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
            self._make_into(images, rows, missing)
        return images

    def _make_into(
        self, images: UInt8Images, rows: npt.NDArray[np.intp], missing: npt.NDArray[np.intp]
    ) -> None:
        unique, first, copies = np.unique(rows[missing], return_index=True, return_inverse=True)
        places = missing[first]  # each row once, in rising order, so that the first error is reproducible
        portions = [places[start : start + PORTION] for start in range(0, len(places), PORTION)]
        work = partial(self._make_portion, images, rows)
        if len(portions) == 1 or self._threads == 1:
            for portion in portions:
                work(portion)
        else:
            # A pool for each call costs less than one image, and leaves no thread behind for which a
            # forked process would wait forever.
            with ThreadPoolExecutor(min(self._threads, len(portions))) as pool:
                for _ in pool.map(work, portions):
                    pass
        if len(places) < len(missing):
            images[missing] = images[places[copies]]
        self._keep(unique, images, places)

    def _make_portion(
        self, images: UInt8Images, rows: npt.NDArray[np.intp], portion: npt.NDArray[np.intp]
    ) -> None:
        for place in portion:
            images[place] = self._make_row(int(rows[place]))

    def _keep(self, rows: npt.NDArray[np.intp], images: UInt8Images, places: npt.NDArray[np.intp]) -> None:
        with self._lock:
            for row, place in zip(rows, places, strict=True):
                if self._kept == self._capacity:
                    return
                if self._slots[row] >= 0:  # another thread made it meanwhile
                    continue
                block, within = divmod(self._kept, self._block_length)
                if block == len(self._blocks):
                    length = min(self._block_length, self._capacity - self._kept)
                    self._blocks.append(np.empty((length, *self._shape), dtype=np.uint8))
                self._blocks[block][within] = images[place]
                self._slots[row] = self._kept
                self._kept += 1
