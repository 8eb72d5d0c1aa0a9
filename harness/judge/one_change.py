"""An attack that learns one change for many images must have made one: this is checked here."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.judge.verdict import Verdict
from harness.threat import FLOAT_TOLERANCE, GREY_LEVELS, Threat

OWN_CHANGE = "a change of its own"
"""The fault of images whose change is not the one of their group."""


def with_one_change(verdict: Verdict, x: Tensor, x_adv: Tensor, groups: Tensor, threat: Threat) -> Verdict:
    """Return the verdict in which images of a group that were changed in different ways are not valid.

    Args:
        x: (B, C, H, W) the originals that are judged.
        x_adv: (B, C, H, W) as the attack returned them.
        groups: (B,) equal for images that one change is to serve.
    """
    changed = (x_adv - x).abs().flatten(1).amax(1) > FLOAT_TOLERANCE if len(x) else torch.zeros(0).bool()
    changed &= x_adv.flatten(1).isfinite().all(1).to(changed.device)
    kept = torch.ones(len(x), dtype=torch.bool, device=x.device)
    groups = groups.to(x.device)
    for group in torch.unique(groups[changed]):
        rows = torch.nonzero(changed & (groups == group)).flatten()
        if not _is_one(x[rows], x_adv[rows], threat.take(rows)):
            kept[rows] = False
    faults = tuple(
        fault or ("" if one else OWN_CHANGE) for fault, one in zip(verdict.faults, kept.tolist(), strict=True)
    )
    return verdict if kept.all() else verdict.restricted(kept.to(verdict.valid.device), faults)


def _is_one(x: Tensor, x_adv: Tensor, threat: Threat) -> bool:
    """Tell whether images were changed in one way: by the same sum, or to the same pixels."""
    slack = torch.full((len(x), 1, 1, 1), FLOAT_TOLERANCE, device=x.device)
    levels = x_adv * GREY_LEVELS
    on_grid = (levels - levels.round()).abs().flatten(1).amax(1) < 1e-3
    slack[on_grid] += 0.5 / GREY_LEVELS  # where the attack itself has rounded
    masks = _masks(x, x_adv, threat)
    if masks is None:
        return bool(_consistent(x, x_adv, slack, torch.ones_like(x, dtype=torch.bool)).all())
    if _consistent(x, x_adv, slack, masks).all():
        return True
    sizes = masks.flatten(1).sum(1)
    if (sizes != sizes[0]).any():
        return False
    moved = x_adv[masks].view(len(x), 1, 1, -1), x[masks].view(len(x), 1, 1, -1)  # the patch at its place
    return bool(_consistent(moved[1], moved[0], slack, torch.ones_like(moved[0], dtype=torch.bool)).all())


def _consistent(x: Tensor, x_adv: Tensor, slack: Tensor, masks: Tensor) -> Tensor:
    """Tell (C, H, W) where one change or one value explains all images; clipping can hide a change."""
    change = x_adv - x
    low = torch.where(x_adv <= slack, -torch.inf, change - slack)
    high = torch.where(x_adv >= 1 - slack, torch.inf, change + slack)
    low, high = low.masked_fill(~masks, -torch.inf), high.masked_fill(~masks, torch.inf)
    summed = low.amax(0) <= high.amin(0)
    least = (x_adv + slack).masked_fill(~masks, torch.inf).amin(0)
    replaced = (x_adv - slack).masked_fill(~masks, -torch.inf).amax(0) <= least
    return summed | replaced


def _masks(x: Tensor, x_adv: Tensor, threat: Threat) -> Tensor | None:
    """Return where each image may change (B, C, H, W); with places, at the one that it used."""
    if threat.mask is None:
        return None
    mask = threat.mask.to(x.device)
    if threat.places:
        changed = (x_adv - x).abs().amax(1) > FLOAT_TOLERANCE  # (B, H, W)
        outside = [(changed & ~place).flatten(1).sum(1) for place in mask]
        mask = mask[torch.stack(outside, 1).argmin(1)][:, None]
    return mask.expand(x.shape) if mask.ndim == 4 else mask.expand(len(x), *x.shape[1:])
