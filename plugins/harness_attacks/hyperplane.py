"""The point of a hyperplane inside the pixel range that is nearest to an image has a closed form."""

from __future__ import annotations

import torch
from torch import Tensor


def onto(x: Tensor, normal: Tensor, height: Tensor, norm: str) -> Tensor:
    """Return the smallest change (B, C, H, W) that brings images onto hyperplanes, inside [0, 1].

    The height of an image over its hyperplane is to become 0. In L-infinity every component moves by the same
    amount against or along its part of the normal, in L2 in proportion to it, and each only as far as 0 or 1
    allows. The sum of what components contribute rises with that amount and is linear between the amounts at
    which a component stops; these, sorted, give the amount at once. If no point of the range lies on the
    hyperplane, the change leads to the nearest corner.

    Args:
        x: (B, C, H, W) in [0, 1].
        normal: (B, C, H, W), 0 where pixels may not change.
        height: (B,) the value of the affine function at ``x``; its gradient is the normal.
        norm: "linf" or "l2".
    """
    # Scaled, so that no square of a small number vanishes; a normal of 0 stays 0.
    scale = normal.flatten(1).abs().amax(1).clamp_min(1e-30)  # (B,)
    slope = normal.flatten(1) / scale[:, None]  # (B, N)
    wanted = (height / scale).abs()
    down = torch.where(height > 0, -1.0, 1.0).to(slope)[:, None] * slope.sign()  # the way each component goes
    size, flat = slope.abs(), x.flatten(1)
    room = torch.where(down > 0, 1 - flat, flat)
    pace = torch.ones_like(size) if norm == "linf" else size
    moving = size > 0
    pace, room = torch.where(moving, pace, 1.0), torch.where(moving, room, 0.0)
    stops = room / pace  # (B, N) the amount at which each component has used its room
    order = stops.argsort(dim=1)
    at = stops.gather(1, order)
    used = (size * room).gather(1, order).cumsum(1)  # of components that have stopped
    speed = (size * pace).gather(1, order)
    left = speed.sum(1, keepdim=True) - speed.cumsum(1)  # the speed of those that have not
    reached = used + at * left  # (B, N) at each stop
    # The first stop at which enough is reached; before it the sum is linear.
    index = (reached < wanted[:, None]).sum(1).clamp_max(at.shape[1] - 1)[:, None]
    before = torch.where(index > 0, used.gather(1, (index - 1).clamp_min(0)), 0.0)
    running = speed.gather(1, index) + left.gather(1, index)
    amount = (wanted[:, None] - before) / running.clamp_min(1e-30)
    amount = amount.minimum(at[:, -1:]).clamp_min(0)
    step = torch.minimum(amount * pace, room) * down
    return torch.where(moving, step, 0.0).view_as(x)
