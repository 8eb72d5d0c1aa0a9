"""Component gradient: steps along the difference of two components, one of each class, to the boundary.

The classes of a mixture consist of parts, and near an image one part of each class decides. The gradient of
the difference between the likeliest part of its own class and that of the other is the direction in which
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
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.gradient_descent import Walked, drawn_nearer, walk


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
    polish: Annotated[int, Ge(0)] = 0,
) -> Tensor:
    """The nearest images (B, C, H, W) that reach the goal, over walks towards several components.

    A model that is not made of components has one per class, its score. Whether the goal is reached is up to
    the whole model; the components only say where to go.

    Args:
        candidates: walks; the first goes to whatever component of the other class is the likeliest on its
            way, as the published attack is understood, each other one to the next likeliest at its start.
        step_size: in the units of the norm, as of gradient-descent.
        iterations: steps of a walk at most.
        tests: by which the boundary is looked for in a walk's last step, at most.
        polish: as of gradient-descent, of the nearest image of all walks.

    Raises:
        AttackError: the goal is not one of classes.
    """
    if not isinstance(objective, ClassObjective):
        raise AttackError("component-gradient needs a goal of classes")
    model = model.focus(objective)
    if not len(x):
        return x.clone()
    with torch.no_grad():
        scores = _scores(model, x)  # (B, P)
    wanted = _wanted(model, objective, scores.shape[1])
    best, nearest = x.clone(), torch.full((len(x),), torch.inf, device=x.device)
    for target in _targets(scores, wanted, candidates):
        slope = partial(_slope, model, wanted, target)
        walked = walk(model, x, objective, threat, slope, step_size, iterations, tests)
        length = torch.where(walked.reached, threat.distance(walked.images - x), torch.inf)
        better = length < nearest
        best[better], nearest[better] = walked.images[better], length[better]
    return drawn_nearer(model, x, objective, threat, Walked(best, nearest.isfinite()), polish)


def _scores(model: Handle, x: Tensor) -> Tensor:
    """(B, P) of the parts, or of the classes where there are none."""
    return model.components(x) if model.has_components else model(x)


def _wanted(model: Handle, objective: ClassObjective, count: int) -> Tensor:
    """(B, P) bool: which components speak for the goal of each case; the others are to be left."""
    device = objective.classes.device
    classes = model.component_classes if model.has_components else torch.arange(count)
    named = classes.to(device) == objective.classes[:, None]
    wanted = named if objective.towards else ~named
    if not wanted.any(1).all() or wanted.all(1).any():
        raise AttackError("a class has no component, so there is no way to it or from it")
    return wanted


def _targets(scores: Tensor, wanted: Tensor, candidates: int) -> list[Tensor | None]:
    """For each walk None, whatever wanted component is the likeliest on the way, or (B,) a fixed one.

    The likeliest at the start needs no walk of its own. Where a case has fewer components than there are
    walks, the last of them comes again.
    """
    count = wanted.sum(1)  # (B,)
    ranked = scores.nan_to_num(-torch.inf).masked_fill(~wanted, -torch.inf).argsort(1, descending=True)
    walks = range(1, min(candidates, int(count.max())))
    return [None, *(ranked.gather(1, (count - 1).clamp_max(walk)[:, None])[:, 0] for walk in walks)]


def _slope(model: Handle, wanted: Tensor, target: Tensor | None, active: Tensor, images: Tensor) -> Tensor:
    """The gradient (A, C, H, W) of the difference between a wanted component and the likeliest other one.

    Which other is the likeliest changes on the way: a class that has an outlier beside its manifold is left
    by leaving both.
    """
    those = wanted[active]

    def gap(scores: Tensor) -> Tensor:
        away = scores.masked_fill(those, -torch.inf).amax(1)
        if target is None:
            return scores.masked_fill(~those, -torch.inf).amax(1) - away
        return scores.gather(1, target[active][:, None])[:, 0] - away

    view = model.take(active)
    return view.gradient(images, gap, outputs=view.components if view.has_components else None)[1]
