"""These searches find the nearest rounded image that reaches the goal, on a line or along the boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from harness.threat import Threat, l2
from harness_attacks.costs import FINE, ROUGH, STRETCHES
from harness_attacks.oracle import Oracle

PRECISION = 1e-3
"""The length of a section, relative to its upper end, below which it is not divided further."""
BEYOND = 0.1
"""How far beyond the estimated crossing a test is made, as a share; a test before it would gain less."""
GAIN = 0.995
"""A round must reduce the distance below this share; otherwise the next step of the case is half as long."""
STEP_BACK = 0.01
"""Where the end of a line is thought to be near the boundary: the first step back, as a share of the line."""
SLOWEST = 0.1
"""The shortest step, as a share of the way to the foot of the normal; a case ends before a shorter one."""


class Found(NamedTuple):
    """A Found holds the results of a search along lines."""

    images: Tensor
    """(K, C, H, W) rounded images; if the goal is not reached, the images ``beyond``."""
    reached: Tensor
    """(K,) bool: the goal is reached."""
    points: Tensor
    """(K, C, H, W) the points on the lines before rounding. Later lines begin from these, because a rounded
    perturbation that is lengthened a little is rounded back to itself."""


def shrink(
    oracle: Oracle,
    cases: Tensor,
    inside: Tensor,
    beyond: Tensor,
    threat: Threat,
    tests: int,
    margin: Tensor | None = None,
    near: bool = False,
    stretches: Sequence[float] = STRETCHES,
) -> Found:
    """Find the first image that reaches the goal on each line from ``inside`` (K, C, H, W) to ``beyond``.

    If ``beyond`` itself does not reach it, the line is lengthened; then the section with the boundary is
    narrowed by interpolating margins. Tests are of rounded images, and in float32 unless the oracle accepts
    less.

    Args:
        oracle: the oracle of the whole batch, in which ``cases`` (K,) are the rows.
        threat: the threat of the cases.
        tests: the largest number of tests that narrow a section.
        margin: (K,) the margins of the images inside, if they are known.
        near: the images ``beyond`` are thought to be near the boundary, so that a section begins with small
            steps back from them.
        stretches: the factors by which lines are lengthened, one after the other, until the goal is reached.
    """
    section = _Section(oracle, cases, inside, beyond, threat, margin, near)
    for stretch in stretches:
        rows = torch.nonzero(~section.found).flatten()
        if not len(rows):
            break
        section.test(rows, torch.full_like(section.low[rows], stretch))
    for turn in range(tests):
        rows = torch.nonzero(section.open()).flatten()
        if not len(rows):
            break
        section.test(rows, section.guess(rows, turn))
    return Found(
        section.best, section.found, section.at(torch.arange(len(cases), device=cases.device), section.end())
    )


class _Section:
    """A _Section lies between the farthest tested point that misses the goal and the next that does not."""

    def __init__(
        self,
        oracle: Oracle,
        cases: Tensor,
        inside: Tensor,
        beyond: Tensor,
        threat: Threat,
        margin: Tensor | None,
        near: bool,
    ) -> None:
        self.oracle, self.cases, self.threat, self.near = oracle, cases, threat, near
        self.inside, self.beyond = inside, beyond
        self.best = beyond.clone()
        self.low = torch.zeros(len(cases), device=inside.device)
        self.high = torch.full_like(self.low, torch.inf)
        self.below = oracle.margin(cases, threat.round(inside)) if margin is None else margin.clone()
        self.above = torch.full_like(self.low, torch.nan)

    @property
    def found(self) -> Tensor:
        """Tell (K,) where the goal was reached."""
        return self.high.isfinite()

    def open(self) -> Tensor:
        """Tell (K,) which sections can be narrowed further."""
        return self.found & (self.high - self.low > PRECISION * self.high)

    def end(self) -> Tensor:
        """Return (K,) the positions on the lines at which the goals are first reached; 1 if they are not."""
        return torch.where(self.found, self.high, 1.0)

    def at(self, rows: Tensor, part: Tensor) -> Tensor:
        """Return the unrounded images (R, C, H, W) at positions ``part`` (R,) of the lines of some rows."""
        return torch.lerp(self.inside[rows], self.beyond[rows], part.view(-1, 1, 1, 1)).clamp_(0, 1)

    def test(self, rows: Tensor, part: Tensor) -> None:
        """Test the rounded images at positions ``part`` (R,) of the lines of some rows (R,)."""
        stored = self.threat.take(rows).round(self.at(rows, part))
        margin = self.oracle.rough_margin(self.cases[rows], stored)
        there = margin > 0
        self.best[rows[there]] = stored[there]
        self.high[rows[there]], self.above[rows[there]] = part[there], margin[there]
        self.low[rows[~there]], self.below[rows[~there]] = part[~there], margin[~there]

    def guess(self, rows: Tensor, turn: int) -> Tensor:
        """Return (R,) where to test next: at the estimated boundary, and every third time in the middle."""
        low, high, below, above = self.low[rows], self.high[rows], self.below[rows], self.above[rows]
        share = -below / (above - below)
        # A test just beyond the crossing lets both ends of the section come near it.
        share = share + BEYOND * (share if turn % 2 else 1 - share).clamp(0, 0.2)
        share = share.nan_to_num(0.5, 0.5, 0.5).clamp(0.05, 0.95)
        if turn % 3 == 2:
            share = torch.full_like(share, 0.5)
        if self.near:
            share = torch.where(low == 0, max(1 - STEP_BACK * 2.0**turn, 0.5), share)
        return low + share * (high - low)


def polished(
    oracle: Oracle, cases: Tensor, x: Tensor, x_adv: Tensor, threat: Threat, rounds: int
) -> tuple[Tensor, Tensor]:
    """Move images (K, C, H, W) towards ``x`` while the goal stays reached, along lines and the boundary.

    Args:
        oracle: the oracle of the whole batch, in which ``cases`` (K,) are the rows.
        threat: the threat of the cases.
        rounds: the largest number of rounds along the boundary.

    Returns:
        The rounded images, and (K,) whether they reach the goal; if not, the images are ``x_adv``.
    """
    margin = oracle.margin(cases, threat.round(x))  # at the start of all lines
    # The first searches are rough and in the attack's own precision, the last one is fine and in float32.
    rough = replace(oracle, trust=0.0)
    begun = shrink(rough, cases, x, x_adv, threat, ROUGH, margin)
    rows, near = torch.nonzero(begun.reached).flatten(), x_adv.clone()
    near[rows] = nearer(
        rough,
        cases[rows],
        x[rows],
        begun.points[rows],
        threat.take(rows),
        margin[rows],
        rounds=rounds,
        tests=ROUGH,
    )
    ended = shrink(oracle, cases, x, near, threat, FINE, margin)
    return torch.where(ended.reached.view(-1, 1, 1, 1), ended.images, x_adv), ended.reached


def nearer(
    oracle: Oracle,
    cases: Tensor,
    x: Tensor,
    x_adv: Tensor,
    threat: Threat,
    margin: Tensor,
    *,
    rounds: int,
    tests: int,
) -> Tensor:
    """Move points (K, C, H, W), whose rounded images reach their goals, along the boundary towards ``x``.

    In L2 and on a flat boundary, the nearest point is the foot of the perpendicular from x. It is computed on
    the tangent plane at ``x_adv``, and the line from x to it is searched for the boundary. If the boundary is
    so curved that the result is no nearer, half of the way to the foot is tried next, then a quarter.

    Args:
        oracle: the oracle of the whole batch, in which ``cases`` (K,) are the rows.
        threat: the threat of the cases.
        margin: (K,) the margins at ``x``.
        rounds: the largest number of rounds; a case leaves once it hardly gets nearer.
        tests: the largest number of tests on each line.
    """
    best, active = x_adv.clone(), torch.arange(len(cases), device=x.device)
    length = l2(threat.round(x_adv) - x)  # the distance of the rounded image
    pace = torch.ones(len(cases), device=x.device)
    for _ in range(rounds):
        if not len(active):
            break
        own, start, image = cases[active], x[active], best[active]
        limits = threat.take(active)
        foot = _foot(oracle, own, start, image, limits)
        aim = torch.lerp(image, foot, pace[active].view(-1, 1, 1, 1))
        found = shrink(oracle, own, start, aim, limits, tests, margin[active])
        now = l2(found.images - start)
        shorter = torch.where(found.reached, now / length[active], torch.inf)
        better = torch.nonzero(shorter < 1).flatten()
        best[active[better]], length[active[better]] = found.points[better], now[better]
        slow = shorter >= GAIN
        pace[active[slow]] /= 2
        active = active[~slow | (pace[active] > SLOWEST)]
    return best


def _foot(oracle: Oracle, cases: Tensor, x: Tensor, x_adv: Tensor, threat: Threat) -> Tensor:
    """Return the point (K, C, H, W) of the boundary's tangent plane at ``x_adv`` that is nearest to ``x``."""
    _, normal = oracle.model.take(cases).gradient(x_adv, oracle.objective.take(cases).margin)
    normal = normal.nan_to_num_(0, 0, 0)
    if threat.mask is not None:
        normal = normal * threat.mask.to(normal)
    # A component at 0 or 1 cannot follow the normal out of the pixel range; it stays as it is.
    stopped = ((x_adv >= 1) & (normal > 0)) | ((x_adv <= 0) & (normal < 0))
    normal = normal.masked_fill(stopped, 0)
    along = (normal * (x_adv - x).masked_fill(stopped, 0)).flatten(1).sum(1)
    length = normal.flatten(1).square().sum(1)
    step = (along / length.clamp_min(1e-30)).clamp_min(0).view(-1, 1, 1, 1)
    return torch.where(stopped, x_adv, x + step * normal).clamp(0, 1)
