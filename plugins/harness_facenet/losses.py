"""The two losses: NT-Xent of pairs of views (section 3.1, equation 1), and that of triplets (figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)


def nt_xent(first: Tensor, second: Tensor, temperature: float, known: Tensor | None = None) -> Tensor:
    """Return the mean normalised temperature-scaled cross-entropy over all 2B views (Chen et al. 2020).

    Each view is to be found, by its cosine, among all other views: its partner is the other view of its row.

    Args:
        first, second: (B, D) projections of the two views of each image.
        known: (B,) the person that each image is known to show, negative where that is not known. Other
            views of the same known person are not among those that it is told from. None: nobody is known.
    """
    views = F.normalize(torch.cat([first, second]).float(), dim=1)  # (2B, D)
    alike = views @ views.T / temperature
    left_out = torch.eye(len(views), dtype=torch.bool, device=views.device)
    partner = torch.arange(len(views), device=views.device).roll(len(first))  # (2B,)
    if known is not None:
        person = known.repeat(2)
        same = (person[:, None] == person[None]) & (person[:, None] >= 0)
        same[torch.arange(len(views), device=views.device), partner] = False
        left_out |= same
    return F.cross_entropy(alike.masked_fill(left_out, float("-inf")), partner)


def apart(one: Tensor, other: Tensor, *, squared: bool) -> Tensor:
    """Return the Euclidean distances (B,) of embeddings (B, D), or their squares."""
    found = (one - other).square().sum(1)
    # The root has no gradient at 0, where an image meets itself.
    return found if squared else (found + 1e-12).sqrt()


def triplet_gap(anchor: Tensor, positive: Tensor, negative: Tensor, *, squared: bool) -> Tensor:
    """Return d(a, p) - d(a, n) of each triplet of embeddings (B, D), as (B,).

    Attacks ascend it: it has the gradient of the loss where that is positive, and one where that is 0.
    """
    return apart(anchor, positive, squared=squared) - apart(anchor, negative, squared=squared)


def triplet_terms(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float, squared: bool
) -> Tensor:
    """Return max(0, d(a, p) - d(a, n) + margin) of each triplet of embeddings (B, D), as (B,)."""
    return (triplet_gap(anchor, positive, negative, squared=squared) + margin).clamp_min(0)
