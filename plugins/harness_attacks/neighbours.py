"""Boundaries to other classes are tried here: a descent ends at one of them, which need not be the nearest.

At an image at the boundary, each other class has a plane on which its logit equals the own one, linearised
there. If its point that is nearest to the original is nearer than the image, it is tested, and kept if it is
adversarial. With linear logits the planes are exact (as in DeepFool, https://arxiv.org/abs/1511.04599, 3.1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.goals import ClassObjective, Objective
from harness.threat import Threat
from harness_attacks.descent import Nearest
from harness_attacks.hyperplane import onto
from harness_attacks.oracle import Oracle

NEARER = 0.995
"""A plane whose distance is below this share of that of the image is tried."""
BEYOND = 1.001
"""How far beyond a plane the test is made, as a share of its distance."""


def has_others(objective: Objective) -> bool:
    """Tell whether several boundaries serve; a goal that names its class, or one of two values, has one."""
    return isinstance(objective, ClassObjective) and not objective.towards


def try_neighbours(oracle: Oracle, x: Tensor, threat: Threat, near: Nearest, most: int) -> None:
    """Replace images of ``near`` (A,) by nearer ones at the boundary to another class; update them in place.

    Args:
        oracle: that of the images.
        x: (A, C, H, W) the originals.
        most: how many other classes are tried, the likeliest at the image first.
    """
    objective = oracle.objective
    rows = torch.nonzero(near.length.isfinite()).flatten()
    if not most or not len(rows) or not isinstance(objective, ClassObjective) or not has_others(objective):
        return
    oracle, x, threat = oracle.take(rows), x[rows], threat.take(rows)
    with torch.no_grad():
        outputs = oracle.model(near.images[rows])
    classes = objective.classes[rows][:, None]
    others = outputs.nan_to_num(-torch.inf).scatter(1, classes, -torch.inf)
    for other in others.topk(min(most, outputs.shape[1] - 1), dim=1).indices.unbind(1):
        _try(oracle, x, threat, near, rows, torch.stack([other, classes[:, 0]], 1))


def _try(oracle: Oracle, x: Tensor, threat: Threat, near: Nearest, rows: Tensor, pair: Tensor) -> None:
    """Try one other class for each of the rows (K,); ``pair`` (K, 2) has it and the own class."""
    image = near.images[rows]
    height, normal = oracle.model.gradient(
        image, lambda outputs: outputs.gather(1, pair) @ _SIGNS.to(outputs)
    )
    normal = normal.nan_to_num(0, 0, 0)
    if threat.mask is not None:
        normal = normal * threat.mask.to(normal)
    origin = height - (normal * (image - x)).flatten(1).sum(1)  # the height of the original
    step = BEYOND * onto(x, normal, origin, threat.norm or "l2")
    moved = (x + step).clamp(0, 1)
    length = threat.distance(moved - x)
    likely = torch.nonzero((length < NEARER * near.length[rows]) & (length > 0)).flatten()
    if len(likely):
        own = oracle.take(likely)
        there = own.rough_margin(torch.arange(len(likely), device=x.device), moved[likely]) > 0
        found = rows[likely[there]]
        near.images[found], near.length[found] = moved[likely[there]], length[likely[there]]


_SIGNS = torch.tensor([1.0, -1.0])
