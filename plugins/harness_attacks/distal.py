"""A distal adversarial starts from noise, and no pixel of the original is left (Arvinte et al., 4.4, C).

It shows what a network takes for a person. If the distance stays large, gradients are masked.
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
from harness_attacks.patched_images import Climb, Loss, PatchedImages
from harness_attacks.tanh_space import to_tanh


def distal(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    iterations: Annotated[int, Ge(1)] = 200,
    learning_rate: Annotated[float, Gt(0)] = 0.1,
    mirror: bool = False,
    loss: Loss = "margin",
    early_stop: bool = True,
) -> Tensor:
    """Return images (B, C, H, W) that reach their goals from uniform noise, or come nearest to them.

    Args:
        iterations: the number of Adam's steps from the noise.
        learning_rate: the learning rate in tanh space, where black and white are 14.5 apart.
        mirror, loss, early_stop: as for ``harness_attacks.patch.patch``; with ``early_stop``, an original
            that reaches its goal stays as it is.

    Raises:
        AttackError: the threat has a region or a budget, which an image from noise cannot keep to.
    """
    if threat.mask is not None or threat.eps is not None:
        raise AttackError("distal starts from noise, and can keep to no region and no eps; leave them out")
    everywhere = torch.arange(x[:1].numel(), device=x.device).expand(len(x), -1)
    images = PatchedImages(model.focus(objective), x, objective, threat, everywhere, objective)
    start = to_tanh(rng.uniform(x.shape[1:]).to(x).flatten(1))
    x_adv = x.clone(memory_format=torch.contiguous_format)
    left = torch.arange(len(x), device=x.device)
    if early_stop:
        left = left[~images.model.reaches(x)]
    climb = Climb(iterations, learning_rate, loss, mirror, early_stop)
    nothing = torch.full((len(left),), -torch.inf, device=x.device)
    images = images.take(left)
    x_adv[left] = images.with_patch(images.climb(start[left], climb, nothing).values)
    return x_adv
