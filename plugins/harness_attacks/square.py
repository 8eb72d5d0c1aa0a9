"""The square attack finds a place and a square patch per image (Arvinte et al., section 3, appendix C)."""

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
from harness_attacks.patch import NOISE_SCALE, refine
from harness_attacks.patched_images import Anchor, Climb, Loss, PatchedImages, spots, without_spots
from harness_attacks.tanh_space import to_tanh


def square(
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
    restarts: Annotated[int, Ge(1)] = 2,
    mirror: bool = False,
    loss: Loss = "margin",
    early_stop: bool = True,
    anchor: Anchor = "direct",
) -> Tensor:
    """Return images (B, C, H, W), each changed inside one of the region's places.

    All places of a case are tried with a few large steps from the same noise; the full attack follows at the
    place with the best margin. A case ends once the search reaches its goal. The search does not use mirror
    images.

    Args:
        search_iterations: the number of Adam's steps per place.
        search_learning_rate: the learning rate of the search, in tanh space.
        iterations, learning_rate, restarts, mirror, loss, early_stop, anchor: the settings of the attack at
            the chosen place, as for ``harness_attacks.patch.patch``.

    Raises:
        AttackError: there is no region, it offers no places, or one of them is empty; or there is no
            indirect anchor.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or not threat.places:
        raise AttackError("the square needs places to choose from: a mask of shape (P, H, W)")
    if not len(x):
        return x.clone()
    patched = patched.towards(anchor)
    places = spots(threat.mask.to(x.device), x.shape[1])  # (P, N)
    search = Climb(search_iterations, search_learning_rate, loss, False, early_stop)
    chosen, found = searched(patched, places, rng, search)
    placed = patched.take(torch.arange(len(x), device=x.device), places[chosen])
    refine(placed, found, rng, restarts, Climb(iterations, learning_rate, loss, mirror, early_stop))
    return placed.with_patch(found.values)


def searched(patched: PatchedImages, places: Tensor, rng: CaseRandom, search: Climb) -> tuple[Tensor, Best]:
    """Choose a place (B,) for each case, out of (P, N), and return it with the best patch there.

    It is the first place that reaches the goal, or else the one with the best margin; the choice does not
    depend on what was tried at once. At most as many candidates as there are cases, or places, are tried at
    once.
    """
    cases = len(patched.x)
    noise = rng.uniform(patched.x.shape[1:], -NOISE_SCALE, NOISE_SCALE).to(patched.x)
    origin = to_tanh(patched.x) + noise
    chosen = torch.zeros(cases, dtype=torch.int64, device=origin.device)
    every = torch.arange(cases, device=origin.device)
    found = Best.of(patched.take(every, places[chosen]).covered(patched.x))
    queue = torch.arange(len(places) * cases, device=origin.device)  # candidates, by place
    while len(queue):
        now, queue = queue.tensor_split([max(cases, len(places))])
        place, case = now // cases, now % cases
        work = patched.take(case, places[place])
        best = work.climb(
            work.covered(origin[case]), search, torch.full_like(now, torch.inf, dtype=origin.dtype)
        )
        for tried in torch.unique(place):
            rows = torch.nonzero((place == tried) & ~(search.early_stop & found.reached[case])).flatten()
            better = found.keep(case[rows], best.values[rows], best.margin[rows], best.reached[rows])
            chosen[case[rows[better]]] = tried
        if search.early_stop:
            queue = queue[~found.reached[queue % cases]]
    patched.model.found(torch.nonzero(~found.reached & found.margin.isfinite()).flatten())
    return chosen, found
