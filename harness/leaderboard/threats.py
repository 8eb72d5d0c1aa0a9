"""A threat of the board is what rows share whose numbers may be compared or combined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Budget = tuple[str, float]
"""A norm and eps; None in its place is no budget at all."""

TOLERANCE = 1e-5
"""By how much a judged image may exceed its budget: the judge's own tolerance."""


@dataclass(frozen=True)
class BoardThreat:
    """A threat as cells.parquet names it: "linf 8/255", "l2 minimal", "eyeglasses", "unbounded"."""

    label: str
    norm: str | None
    eps: float | None
    """None where the attack has no budget, or looks for the smallest change."""

    @property
    def regional(self) -> bool:
        """Return whether changes are confined to a region, which the label then names beside the budget."""
        return len(self.label.split()) > 2 if self.norm else self.label != "unbounded"

    @property
    def budget(self) -> Budget | None:
        """Return the budget of changes that may be anywhere; None where there is none."""
        return None if self.norm is None or self.eps is None or self.regional else (self.norm, self.eps)

    def asks(self, other: BoardThreat) -> bool:
        """Say whether an attack under this threat is asked for adversarials under another one.

        One that looks for the smallest change anywhere is asked about every budget of its norm. What it finds
        may keep to a budget of another norm, but that is not what it looks for.
        """
        if self == other:
            return True
        smallest = not self.regional and self.norm is not None and self.eps is None
        return smallest and other.budget is not None and other.norm == self.norm


OVERALL = BoardThreat("any", None, None)
"""The threat of a worst case over everything."""


def threat_of(cell: Mapping[str, Any]) -> BoardThreat:
    """Return the threat of a cell, as cells.parquet has it."""
    return BoardThreat(cell["threat"], cell.get("norm"), cell.get("eps"))


def threats_of(cells: Iterable[Mapping[str, Any]]) -> list[BoardThreat]:
    """Return the threats of some cells, each once, in their order."""
    return list(dict.fromkeys(threat_of(cell) for cell in cells))
