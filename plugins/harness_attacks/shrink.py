"""Shrinking: the nearest image that still reaches the goal, on a line and along the boundary, as stored."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from harness.threat import Threat, l2
from harness_attacks.costs import FINE, ROUGH, STRETCHES
from harness_attacks.oracle import Oracle

PRECISION = 1e-3
"""A section that is no longer than this share of the whole line is not divided further."""
BEYOND = 0.1
"""How far beyond the estimated crossing a test is made, in sections: better just behind it than before."""
GAIN = 0.995
"""A round that does not bring the distance below this share of what it was has gone too far at once."""
SLOWEST = 0.1
"""Of the way to the foot: below, a case is as near as it gets."""


class Found(NamedTuple):
    """What came of a search along lines."""

    images: Tensor
    """(K, C, H, W) as they are stored; where the goal is not reached, where the lines were to lead."""
    reached: Tensor
    """(K,) bool."""
    points: Tensor
    """(K, C, H, W) on the lines, whose roundings the images are. Further lines begin from these: a rounded
    perturbation that is stretched a little is rounded to itself."""


def shrink(
    oracle: Oracle,
    cases: Tensor,
    inside: Tensor,
    beyond: Tensor,
    threat: Threat,
    tests: int,
    margin: Tensor | None = None,
) -> Found:
    """On the lines from images ``inside`` (K, C, H, W) to ``beyond`` the first that reaches the goal.

    Where ``beyond`` itself does not, the line is stretched; then the section in which the boundary lies is
    narrowed by interpolating margins. Tests are of images as they are stored, and of float32 unless the
    oracle trusts less.

    Args:
        oracle: of the whole batch; ``cases`` (K,) are the rows meant.
        threat: of the cases.
        tests: of the narrowing, at most.
        margin: (K,) of the images inside, where it is known.
    """
    section = _Section(oracle, cases, inside, beyond, threat, margin)
    for stretch in STRETCHES:
        rows = torch.nonzero(~section.found).flatten()
        if not len(rows):
            break
        section.test(rows, torch.full_like(section.low[rows], stretch))
    for turn in range(tests):
        rows = torch.nonzero(section.open()).flatten()
        if not len(rows):
            break
        section.test(rows, section.guess(rows, turn))
    return Found(section.best, section.found, section.at(torch.arange(len(cases)), section.end()))


class _Section:
    """Between the furthest point of each line that misses the goal and the first that reaches it."""

    def __init__(
        self,
        oracle: Oracle,
        cases: Tensor,
        inside: Tensor,
        beyond: Tensor,
        threat: Threat,
        margin: Tensor | None,
    ) -> None:
        self.oracle, self.cases, self.threat = oracle, cases, threat
        self.inside, self.beyond = inside, beyond
        self.best = beyond.clone()
        self.low = torch.zeros(len(cases), device=inside.device)
        self.high = torch.full_like(self.low, torch.inf)
        self.below = oracle.margin(cases, threat.round(inside)) if margin is None else margin.clone()
        self.above = torch.full_like(self.low, torch.nan)

    @property
    def found(self) -> Tensor:
        """(K,) where the goal was reached."""
        return self.high.isfinite()

    def open(self) -> Tensor:
        """(K,) where there is something left to narrow."""
        return self.found & (self.high - self.low > PRECISION * self.high)

    def end(self) -> Tensor:
        """(K,) how far along the lines the goal is reached first; 1 where it is not reached."""
        return torch.where(self.found, self.high, 1.0)

    def at(self, rows: Tensor, part: Tensor) -> Tensor:
        """The images (R, C, H, W) at ``part`` (R,) of the lines of some rows (R,), not rounded."""
        return torch.lerp(self.inside[rows], self.beyond[rows], part.view(-1, 1, 1, 1)).clamp_(0, 1)

    def test(self, rows: Tensor, part: Tensor) -> None:
        """Ask about the images at ``part`` (R,) of the lines of some rows (R,)."""
        stored = self.threat.take(rows).round(self.at(rows, part))
        margin = self.oracle.rough_margin(self.cases[rows], stored)
        there = margin > 0
        self.best[rows[there]] = stored[there]
        self.high[rows[there]], self.above[rows[there]] = part[there], margin[there]
        self.low[rows[~there]], self.below[rows[~there]] = part[~there], margin[~there]

    def guess(self, rows: Tensor, turn: int) -> Tensor:
        """(R,) where the boundary may lie; every third time the middle, for margins may bend."""
        low, high, below, above = self.low[rows], self.high[rows], self.below[rows], self.above[rows]
        share = -below / (above - below)
        # Just beyond the crossing, so that both ends of the section come near it.
        share = share + BEYOND * (share if turn % 2 else 1 - share).clamp(0, 0.2)
        share = share.nan_to_num(0.5, 0.5, 0.5).clamp(0.05, 0.95)
        if turn % 3 == 2:
            share = torch.full_like(share, 0.5)
        return low + share * (high - low)


def polished(
    oracle: Oracle, cases: Tensor, x: Tensor, x_adv: Tensor, threat: Threat, rounds: int
) -> tuple[Tensor, Tensor]:
    """Images (K, C, H, W) drawn towards ``x`` as far as the goal holds, along their lines and the boundary.

    Args:
        oracle: of the whole batch; ``cases`` (K,) are the rows meant.
        threat: of the cases.
        rounds: along the boundary, at most.

    Returns:
        The images as they are stored, and (K,) whether they reach the goal; where not, they are ``x_adv``.
    """
    margin = oracle.margin(cases, threat.round(x))  # where all lines begin
    # On the way in the attack's own precision and roughly, at the end in float32 and exactly.
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
    """Points (K, C, H, W) that reach their goals when rounded, moved along the boundary towards ``x``, in L2.

    Where the boundary is flat, its nearest point lies along its own normal. So the foot of the normal through
    x on the tangent plane at ``x_adv`` is taken, and the line to it is searched for the boundary. Where the
    boundary bends so much that this is no nearer, half of the way to the foot is tried next, then a quarter.

    Args:
        oracle: of the whole batch; ``cases`` (K,) are the rows meant.
        threat: of the cases.
        margin: (K,) at ``x``.
        rounds: of this, at most; a case leaves once it hardly gets nearer.
        tests: on each line, at most.
    """
    best, active = x_adv.clone(), torch.arange(len(cases), device=x.device)
    length = l2(threat.round(x_adv) - x)  # of what is stored
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
    """Of the boundary's tangent plane at ``x_adv`` the point (K, C, H, W) that is nearest to ``x``."""
    _, normal = oracle.model.take(cases).gradient(x_adv, oracle.objective.take(cases).margin)
    normal = normal.nan_to_num_(0, 0, 0)
    if threat.mask is not None:
        normal = normal * threat.mask.to(normal)
    # A component that the box stops cannot follow the normal; it stays as it is.
    stopped = ((x_adv >= 1) & (normal > 0)) | ((x_adv <= 0) & (normal < 0))
    normal = normal.masked_fill(stopped, 0)
    along = (normal * (x_adv - x).masked_fill(stopped, 0)).flatten(1).sum(1)
    length = normal.flatten(1).square().sum(1)
    step = (along / length.clamp_min(1e-30)).clamp_min(0).view(-1, 1, 1, 1)
    return torch.where(stopped, x_adv, x + step * normal).clamp(0, 1)
