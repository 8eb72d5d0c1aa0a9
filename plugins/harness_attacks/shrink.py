"""Shrinking: the nearest image that still reaches the goal, on a line and along the boundary, as stored."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.threat import Threat, l2
from harness_attacks.oracle import Oracle

STRETCHES = (1.0, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0, 8.0, 16.0)
"""Of a perturbation that fell short as it is stored, or in float32: how much longer it is tried. The small
ones are those that rounding to 8 bits takes away most of."""
PRECISION = 1e-3
"""A section that is no longer than this share of the whole line is not divided further."""
BEYOND = 0.1
"""How far beyond the estimated crossing a test is made, in sections: better just behind it than before."""
GAIN = 0.998
"""A case whose distance a round has not brought below this share of what it was gets no further round."""


def shrink(
    oracle: Oracle,
    cases: Tensor,
    inside: Tensor,
    beyond: Tensor,
    threat: Threat,
    tests: int,
    margin: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """On the lines from images ``inside`` (K, C, H, W) to ``beyond`` the first that reaches the goal.

    Where ``beyond`` itself does not, the line is stretched; then the section in which the boundary lies is
    narrowed by interpolating margins. All tests are of float32, on images as they are stored.

    Args:
        oracle: of the whole batch; ``cases`` (K,) are the rows meant.
        threat: of the cases.
        tests: of the narrowing, at most.
        margin: (K,) of the images inside, where it is known.

    Returns:
        The images (K, C, H, W), and (K,) whether they reach the goal; where not, they are ``beyond``.
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
    return section.best, section.found


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

    def test(self, rows: Tensor, part: Tensor) -> None:
        """Ask about the images at ``part`` (R,) of the lines of some rows (R,)."""
        images = torch.lerp(self.inside[rows], self.beyond[rows], part.view(-1, 1, 1, 1)).clamp_(0, 1)
        stored = self.threat.take(rows).round(images)
        margin = self.oracle.margin(self.cases[rows], stored)
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


def nearer(
    oracle: Oracle, cases: Tensor, x: Tensor, x_adv: Tensor, threat: Threat, *, rounds: int, tests: int
) -> Tensor:
    """Images (K, C, H, W) that reach their goals, moved along the boundary towards ``x``, in L2.

    Where the boundary is flat, its nearest point lies along its own normal. So the foot of the normal through
    x on the tangent plane at ``x_adv`` is taken, and the line to it is searched for the boundary; as often as
    ``rounds`` says, and only as long as it helps noticeably.

    Args:
        oracle: of the whole batch; ``cases`` (K,) are the rows meant.
        threat: of the cases.
        tests: on each line, at most.
    """
    best, active = x_adv.clone(), torch.arange(len(cases), device=x.device)
    for _ in range(rounds):
        if not len(active):
            break
        own, start, image = cases[active], x[active], best[active]
        limits = threat.take(active)
        _, normal = oracle.model.precise().take(own).gradient(image, oracle.objective.take(own).margin)
        normal = normal.nan_to_num_(0, 0, 0)
        if limits.mask is not None:
            normal = normal * limits.mask.to(normal)
        delta = image - start
        # A component that the box stops cannot follow the normal; it stays as it is.
        stopped = ((image >= 1) & (normal > 0)) | ((image <= 0) & (normal < 0))
        normal = normal.masked_fill(stopped, 0)
        along = (normal * delta.masked_fill(stopped, 0)).flatten(1).sum(1)
        length = normal.flatten(1).square().sum(1)
        step = (along / length.clamp_min(1e-30)).clamp_min(0).view(-1, 1, 1, 1)
        foot = torch.where(stopped, image, start + step * normal).clamp(0, 1)
        images, found = shrink(oracle, own, start, foot, limits, tests)
        shorter = torch.where(found, l2(images - start) / l2(delta), torch.inf)
        better = torch.nonzero(shorter < 1).flatten()
        best[active[better]] = images[better]
        active = active[shorter < GAIN]
    return best
