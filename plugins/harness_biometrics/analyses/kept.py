"""Kept pictures of attacked cases: what was changed, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.comparisons import Attacked
from harness.analysis.pictures import KEEP, Pixels, adversarials, originals, pixels
from harness.errors import HarnessError
from harness.results import Results

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Kept:
    """A kept case has its adversarial, and its original and reference where these are kept too."""

    facts: Mapping[str, Any]
    adversarial: Pixels  # (C, H, W)
    original: Pixels | None
    reference: Pixels | None

    @property
    def changed(self) -> Mask | None:
        """Return which pixels (H, W) differ from the original."""
        return None if self.original is None else (self.adversarial != self.original).any(axis=0)


def kept_of(results: Results, attacked: Attacked) -> Iterator[Kept]:
    """Yield the cases of an attack whose picture was kept, in the order of the records.

    Raises:
        HarnessError: the folder keeps no pictures.
    """
    held = originals(results, attacked.verifier.dataset)
    for facts, made in adversarials(results, attacked.cases):
        before, reference = (held.get(facts[name]) for name in ("sample_id", "reference"))
        yield Kept(
            facts,
            made,
            None if before is None else pixels(before),
            None if reference is None else pixels(reference),
        )


def nothing_kept(results: Results, what: str) -> HarnessError:
    """Return the error that no picture of something is kept."""
    return HarnessError(f"{results.path}: no pictures of {what} are kept; {KEEP}")


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of what a mask holds; the ends lie outside."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
