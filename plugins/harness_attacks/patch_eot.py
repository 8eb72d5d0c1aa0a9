"""Patches of glasses and squares are found here under small shifts, rotations and changes of brightness.

They are attacks of their own, ``eyeglasses-eot`` and ``square-eot``: the paper's attacks do not do this, and
boards have them apart. The judge sees the image as it is; under other transformations than those that were
drawn, these patches hold more often.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.best_images import Best
from harness_attacks.patch import on_mask, refine
from harness_attacks.patch_views import drawn_views
from harness_attacks.patched_images import Climb, PatchedImages, spots, without_spots
from harness_attacks.square import searched


def eyeglasses_eot(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    iterations: Annotated[int, Ge(1)] = 100,
    learning_rate: Annotated[float, Gt(0)] = 0.1,
    restarts: Annotated[int, Ge(1)] = 1,
    views: Annotated[int, Ge(1)] = 8,
    shift: Annotated[float, Ge(0), Le(0.5)] = 0.03,
    degrees: Annotated[float, Ge(0), Le(180)] = 5.0,
    brightness: Annotated[float, Ge(0), Le(1)] = 0.1,
) -> Tensor:
    """Return images (B, C, H, W) changed inside the region; the best are those that reach their goals.

    All iterations are made: a patch that holds for the image alone is not what is looked for.

    Args:
        iterations, learning_rate, restarts: as for ``harness_attacks.patch.patch``.
        views: the number of transformations of each case, over which the mean is ascended.
        shift: the largest shift, as a share of height and width.
        degrees: the largest angle of a rotation.
        brightness: the largest change of the factor of all pixels.

    Raises:
        AttackError: there is no region, it is empty, or there are places to choose from.
    """
    patched = on_mask(model, x, objective, threat)
    if not len(x):
        return x.clone()
    patched = replace(patched, views=drawn_views(rng, x, views, shift, degrees, brightness))
    return _refined(patched, Best.of(patched.covered(x)), rng, restarts, iterations, learning_rate)


def square_eot(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    search_iterations: Annotated[int, Ge(1)] = 10,
    search_learning_rate: Annotated[float, Gt(0)] = 1.0,
    iterations: Annotated[int, Ge(1)] = 100,
    learning_rate: Annotated[float, Gt(0)] = 0.1,
    restarts: Annotated[int, Ge(1)] = 1,
    views: Annotated[int, Ge(1)] = 8,
    shift: Annotated[float, Ge(0), Le(0.5)] = 0.03,
    degrees: Annotated[float, Ge(0), Le(180)] = 5.0,
    brightness: Annotated[float, Ge(0), Le(1)] = 0.1,
) -> Tensor:
    """Return images (B, C, H, W), each changed inside one of the region's places.

    The place is searched for on the images as they are; the patch at it is found under the transformations.

    Args:
        search_iterations, search_learning_rate, iterations, learning_rate, restarts: as for
            ``harness_attacks.square.square``.
        views, shift, degrees, brightness: as for ``eyeglasses_eot``.

    Raises:
        AttackError: there is no region, it offers no places, or one of them is empty.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or not threat.places:
        raise AttackError("the square needs places to choose from: a mask of shape (P, H, W)")
    if not len(x):
        return x.clone()
    seen = drawn_views(rng, x, views, shift, degrees, brightness)
    places = spots(threat.mask.to(x.device), x.shape[1])  # (P, N)
    search = Climb(search_iterations, search_learning_rate, "margin", False, early_stop=False)
    chosen, found = searched(patched, places, rng, search)
    placed = patched.take(torch.arange(len(x), device=x.device), places[chosen])
    placed = replace(placed, views=seen)
    # What the search found is the best of the image alone; it counts from here on as all others do.
    begun = Best.of(found.values)
    begun.keep(torch.arange(len(x), device=x.device), found.values, *placed.stored(found.values))
    return _refined(placed, begun, rng, restarts, iterations, learning_rate)


def _refined(
    patched: PatchedImages,
    found: Best,
    rng: CaseRandom,
    restarts: int,
    iterations: int,
    learning_rate: float,
) -> Tensor:
    refine(patched, found, rng, restarts, Climb(iterations, learning_rate, "margin", False, early_stop=False))
    return patched.with_patch(found.values)
