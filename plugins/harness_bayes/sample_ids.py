"""The ids of sampled images are computed when they are read, so that a million of them need no memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import overload


class SampleIds(Sequence[str]):
    """SampleIds are "train-000001", "train-000002", … for the images of each partition, then given ids."""

    def __init__(self, counts: Mapping[str, int], others: Sequence[str] = ()) -> None:
        self._counts = dict(counts)
        self._others = others

    def __len__(self) -> int:
        return sum(self._counts.values()) + len(self._others)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...

    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self[row] for row in range(*at.indices(len(self))))
        row = index(at)
        row += len(self) if row < 0 else 0
        if not 0 <= row < len(self):
            raise IndexError(f"row {at} of {len(self)} ids")
        for partition, count in self._counts.items():
            if row < count:
                return f"{partition}-{row + 1:06d}"
            row -= count
        return self._others[row]
