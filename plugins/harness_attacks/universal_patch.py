"""A universal patch is learned on some images and used on all (Brown et al. 2017; Arvinte et al., C).

The same pixels replace the region of every image, during learning and afterwards. (The published code adds
them to the image during learning, and replaces pixels only afterwards: these are two different attacks.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.adam import Adam
from harness_attacks.patched_images import Climb, Loss, PatchedImages, spots, without_spots
from harness_attacks.tanh_space import from_tanh, steepness

SMOOTHING = 0.25
"""The width of the smoothed decision, relative to the mean absolute margin."""


def universal_patch(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    fit: Tensor,
    iterations: Annotated[int, Ge(1)] = 200,
    learning_rate: Annotated[float, Gt(0)] = 0.05,
    mini_batch: Annotated[int, Ge(1)] = 64,
    mirror: bool = False,
    loss: Loss | Literal["success"] = "success",
) -> Tensor:
    """Return images (B, C, H, W) with the patch of their group, or the originals if none was learned.

    Cases with the same goal (``objective.groups``) have one patch. It begins grey, and Adam ascends the loss
    on the images to learn on.

    Args:
        fit: (B,) bool, the images to learn on.
        iterations: the number of Adam's steps, each on one mini-batch.
        learning_rate: the learning rate in tanh space, where grey is 0, black -7.25 and white +7.25.
        mini_batch: the number of images at once; each pass through all images has an order of its own.
        mirror: ascend the mean over images and mirror images, for a verifier that uses both.
        loss: ascend the smoothed share of images that reach the goal; or the mean margin; or, for embeddings,
            the mean squared distance to the anchor, as published. Both means also reward changes to images
            that reach the goal anyway, and to those that no patch can bring there.

    Raises:
        AttackError: there is no region, it is empty, or it is not the same for all images.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or threat.mask.ndim != 2:
        raise AttackError("universal-patch needs one mask (H, W) for all images")
    climb = Climb(iterations, learning_rate, "margin" if loss == "success" else loss, mirror)
    here = spots(threat.mask.to(x.device)[None], x.shape[1])  # (1, N)
    groups, fit = objective.groups.to(x.device), fit.to(x.device)
    x_adv = x.clone(memory_format=torch.contiguous_format)
    for group in torch.unique(groups[fit]):
        learning = torch.nonzero(fit & (groups == group)).flatten()
        batches = (learning[rows.to(x.device)] for rows in shuffled(rng.take(learning), mini_batch))
        patch = learned(patched, here, batches, climb, decisive=loss == "success")
        x_adv.view(len(x), -1)[torch.nonzero(groups == group), here] = patch
    return x_adv


def learned(
    patched: PatchedImages, here: Tensor, batches: Iterator[Tensor], climb: Climb, *, decisive: bool
) -> Tensor:
    """Learn the patch (1, N) at the spots (1, N) on mini-batches of cases.

    Args:
        decisive: ascend the mean of sigmoid(margin / scale), where the scale is a share of the mean |margin|.
    """
    position = torch.zeros(here.shape, device=here.device)  # grey
    adam = Adam(1, here.shape[1], here.device)
    for _, rows in zip(range(climb.iterations), batches, strict=False):
        values = from_tanh(position)
        margin, gradient = patched.take(rows, here.expand(len(rows), -1)).uphill(
            values.expand(len(rows), -1), climb
        )
        if decisive:
            gradient = gradient * undecided(margin)[:, None]
        position += climb.learning_rate * adam.step(gradient.mean(0, keepdim=True) * steepness(values))
    return from_tanh(position)


def undecided(margin: Tensor) -> Tensor:
    """Return (B,) the derivative of sigmoid(margin / scale), without a common factor; it is large near 0."""
    share = torch.sigmoid(margin / (SMOOTHING * margin.abs().nanmean()).clamp_min(1e-30)).nan_to_num(0)
    return share * (1 - share)


def shuffled(rng: CaseRandom, size: int) -> Iterator[Tensor]:
    """Yield mini-batches of row numbers, pass after pass.

    Their order comes from the random numbers of the cases, so it does not depend on the order of the rows.
    """
    while True:
        yield from torch.split(rng.uniform(()).argsort(), size)
