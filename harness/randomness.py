"""Random numbers belong to cases: a case gets the same ones in whatever batch, shard or process it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class CaseRandom:
    """CaseRandom gives each case an independent stream of random numbers (Philox, with 128-bit keys).

    The numbers are drawn on the CPU, so that every device sees the same ones. ``take`` keeps the streams, so
    that a case which leaves the batch does not change the numbers of the others.
    """

    def __init__(self, seed: int, keys: Sequence[str]) -> None:
        self._streams = [_stream(seed, key) for key in keys]

    def __len__(self) -> int:
        return len(self._streams)

    def take(self, cases: Tensor) -> CaseRandom:
        """Return the streams of the given cases, (K,) numbers or (B,) bool; they are shared, not copied."""
        if cases.dtype == torch.bool:
            cases = torch.nonzero(cases).flatten()
        view = CaseRandom(0, ())
        view._streams = [self._streams[case] for case in cases.tolist()]
        return view

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return float32 (B, *shape), uniform in [low, high)."""
        size = tuple(shape)
        draws = np.empty((len(self), *size), np.float32)
        for case, stream in enumerate(self._streams):
            draws[case] = stream.random(size, dtype=np.float32)
        draws = draws * np.float32(high - low) + np.float32(low)
        # float32 would round the largest of these numbers up to ``high``
        return torch.from_numpy(np.minimum(draws, np.nextafter(np.float32(high), np.float32(low))))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return float32 (B, *shape), standard normal."""
        size = tuple(shape)
        draws = np.empty((len(self), *size), np.float32)
        for case, stream in enumerate(self._streams):
            draws[case] = stream.standard_normal(size, dtype=np.float32)
        return torch.from_numpy(draws)

    def integers(self, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Return int64 (B, *shape), uniform in [0, high)."""
        size = tuple(shape)
        draws = [np.asarray(stream.integers(high, size=size)) for stream in self._streams]
        return torch.from_numpy(np.stack(draws).astype(np.int64)) if draws else torch.empty((0, *size)).long()


def _stream(seed: int, key: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\x1f{key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], np.uint64)))


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on all parts and is the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_torch(seed: int) -> None:
    """Seed torch's global generators, those of accelerators only where there are any.

    For each kind of accelerator that is absent, ``torch.manual_seed`` writes down the whole stack.
    """
    if torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
