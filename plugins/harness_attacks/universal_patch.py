"""One patch for many images, learned on some and worn by all (Brown et al. 2017; Arvinte et al., appendix C).

The patch is a picture of its own: the same pixels replace the region of every image, in learning as in
wearing. (The published code adds to the image in learning and replaces in wearing: two different attacks.)
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
"""Of a decision, in mean margins."""


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
    """Images (B, C, H, W) that all carry the patch of their group; without images to learn on, as they were.

    Cases that want the same outcome (``objective.groups``) have one patch. It begins grey, and Adam climbs
    what it does on the images that it is learned on.

    Args:
        fit: (B,) bool, the images to learn on.
        iterations: of Adam, each on one mini-batch.
        learning_rate: in tanh space, in which grey is 0, black -7.25 and white +7.25.
        mini_batch: images at once; each pass through all of them has an order of its own.
        mirror: climb the mean over images and mirror images, as against a verifier that uses both.
        loss: climb the share of images that reach the goal, smoothed; or the mean margin; or, of embeddings,
            the mean squared distance to the anchor, as published. Either mean also pays for images that reach
            the goal anyway, and for those that no patch can bring there.

    Raises:
        AttackError: there is no region, it is empty, or it is not the same for all images.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or threat.mask.ndim != 2:
        raise AttackError("one patch for many images needs one region (H, W) for all of them")
    climb = Climb(iterations, learning_rate, "margin" if loss == "success" else loss, mirror)
    here = spots(threat.mask.to(x.device)[None], x.shape[1])  # (1, N)
    groups, fit = objective.groups.to(x.device), fit.to(x.device)
    x_adv = x.clone(memory_format=torch.contiguous_format)
    for group in torch.unique(groups[fit]):
        pupils = torch.nonzero(fit & (groups == group)).flatten()
        batches = (pupils[rows.to(x.device)] for rows in shuffled(rng.take(pupils), mini_batch))
        patch = learned(patched, here, batches, climb, decisive=loss == "success")
        x_adv.view(len(x), -1)[torch.nonzero(groups == group), here] = patch
    return x_adv


def learned(
    patched: PatchedImages, here: Tensor, batches: Iterator[Tensor], climb: Climb, *, decisive: bool
) -> Tensor:
    """The patch (1, N) at the spots (1, N) that serves the cases which come in mini-batches.

    Args:
        decisive: climb the mean of sigmoid(margin / scale), the scale being a share of the mean |margin|.
    """
    position = torch.zeros(here.shape, device=here.device)  # grey
    adam = Adam(1, here.shape[1], here.device)
    for _, rows in zip(range(climb.iterations), batches, strict=False):
        values = from_tanh(position)
        margin, slope = patched.take(rows, here.expand(len(rows), -1)).uphill(
            values.expand(len(rows), -1), climb
        )
        if decisive:
            slope = slope * undecided(margin)[:, None]
        position += climb.learning_rate * adam.step(slope.mean(0, keepdim=True) * steepness(values))
    return from_tanh(position)


def undecided(margin: Tensor) -> Tensor:
    """(B,) the slope of sigmoid(margin / scale), but for a common factor: large near the decision."""
    share = torch.sigmoid(margin / (SMOOTHING * margin.abs().nanmean()).clamp_min(1e-30)).nan_to_num(0)
    return share * (1 - share)


def shuffled(rng: CaseRandom, size: int) -> Iterator[Tensor]:
    """Mini-batches of row numbers, pass after pass.

    Their order comes from the cases' own random numbers, and so does not depend on the order of the rows.
    """
    while True:
        yield from torch.split(rng.uniform(()).argsort(), size)
