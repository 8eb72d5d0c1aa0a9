"""Streaming: images made on demand, kept in memory up to a bound, so that no data set must fit into it."""

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
"""What is kept by default: 56,000 images of 88x72, or 9,000 of 218x178."""
BLOCK_BYTES = 16 << 20
"""The cache grows by this much at a time."""
PORTION = 8
"""Images that one thread takes at a time: few enough to share out evenly, enough to hide the hand-over."""


class StreamedImages:
    """Images decoded or drawn on demand by a few threads, of which the first to come stay in memory.

    The cache fills and then stays as it is. A run goes through all its images again and again in much the
    same order; there, a least-recently-used cache that is smaller than the run drops every image just before
    its turn comes, and never hits, while this one hits for whatever share fits.
    """

    def __init__(
        self,
        make_row: Callable[[int], UInt8Images],
        count: int,
        shape: tuple[int, int, int],
        cache_bytes: int,
    ) -> None:
        """Nothing is made or allocated yet.

        Args:
            make_row: row number to uint8 image of ``shape``; called from several threads at once.
            count: number of rows.
            shape: channels, height, width.
            cache_bytes: the most that the kept images may take, in bytes; 0 keeps none.
        """
        self._make_row = make_row
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
        places = missing[first]  # each row once, in rising order: the error that comes first is reproducible
        portions = [places[start : start + PORTION] for start in range(0, len(places), PORTION)]
        work = partial(self._make_portion, images, rows)
        if len(portions) == 1 or self._threads == 1:
            for portion in portions:
                work(portion)
        else:
            # A pool for each call costs a fraction of one image, and leaves no thread behind that a
            # forked process would wait for in vain.
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
