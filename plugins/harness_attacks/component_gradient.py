"""Component gradient steps along the difference of two components, one of each class, to the boundary.

The classes of a mixture consist of components, and near an image one component of each class decides. The
Bayes-optimal study attacks mixtures and support vector machines along the gradient of the difference between
the likeliest component of the other class and that of the image's own (Richardson and Weiss 2021,
https://arxiv.org/abs/2002.10563, appendix C.2). The paper states neither the size of the steps nor which
components are meant, and ends at the step that crosses the boundary; here that step is then searched for the
boundary, unless ``tests`` is 0.
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
    """Return the nearest images (B, C, H, W) that reach the goal, of walks towards several components.

    In a model without components, the score of each class is its only component. The components only give
    the direction; the decision of the whole model says whether the goal is reached.

    Args:
        candidates: the number of walks. At each step, the first walk goes towards the component of the other
            class that is then the likeliest, as in the published attack; each other walk goes towards one
            component, the next likeliest at the start.
        step_size: in the units of the norm, as in gradient-descent.
        iterations: the largest number of steps of a walk.
        tests: the largest number of tests that search for the boundary in a walk's last step; 0: the image
            after that step, as published.
        polish: as in gradient-descent, for the nearest image of all walks.

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
        gradient = partial(_gradient, model, wanted, target)
        walked = walk(model, x, objective, threat, gradient, step_size, iterations, tests)
        length = torch.where(walked.reached, threat.distance(walked.images - x), torch.inf)
        better = length < nearest
        best[better], nearest[better] = walked.images[better], length[better]
    return drawn_nearer(model, x, objective, threat, Walked(best, nearest.isfinite()), polish)


def _scores(model: Handle, x: Tensor) -> Tensor:
    """Return (B, P) the scores of the components, or of the classes if there are no components."""
    return model.components(x) if model.has_components else model(x)


def _wanted(model: Handle, objective: ClassObjective, count: int) -> Tensor:
    """Tell (B, P) which components belong to the classes that each goal wants; the others are to be left."""
    device = objective.classes.device
    classes = model.component_classes if model.has_components else torch.arange(count)
    named = classes.to(device) == objective.classes[:, None]
    wanted = named if objective.towards else ~named
    if not wanted.any(1).all() or wanted.all(1).any():
        raise AttackError("a class has no component, so no direction leads to it or away from it")
    return wanted


def _targets(scores: Tensor, wanted: Tensor, candidates: int) -> list[Tensor | None]:
    """Return for each walk a fixed component (B,), or None for the likeliest wanted one at each step.

    The likeliest at the start needs no walk of its own. If a case has fewer components than there are walks,
    its last one is used again.
    """
    count = wanted.sum(1)  # (B,)
    ranked = scores.nan_to_num(-torch.inf).masked_fill(~wanted, -torch.inf).argsort(1, descending=True)
    walks = range(1, min(candidates, int(count.max())))
    return [None, *(ranked.gather(1, (count - 1).clamp_max(walk)[:, None])[:, 0] for walk in walks)]


def _gradient(model: Handle, wanted: Tensor, target: Tensor | None, active: Tensor, images: Tensor) -> Tensor:
    """Return the gradient (A, C, H, W) of a wanted component minus the likeliest unwanted one.

    The likeliest unwanted component may change during a walk; to leave a class that has a component for
    outliers, for example, an image must leave both that and the nearest other one.
    """
    those = wanted[active]

    def gap(scores: Tensor) -> Tensor:
        away = scores.masked_fill(those, -torch.inf).amax(1)
        if target is None:
            return scores.masked_fill(~those, -torch.inf).amax(1) - away
        return scores.gather(1, target[active][:, None])[:, 0] - away

    view = model.take(active)
    return view.gradient(images, gap, outputs=view.components if view.has_components else None)[1]
