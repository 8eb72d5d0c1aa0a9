"""The section of a line in which a goal is first reached is narrowed to two neighbouring images.

The paper's binary search (Rozsa et al., section 3.1) halves the section. If the score is nearly linear, its
values at both ends predict better where it crosses 0: interpolation needs a third fewer tests. In both cases
one end stays on each side, and the search ends at neighbours; if interpolation falls behind, it halves the
section, so that it needs at most ``SPARE`` more tests than the binary search.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from harness.threat import GREY_LEVELS, Threat
from harness_attacks.costs import SPARE
from harness_attacks.line import Line
from harness_attacks.oracle import Oracle

Root = Literal["interpolate", "bisect"]

OVERSHOOT = 0.1
"""The share of the estimated distance by which a test goes beyond the crossing, to move the other end."""


@dataclass(frozen=True, eq=False)
class Section:
    """A Section holds the ends of K sections: the goal is not reached at ``low``, and reached at ``high``."""

    cases: Tensor  # (K,)
    low: Tensor  # (K,) in units of 1/255
    high: Tensor  # (K,)
    below: Tensor  # (K,) margin at ``low``, negative; NaN if it is not known
    above: Tensor  # (K,) margin at ``high``, positive

    def take(self, rows: Tensor) -> Section:
        """Return some of the sections."""
        return Section(*(getattr(self, part.name)[rows] for part in fields(self)))


def narrow_whole(line: Line, oracle: Oracle, section: Section, max_bisections: int) -> Tensor:
    """Bisect the sections until they are one level (1/255) wide, and return (K,) their upper ends."""
    low, high = section.low.clone(), section.high.clone()
    for _ in range(max_bisections):
        wide = torch.nonzero(high - low > 1).flatten()
        if not len(wide):
            break
        middle, cases = ((low + high) / 2).floor()[wide], section.cases[wide]
        reached = oracle.margin(cases, line.take(cases).at(middle)) > 0
        high[wide] = torch.where(reached, middle, high[wide])
        low[wide] = torch.where(reached, low[wide], middle)
    return high


def narrow(
    line: Line, oracle: Oracle, section: Section, max_bisections: int, root: Root
) -> tuple[Tensor, Tensor]:
    """Narrow the sections until no 8-bit image lies between the ends; return (K,) upper ends, (K,) margins.

    The ends then differ by one level of one component. A test whose image is that of an end needs no pass.
    """
    found, margins = section.high.clone(), section.above.clone()
    rows = torch.arange(len(found), device=found.device)
    line = line.take(section.cases)
    at_low = line.at(section.low)  # (K, C, H, W) images of the open sections
    levels = levels_apart(at_low, line.at(section.high), line.threat)
    guess = _Guess.of(section)
    for turn in range(max_bisections + SPARE * (root == "interpolate")):
        wide = torch.nonzero(levels > 1).flatten()
        if len(wide) < len(rows):
            if not len(wide):
                break
            rows, section, line, guess = rows[wide], section.take(wide), line.take(wide), guess.take(wide)
            at_low, levels = at_low[wide], levels[wide]
        eps = (section.low + section.high) / 2
        if root == "interpolate":
            eps = torch.where(guess.behind(section, turn) | (levels <= 3), eps, guess.at(section, levels))
        between = line.at(eps)
        # Along a line no component turns round, so that the levels to both ends add up to those between them.
        above_low = levels_apart(at_low, between, line.threat)
        like_low, like_high = above_low == 0, above_low == levels
        if line.threat.levels != GREY_LEVELS:  # images may differ whose 8-bit versions do not
            like_low, like_high = _equal(between, at_low), _equal(between, line.at(section.high))
        unknown = torch.nonzero(~like_low & ~like_high).flatten()
        margin = torch.where(like_high, section.above, section.below)
        if len(unknown):
            expected = (section.below + section.above)[unknown] / 2 if root == "bisect" else None
            asked = between if len(unknown) == len(rows) else between[unknown]
            margin[unknown] = oracle.rough_margin(section.cases[unknown], asked, expected)
        reached = like_high.index_put((unknown,), margin[unknown] > 0)
        guess = guess.after(section, reached, unknown)
        section = Section(
            section.cases,
            torch.where(reached, section.low, eps),
            torch.where(reached, eps, section.high),
            torch.where(reached, section.below, margin),
            torch.where(reached, margin, section.above),
        )
        at_low = torch.where(reached.view(-1, 1, 1, 1), at_low, between)
        levels = torch.where(reached, above_low, levels - above_low)
        found[rows], margins[rows] = section.high, section.above
    return found, margins


def levels_apart(a: Tensor, b: Tensor, threat: Threat) -> Tensor:
    """Return (B,) the difference of 8-bit images in levels (1/255), summed over all components.

    It is exact up to 2^24 levels.
    """
    if threat.levels != GREY_LEVELS:
        a, b = torch.round(a * GREY_LEVELS) / GREY_LEVELS, torch.round(b * GREY_LEVELS) / GREY_LEVELS
    return (a - b).abs_().mul_(GREY_LEVELS).round_().flatten(1).sum(1)


def _equal(a: Tensor, b: Tensor) -> Tensor:
    """Tell (B,) which images are the same."""
    return (a == b).flatten(1).all(1)


@dataclass(frozen=True, eq=False)
class _Guess:
    """A _Guess holds what interpolation needs to know of each section's history."""

    width: Tensor  # (K,) the width of the section at first
    side: Tensor  # (K,) the end that the latest test replaced: 1 high, -1 low, 0 none
    eps: Tensor  # (K,) the old value of that end
    margin: Tensor  # (K,) the margin there

    @classmethod
    def of(cls, section: Section) -> _Guess:
        nothing = torch.full_like(section.low, torch.nan)
        return cls(section.high - section.low, torch.zeros_like(nothing), nothing, nothing)

    def take(self, rows: Tensor) -> _Guess:
        return _Guess(self.width[rows], self.side[rows], self.eps[rows], self.margin[rows])

    def behind(self, section: Section, turn: int) -> Tensor:
        """Tell (K,) where as many halvings would have narrowed the section much more."""
        return section.high - section.low > self.width * 2.0 ** (SPARE - 1 - turn)

    def at(self, section: Section, levels: Tensor) -> Tensor:
        """Return (K,) the eps to test next; the ends differ by so many levels."""
        a, b, fa, fb = section.low, section.high, section.below, section.above
        c, fc = self.eps, self.margin
        crossing = a - fa * (b - a) / (fb - fa)
        # The parabola through three points, eps as a function of the margin.
        curved = a * fb * fc / ((fa - fb) * (fa - fc))
        curved += b * fa * fc / ((fb - fa) * (fb - fc)) + c * fa * fb / ((fc - fa) * (fc - fb))
        crossing = torch.where((curved > a) & (curved < b), curved, crossing)
        pitch = (b - a) / levels  # from one image to the next, on average
        way = crossing - torch.where(self.side > 0, b, a)
        push = torch.maximum(OVERSHOOT * way.abs(), pitch) * -self.side
        eps = (crossing + push).maximum(a + pitch / 2).minimum(b - pitch / 2)
        return torch.where(eps.isfinite(), eps, (a + b) / 2)

    def after(self, section: Section, reached: Tensor, asked: Tensor) -> _Guess:
        """Return the guess after a test, which changes the rows for which the model was ``asked``."""
        side, eps, margin = self.side.clone(), self.eps.clone(), self.margin.clone()
        there = reached[asked]
        side[asked] = torch.where(there, 1.0, -1.0).to(side)
        eps[asked] = torch.where(there, section.high[asked], section.low[asked])
        margin[asked] = torch.where(there, section.above[asked], section.below[asked])
        return _Guess(self.width, side, eps, margin)
