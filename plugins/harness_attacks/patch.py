"""The eyeglasses attack finds a patch per image inside a fixed region (Arvinte et al., 3, appendix C).

Adam starts from image + noise inside the region, in tanh space, and ends once the goal is reached; there are
restarts. Pixels outside the region do not change.
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
from harness_attacks.patched_images import Anchor, Climb, Loss, PatchedImages, spots, without_spots
from harness_attacks.tanh_space import to_tanh

NOISE_SCALE = 0.5
"""The largest distance of a random start from the image, per component in tanh space."""


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
    anchor: Anchor = "direct",
) -> Tensor:
    """Return images (B, C, H, W) changed inside the region: the first that reach their goals, or the best.

    Args:
        iterations: the number of Adam's steps per restart.
        learning_rate: the learning rate in tanh space, where black and white are 14.5 apart.
        restarts: the number of runs, each with new noise, for cases that have not reached their goal.
        mirror: ascend the mean over the image and its mirror image, for a verifier that uses both.
        loss: ascend the goal's margin; or, for embeddings, the squared distance to the anchor, as published.
        early_stop: a case leaves the batch once its rounded image reaches the goal in float32. Otherwise all
            iterations of all restarts are made.
        anchor: for embeddings: approach the reference, or an image that the model draws of the same person.
            The image nearest to the reference itself is kept.

    Raises:
        AttackError: there is no region, it is empty, or there are places to choose from; or there is no
            indirect anchor.
    """
    patched = on_mask(model, x, objective, threat)
    if not len(x):
        return x.clone()
    patched = patched.towards(anchor)
    found = Best.of(patched.covered(x))
    refine(patched, found, rng, restarts, Climb(iterations, learning_rate, loss, mirror, early_stop))
    return patched.with_patch(found.values)


def on_mask(model: Handle, x: Tensor, objective: Objective, threat: Threat) -> PatchedImages:
    """Return the images (B, C, H, W) with spots where the mask is True.

    Raises:
        AttackError: there is no region, it is empty, or there are places to choose from.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or threat.places:
        raise AttackError(
            f"eyeglasses need a mask (H, W); the region has {threat.places} places, so use the attack square"
        )
    mask = threat.mask.to(x.device)
    here = spots(mask[None] if mask.ndim == 2 else mask[:, 0], x.shape[1])
    return patched.take(torch.arange(len(x), device=x.device), here.expand(len(x), -1))


def refine(patched: PatchedImages, found: Best, rng: CaseRandom, restarts: int, climb: Climb) -> None:
    """Ascend from noise around the images, once per restart, and keep the best patches in ``found``."""
    for _ in range(restarts):
        active = torch.nonzero(~found.reached | (not climb.early_stop)).flatten()
        if not len(active):
            return
        work = patched.take(active)
        # drawn for whole images, so that the region does not change it
        noise = rng.take(active).uniform(work.x.shape[1:], -NOISE_SCALE, NOISE_SCALE)
        start = to_tanh(work.covered(work.x)) + work.covered(noise.to(work.x))
        best = work.climb(start, climb, found.margin[active])
        found.keep(active, best.values, best.margin, best.reached)
