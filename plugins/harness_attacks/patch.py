"""A patch per image inside a fixed region (Arvinte et al., section 3 and appendix C): the eyeglasses attack.

In tanh space, image + noise inside the region is moved by Adam until the goal is reached, with restarts. The
pixels outside stay exactly what they are.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.best_images import Best
from harness_attacks.patched_images import Climb, Loss, PatchedImages, spots, without_spots
from harness_attacks.tanh_space import to_tanh

NOISE_SCALE = 0.5
"""A start lies uniformly within this of the image, per component in tanh space."""


def patch(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    iterations: Annotated[int, Ge(1)] = 100,
    learning_rate: Annotated[float, Gt(0)] = 0.1,
    restarts: Annotated[int, Ge(1)] = 2,
    mirror: bool = False,
    loss: Loss = "margin",
    early_stop: bool = True,
) -> Tensor:
    """Images (B, C, H, W), changed inside the region only: the first that reach their goals, else the best.

    Args:
        iterations: of Adam, per restart.
        learning_rate: in tanh space, in which black and white are 14.5 apart.
        restarts: how often a case that has not reached its goal begins anew, from noise of its own.
        mirror: climb the mean over the image and its mirror image, as against a verifier that uses both.
        loss: climb the goal's margin, or of an embedding the squared distance to the anchor, as published.
        early_stop: a case leaves the batch once its image, as it would be stored, reaches the goal in
            float32. Without, all iterations of all restarts are made.

    Raises:
        AttackError: there is no region, it is empty, or there are places to choose from.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or threat.places:
        raise AttackError(f"a patch has one place, and the region has {threat.places}; the square chooses")
    if not len(x):
        return x.clone()
    mask = threat.mask.to(x.device)
    here = spots(mask[None] if mask.ndim == 2 else mask[:, 0], x.shape[1])
    every = torch.arange(len(x), device=x.device)
    patched = patched.take(every, here.expand(len(x), -1))
    found = Best.of(patched.covered(x))
    refine(patched, found, rng, restarts, Climb(iterations, learning_rate, loss, mirror, early_stop))
    return patched.with_patch(found.values)


def refine(patched: PatchedImages, found: Best, rng: CaseRandom, restarts: int, climb: Climb) -> None:
    """Climb from noise around the images, as often as there are restarts, and keep the best in ``found``."""
    for _ in range(restarts):
        active = torch.nonzero(~found.reached | (not climb.early_stop)).flatten()
        if not len(active):
            return
        work = patched.take(active)
        noise = rng.take(active).uniform(work.x.shape[1:], -NOISE_SCALE, NOISE_SCALE)  # whatever the region
        start = to_tanh(work.covered(work.x)) + work.covered(noise.to(work.x))
        best = work.climb(start, climb, found.margin[active])
        found.keep(active, best.values, best.margin, best.reached)
