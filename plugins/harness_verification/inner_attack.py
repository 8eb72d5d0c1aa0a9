"""The attack of a training step changes pixels inside masks, to move embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_verification.face_crop import EDGE

Embed = Callable[[Tensor], Tensor]
"""A function of images (B, 3, 64, 64) that returns embeddings (B, D)."""
SQUARE, STRIDE, FIRST = 20, 5, 2
"""The edge of DOA's squares, the distance between two, and the row and column of the first one."""
PLACES = (EDGE - 2 * FIRST - SQUARE) // STRIDE + 1  # 9 by 9
GREY = 0.5
"""What fills a square while its place is searched."""


@dataclass(frozen=True)
class InnerAttack:
    """An InnerAttack makes so many steps of the gradient's sign; only [0, 1] bounds them."""

    steps: int
    step_size: float

    def run(self, embed: Embed, x: Tensor, masks: Tensor, anchors: Tensor, *, away: bool) -> Tensor:
        """Return images (B, 3, 64, 64) attacked inside their masks (B, 1, 64, 64), from where they are.

        Args:
            anchors: (B, D) the embeddings to move away from or towards.
            away: whether distances are to grow.
        """
        chosen = masks.flatten(1).any(1)
        if not self.steps or not bool(chosen.any()):
            return x
        own, inside, fixed = x[chosen], masks[chosen], anchors[chosen].detach()
        for _ in range(self.steps):
            gradient = distance_gradient(embed, own, fixed)
            step = self.step_size * gradient.sign()
            own = torch.where(inside, (own + step if away else own - step).clamp(0, 1), own)
        attacked = x.clone()
        attacked[chosen] = own
        return attacked


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distances (…,) of embeddings (…, D) and (…, D)."""
    # The small constant keeps the gradient finite where two embeddings are equal.
    return ((a - b).square().sum(-1) + 1e-12).sqrt()


def distance_gradient(embed: Embed, x: Tensor, anchors: Tensor) -> Tensor:
    """Return the gradient (B, 3, 64, 64) of the distances of the embeddings of x to anchors (B, D)."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(distances(embed(x), anchors).sum(), x)
    return gradient


def squares(device: torch.device) -> Tensor:
    """Return DOA's 81 masks (81, 1, 64, 64), true inside a square of 20 pixels, row by row."""
    masks = torch.zeros((PLACES, PLACES, 1, EDGE, EDGE), dtype=torch.bool, device=device)
    for row in range(PLACES):
        for column in range(PLACES):
            top, left = FIRST + row * STRIDE, FIRST + column * STRIDE
            masks[row, column, 0, top : top + SQUARE, left : left + SQUARE] = True
    return masks.flatten(0, 1)


def worst_squares(embed: Embed, x: Tensor, anchors: Tensor, *, away: bool, places: int) -> Tensor:
    """Return for each image the mask (B, 1, 64, 64) of the square whose occlusion matters most.

    The squared gradient is summed over each of the 81 squares; of the ``places`` squares with the largest
    sums, each is filled with grey, and the one with the largest distance to the anchor is taken, or with the
    smallest where the attack moves towards the anchor (Wu et al. 2020, gradient-based search).
    """
    energy = distance_gradient(embed, x, anchors).square().sum(1, keepdim=True)
    energy = energy[:, :, FIRST : EDGE - FIRST, FIRST : EDGE - FIRST]
    sums = F.avg_pool2d(energy.float(), SQUARE, STRIDE).flatten(1)  # (B, 81), in proportion to the sums
    best = sums.topk(places, dim=1).indices  # (B, places)
    candidates = squares(x.device)[best]  # (B, places, 1, 64, 64)
    shown = torch.where(candidates, GREY, x[:, None])
    with torch.no_grad():
        embeddings = embed(shown.flatten(0, 1))
    found = distances(embeddings, anchors.repeat_interleave(places, 0)).view(-1, places)
    choice = found.argmax(1) if away else found.argmin(1)
    return candidates[torch.arange(len(x), device=x.device), choice]
