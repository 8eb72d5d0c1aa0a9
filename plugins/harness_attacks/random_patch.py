"""Random eyeglasses hold noise, the best of many patterns (Arvinte et al., appendix B.2): a lower bound."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.best_images import Best
from harness_attacks.patched_images import spots, without_spots

TOGETHER = 32
"""The number of images that the model sees at once if there are fewer cases."""


def random_patch(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    draws: Annotated[int, Ge(1)] = 1000,
    early_stop: bool = False,
) -> Tensor:
    """Return images (B, C, H, W) with uniform noise inside the region: the pattern with the best margin.

    Args:
        draws: the number of patterns per case.
        early_stop: a case draws no more patterns once one has reached its goal after rounding.

    Raises:
        AttackError: there is no region, it is empty, or there are places to choose from.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or threat.places:
        raise AttackError(f"a random patch needs a mask (H, W); the region has {threat.places} places")
    if not len(x):
        return x.clone()
    mask = threat.mask.to(x.device)
    here = spots(mask[None] if mask.ndim == 2 else mask[:, 0], x.shape[1])
    active = torch.arange(len(x), device=x.device)
    patched = patched.take(active, here.expand(len(x), -1))
    found = Best.of(patched.covered(x))
    while draws > 0 and len(active):
        at_once = min(draws, -(-TOGETHER // len(active)))
        draws -= at_once
        noise = rng.take(active).uniform((at_once, *x.shape[1:])).to(x)  # (K, at_once, C, H, W)
        work = patched.take(active.repeat_interleave(at_once))
        values = work.covered(noise.flatten(0, 1))
        margin, reached = work.stored(values)
        for draw in range(at_once):
            rows = torch.arange(draw, len(values), at_once, device=x.device)
            better = found.keep(active, values[rows], margin[rows], reached[rows])
            patched.model.found(active[better])
        if early_stop:
            active = active[~found.reached[active]]
    return patched.with_patch(found.values)
