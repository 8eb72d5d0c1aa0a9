"""Random noise of the same budget is a lower bound that every attack must exceed.

In L-infinity every component changes by +eps or -eps, the strongest noise in the budget, or by a uniformly
random amount between them; in L2 a uniformly random direction is scaled to length eps.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat, l2

Law = Literal["corners", "uniform"]
"""How noise in L-infinity is distributed: on the corners of the box of side 2 eps, or all over it."""


def noise(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    draws: Annotated[int, Ge(1)] = 10,
    law: Law = "corners",
) -> Tensor:
    """Return the first random image (B, C, H, W) that reaches the goal after rounding, or the last one.

    The attack uses decisions only. The last image is returned because it may still fool another model.

    Args:
        draws: the largest number of trials for each case.
        law: the distribution in L-infinity: every component is +eps or -eps, or uniform between them.
    """
    model = model.focus(objective)
    x_adv = x.clone()
    active = torch.arange(len(x), device=x.device)  # the cases without a success
    for _ in range(draws):
        if not len(active):
            break
        allowed, start = threat.take(active), x[active]
        drawn = allowed.settle(
            allowed.project(start + sample(rng.take(active), start, allowed, law), start), start
        )
        x_adv[active] = drawn
        reached = model.take(active).reaches(drawn)
        staying = torch.nonzero(~reached).flatten()
        if len(staying) < len(active):
            model.take(active[reached]).found()
            active = active[staying]
    return x_adv


def sample(rng: CaseRandom, x: Tensor, threat: Threat, law: Law = "corners") -> Tensor:
    """Return noise (B, C, H, W) of size eps in the threat's norm, inside its region."""
    if threat.eps is None:
        raise AttackError("noise needs a budget, such as harness.threats.Linf(8/255)")
    shape = x.shape[1:]
    if law == "uniform":
        if threat.norm != "linf":
            raise AttackError('law = "uniform" is for noise in L-infinity; leave it out in L2')
        return rng.uniform(shape, -threat.eps, threat.eps).to(x)
    if threat.norm == "linf":
        return torch.where(rng.uniform(shape, -1, 1) < 0, -threat.eps, threat.eps).to(x)
    direction = rng.normal(shape).to(x)
    if threat.mask is not None:
        direction = direction * threat.mask.to(direction)
    return direction * (threat.eps / l2(direction).clamp_min(1e-12)).view(-1, 1, 1, 1)
