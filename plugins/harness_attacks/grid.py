"""A search ends on the 8-bit grid here: the image moves to the nearest point of the boundary, and is rounded.

On a plane, the nearest image of the grid that crosses it is the nearest point of a plane a little farther,
rounded: the amount that each further level of a component costs and gains makes it so. The image is therefore
brought to the point of the boundary whose normal leads to the original, and then the line to it is searched
for the first rounded image that reaches the goal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.goals import VerificationObjective
from harness.threat import GREY_LEVELS, Threat, linf
from harness_attacks.costs import BISECTIONS, STRETCHES
from harness_attacks.descent import followed
from harness_attacks.hyperplane import onto
from harness_attacks.oracle import Oracle
from harness_attacks.shrink import shrink

LEAST_GAIN = 1e-3
"""A round that brings a case less than this share nearer is its last one, unless its step was too long."""
SHORTEST = 0.2
"""The shortest step, as a share of the way to the foot of the normal, that is tried on a curved boundary."""
TRUSTED = (0.5, 1.5)
"""Between these shares of a line, its crossing of the boundary is estimated by value and slope at its end."""
WORSE = 1.02
"""If the result is this much farther than the image before, the line to that is searched, too."""
HALVINGS = 14
"""Into how many halves a line is divided to find an image at a given distance, which asks no model: less than
a thousandth of the longest line."""


def settled(
    oracle: Oracle, x: Tensor, x_adv: Tensor, threat: Threat, clean: Tensor, rounds: int
) -> tuple[Tensor, Tensor]:
    """Return rounded images (K, C, H, W) near ``x`` that reach their goals, and (K,) whether they do.

    Args:
        oracle: that of the images.
        x: (K, C, H, W) the originals, which do not reach their goals.
        x_adv: (K, C, H, W) images that do, before they are rounded and in the attack's precision.
        threat: that of the images, with a norm.
        clean: (K,) the margins at ``x``.
        rounds: the largest number of moves along the boundary.
    """
    moved = _to_normal(oracle, x, x_adv, threat, rounds) if rounds else x_adv
    rows = torch.arange(len(x), device=x.device)
    found = shrink(oracle, rows, x, moved, threat, BISECTIONS, clean, near=True)
    images, reached = found.images.clone(), found.reached.clone()
    before = threat.distance(threat.round(x_adv) - x)
    farther = threat.distance(images - x) > WORSE * before
    if rounds and isinstance(oracle.objective, VerificationObjective):
        other = torch.nonzero(reached & farther).flatten()
        if len(other):
            images[other] = _nearer_on(oracle, other, x[other], x_adv[other], images[other], threat, clean)
        farther = ~reached
    left = torch.nonzero(~reached | farther).flatten()
    if rounds and len(left):
        own = threat.take(left)
        again = shrink(oracle, left, x[left], x_adv[left], own, BISECTIONS, clean[left], near=True)
        nearer = own.distance(again.images - x[left]) < own.distance(images[left] - x[left])
        better = again.reached & (~reached[left] | nearer)
        images[left[better]], reached[left[better]] = again.images[better], True
    left = torch.nonzero(~reached).flatten()
    if len(left):  # in reduced precision, a change that rounding removes at any of the lengths tried
        change = x_adv[left] - x[left]
        level = 1 / (threat.levels or GREY_LEVELS) / linf(change).clamp_min(1e-30)
        beyond = (x[left] + level.clamp_min(1).view(-1, 1, 1, 1) * change).clamp(0, 1)
        again = shrink(oracle, left, x[left], beyond, threat.take(left), BISECTIONS, clean[left], near=True)
        images[left], reached[left] = again.images, again.reached
    return torch.where(reached.view(-1, 1, 1, 1), images, x), reached


def _nearer_on(
    oracle: Oracle,
    cases: Tensor,
    x: Tensor,
    x_adv: Tensor,
    images: Tensor,
    threat: Threat,
    clean: Tensor,
) -> Tensor:
    """Return nearer images than ``images`` (K, C, H, W) on the lines to ``x_adv``, or ``images``.

    One test tells for most cases that there is none: that of the farthest image which would be nearer. A
    verifier's margin is a distance to one anchor, so that what it has not reached there, it has hardly
    reached before. Its evasions may be so small that rounding removes most of them, and then nearly every
    case has such a second line: from its end, as elsewhere, it would take nine tests.

    Args:
        oracle, threat, clean: those of the whole batch, in which ``cases`` (K,) are the rows.
    """
    own = threat.take(cases)
    wanted = (1 - LEAST_GAIN) * own.distance(images - x)
    low = torch.zeros_like(wanted)
    high = torch.full_like(wanted, STRETCHES[-1])

    def at(part: Tensor) -> Tensor:
        return torch.lerp(x, x_adv, part.view(-1, 1, 1, 1)).clamp_(0, 1)

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        nearer = own.distance(own.round(at(middle)) - x) <= wanted
        low, high = torch.where(nearer, middle, low), torch.where(nearer, high, middle)
    found = shrink(oracle, cases, x, at(low), own, BISECTIONS, clean[cases], near=True, stretches=(1.0,))
    return torch.where(found.reached.view(-1, 1, 1, 1), found.images, images)


def _to_normal(oracle: Oracle, x: Tensor, x_adv: Tensor, threat: Threat, rounds: int) -> Tensor:
    """Move images (K, C, H, W) to where the boundary's tangent plane is nearest to ``x``.

    Value and gradient at an image give the plane on which the margin, linearised there, is 0. Its point that
    is nearest to the original, inside the pixel range, is the next image. Where the boundary is so curved
    that this is no nearer, half of the way is tried next, then a quarter.
    """
    best, foot = x_adv.clone(), x_adv.clone()
    length = torch.full_like(x.flatten(1)[:, 0], torch.inf)
    pace = torch.ones_like(length)
    active = torch.arange(len(x), device=x.device)
    for turn in range(rounds + 1):
        start, own = x[active], threat.take(active)
        image = torch.lerp(best[active], foot[active], pace[active].view(-1, 1, 1, 1))
        margin, _, normal = followed(oracle.take(active), image, "margin")
        normal = normal.nan_to_num_(0, 0, 0)
        if own.mask is not None:
            normal = normal * own.mask.to(normal)
        along = (normal * (image - start)).flatten(1).sum(1)
        crossing = (1 - margin / along).where(along > 0, torch.inf)
        sure = (crossing > TRUSTED[0]) & (crossing < TRUSTED[1])
        crossing = torch.where(sure, crossing, torch.where(margin > 0, 1.0, torch.inf))
        now = own.distance(image - start) * crossing
        gained = now / length[active]
        better = torch.nonzero(gained < 1).flatten()
        rows = active[better]
        end = torch.lerp(start[better], image[better], crossing[better].view(-1, 1, 1, 1))
        best[rows], length[rows] = end.clamp_(0, 1), now[better]
        if turn == rounds:
            break
        height = margin - along  # of the plane, at the original
        foot[rows] = start[better] + onto(start[better], normal[better], height[better], own.norm or "l2")
        pace[active] = torch.where(gained < 1, pace[active], pace[active] / 2)
        going = torch.where(gained < 1, gained < 1 - LEAST_GAIN, pace[active] > SHORTEST)
        active = active[torch.nonzero(going).flatten()]
        if not len(active):
            break
    return best
