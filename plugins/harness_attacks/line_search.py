"""The line search finds the smallest step along a direction that reaches the goal (Rozsa et al., 3.1).

Steps are in units of 1/255 (8-bit levels), as the largest component of a direction is 1. From eps = 0 the
step doubles, so that eps = 1, 3, 7, 15…; once the goal is reached, the last section is narrowed. Each image
is tested after clipping and rounding. The paper does not state the first step and the limits.

Every doubled step is tested, even if the scores at smaller ones predict the decision: the score along a line
need not be monotone, and the first section is the one that counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import AttackError
from harness_attacks.line import Line
from harness_attacks.oracle import Oracle
from harness_attacks.section import Root, Section, narrow, narrow_whole


def smallest_step(
    line: Line,
    oracle: Oracle,
    *,
    first_step: float,
    max_steps: int,
    max_bisections: int,
    whole: bool = False,
    root: Root = "bisect",
    start: Tensor | None = None,
) -> Tensor:
    """Return the first images (B, C, H, W) along the line that reach the goal, or the originals.

    A case that never reaches its goal keeps its original, at distance 0, because the last image of its line
    is not an adversarial. A case needs passes only until its own search ends.

    Args:
        first_step: the first step, in units of 1/255.
        max_steps: how often the step may double before the search gives up.
        max_bisections: the largest number of bisections of the last section.
        whole: keep eps integer, and bisect to a width of 1; otherwise bisect until no 8-bit image lies
            between the ends, which then differ by one level of one component.
        root: how a section is narrowed if eps is real: see ``harness_attacks.section``.
        start: (B,) the margin at eps = 0, if it is known already.
    """
    if first_step <= 0 or max_steps < 1 or max_bisections < 0:
        raise AttackError(f"a line search cannot use {first_step=}, {max_steps=}, {max_bisections=}")
    section = _first_section(line, oracle, first_step, max_steps, whole, start)
    found = section.cases
    if whole:
        high, above = narrow_whole(line, oracle, section, max_bisections), section.above
    else:
        high, above = narrow(line, oracle, section, max_bisections, root)
    images = line.x.clone()
    images[found] = line.take(found).at(high)
    if not oracle.is_exact:
        # An image that reaches the goal in reduced precision only is not an adversarial yet.
        seen = found[above > oracle.trust]
        doubtful = seen[~(oracle.margin(seen, images[seen]) > 0)] if len(seen) else seen
        if len(doubtful):
            images[doubtful] = smallest_step(
                line.take(doubtful),
                oracle.exact().take(doubtful),
                first_step=first_step,
                max_steps=max_steps,
                max_bisections=max_bisections,
                whole=whole,
                root=root,
                start=None if start is None else start[doubtful],
            )
    return images


def _first_section(
    line: Line, oracle: Oracle, first_step: float, max_steps: int, whole: bool, start: Tensor | None
) -> Section:
    """Return the sections in which doubled steps first reach the goals; other cases have no section."""
    end, furthest = line.end(), line.furthest(whole)
    low = torch.zeros_like(end)  # (B,) the last eps that did not reach the goal
    high = torch.full_like(low, torch.inf)  # (B,) the smallest eps found that does
    below = torch.full_like(low, torch.nan) if start is None else start.to(low, copy=True)
    above = torch.full_like(low, torch.nan)
    eps, step = 0.0, first_step
    active = torch.nonzero(end > 0).flatten()
    part = line.take(active)
    for _ in range(max_steps):
        if not len(active) or eps >= furthest:
            break
        low[active] = eps
        eps = min(eps + step, furthest)
        margin = oracle.rough_margin(active, part.at(torch.full_like(low[active], eps)))
        reached = margin > 0
        high[active[reached]], above[active[reached]] = eps, margin[reached]
        staying = ~reached & (end[active] > eps)
        below[active[staying]] = margin[staying]
        if not staying.all():
            left = torch.nonzero(staying).flatten()
            active, part = active[left], part.take(left)
        step *= 2
    found = torch.nonzero(high.isfinite()).flatten()
    return Section(found, low[found], high[found], below[found], above[found])
