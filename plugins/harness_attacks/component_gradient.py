"""Component gradient: steps along the difference of two components, one of each class, to the boundary.

The classes of a mixture consist of parts, and near an image one part of each class decides. The gradient of
the difference between the image's own part and the nearest part of the other class is the direction in which
the Bayes-optimal study attacks mixtures and support vector machines (Richardson and Weiss 2021,
https://arxiv.org/abs/2002.10563, appendix C.2).
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness.errors import AttackError
from harness.goals import ClassObjective, Objective
from harness.model import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.gradient_descent import walk


def component_gradient(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    candidates: Annotated[int, Ge(1)] = 1,
    step_size: Annotated[float, Gt(0), Lt(1e6)] | None = None,
    iterations: Annotated[int, Ge(1)] = 1000,
    tests: Annotated[int, Ge(0)] = 10,
) -> Tensor:
    """The nearest images (B, C, H, W) that reach the goal, over walks towards several components.

    A model that is not made of components has one per class, its score. Whether the goal is reached is up to
    the whole model; the components only say where to go.

    Args:
        candidates: the likeliest components of the other class, each with a walk of its own; the published
            attack is understood to have one.
        step_size: in the units of the norm, as of gradient-descent.
        iterations: steps of a walk at most.
        tests: by which the boundary is looked for in a walk's last step, at most.

    Raises:
        AttackError: the goal is not one of classes.
    """
    if not isinstance(objective, ClassObjective):
        raise AttackError("component-gradient needs a goal of classes")
    model = model.focus(objective)
    if not len(x):
        return x.clone()
    pairs = _pairs(model, x, objective, candidates)
    best, nearest = x.clone(), torch.full((len(x),), torch.inf, device=x.device)
    for ends in pairs:
        slope = partial(_slope, model, ends)
        walked = walk(model, x, objective, threat, slope, step_size, iterations, tests)
        length = torch.where(walked.reached, threat.distance(walked.images - x), torch.inf)
        better = length < nearest
        best[better], nearest[better] = walked.images[better], length[better]
    return best


def _slope(model: Handle, ends: Tensor, active: Tensor, images: Tensor) -> Tensor:
    """The gradient (A, C, H, W) of the difference between two components ``ends`` (B, 2): to, and from."""

    def gap(scores: Tensor) -> Tensor:
        both = scores.gather(1, ends[active])  # (A, 2)
        return both[:, 0] - both[:, 1]

    view = model.take(active)
    return view.gradient(images, gap, outputs=view.components if view.has_components else None)[1]


def _pairs(model: Handle, x: Tensor, objective: ClassObjective, candidates: int) -> Tensor:
    """(W, B, 2) the components to which and from which each walk goes, the likeliest to first.

    Where a class has fewer components than there are walks, the last of them comes again.
    """
    with torch.no_grad():
        scores = model.components(x) if model.has_components else model(x)  # (B, P)
    classes = model.component_classes if model.has_components else torch.arange(scores.shape[1])
    named = classes.to(x.device) == objective.classes.to(x.device)[:, None]  # (B, P)
    wanted = named if objective.towards else ~named
    if not wanted.any(1).all() or wanted.all(1).any():
        raise AttackError("a class has no component, so there is no way to it or from it")
    scores = scores.nan_to_num(-torch.inf)
    source = scores.masked_fill(wanted, -torch.inf).argmax(1)
    ranked = scores.masked_fill(~wanted, -torch.inf).argsort(1, descending=True)  # (B, P)
    count = wanted.sum(1)  # (B,)
    walks = torch.arange(min(candidates, int(count.max())), device=x.device)[:, None]  # (W, 1)
    targets = ranked.T.gather(0, torch.minimum(walks, count - 1))  # (W, B)
    return torch.stack([targets, source.expand_as(targets)], 2)
