"""Square Attack changes random squares and keeps each change that raises the margin.

Andriushchenko, Croce, Flammarion and Hein 2020, https://arxiv.org/abs/1912.00049, algorithms 1 to 3. It sees
scores and no gradients. In L-infinity it starts from vertical stripes, and every component ends at a corner
of the budget; in L2 it moves the change of one square into another. Each forward pass of a case is a query.
"""

from __future__ import annotations

from math import sqrt
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
from harness_attacks.oracle import is_exact
from harness_attacks.pgd import Run
from harness_attacks.square_moves import Draws, Places, corners, moved_mass, stripes, tiles

SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After so many of 10,000 queries, the share of the image that a square covers is halved (section 4)."""
BLOCK = 32
"""For how many queries the random numbers of a case are drawn at once."""


def square_attack(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    queries: Annotated[int, Ge(1)] = 5000,
    share: Annotated[float, Gt(0), Le(1)] = 0.8,
    restarts: Annotated[int, Ge(1)] = 1,
) -> Tensor:
    """Return images (B, C, H, W) in the budget: the first that reaches its goal after rounding, or the best.

    A case leaves the batch once its rounded image reaches the goal in float32.

    Args:
        queries: the largest number of forward passes of a case in a run. In L2, and in reduced precision, a
            test of the rounded image is a pass of its own.
        share: the share of the image that the first squares cover.
        restarts: the number of runs for cases that have not reached their goal.

    Raises:
        AttackError: there is no budget.
    """
    if threat.eps is None or threat.norm is None:
        raise AttackError("square-attack needs a budget, such as harness.threats.Linf(8/255)")
    model = model.focus(objective)
    best = Best.of(x)
    for _ in range(restarts):
        active = torch.nonzero(~best.reached).flatten()
        if not len(active):
            break
        run = Run(model, x, objective, threat).take(active)
        _searched(run, active, rng.take(active), queries, share, best)
    return best.values


def side_of(share: float, query: int, queries: int, height: int, width: int) -> int:
    """Return the side, in pixels, of the square of a query."""
    passed = sum(int(query / queries * 10000) > at for at in SCHEDULE)
    return max(1, min(round(sqrt(share / 2**passed * height * width)), height, width))


def _searched(run: Run, active: Tensor, rng: CaseRandom, queries: int, share: float, best: Best) -> None:
    """Make one run of the active cases (A,), and keep their best images."""
    start, change = (stripes, corners) if run.threat.norm == "linf" else (tiles, moved_mass)
    places, channels = Places.of(run.x, run.threat), run.x.shape[1]
    x_adv, margin = run.x, torch.full((len(active),), -torch.inf, device=run.x.device)
    draws = margin
    for query in range(queries):
        if not query % BLOCK:
            draws = rng.uniform((BLOCK, Draws.count(channels))).to(run.x)
        if query:
            side = side_of(share, query, queries, *run.x.shape[2:])
            tried = change(run.x, x_adv, run.threat, places, Draws(draws[:, query % BLOCK]), side)
        else:
            tried = start(run.x, run.threat, rng)
        tried, found, there = _asked(run, tried)
        higher = found > margin  # NaN is not
        x_adv = torch.where(higher.view(-1, 1, 1, 1), tried, x_adv)
        margin = torch.where(higher, found, margin)
        best.keep(active, tried, found, there)
        if there.any():
            run.model.take(there).found()
            rows = torch.nonzero(~there).flatten()
            active, run, rng, places = active[rows], run.take(rows), rng.take(rows), places.take(rows)
            x_adv, margin, draws = x_adv[rows], margin[rows], draws[rows]
            if not len(rows):
                return


def _asked(run: Run, tried: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the images (A, C, H, W), their margins (A,), and if they reach the goal after rounding (A,).

    In L-infinity every image is on the grid when it is asked about; in L2, where rounding is costly and would
    take much of a small change, only one that reaches the goal.
    """
    rounded = run.threat.norm == "linf"
    if rounded and is_exact(run.model):
        return run.settled(tried)
    if rounded:
        tried = run.threat.settle(tried, run.x)
    with torch.no_grad():
        margin = run.objective.margin(run.model(tried))
    there = torch.zeros_like(margin, dtype=torch.bool)
    likely = torch.nonzero(margin > 0).flatten()
    if len(likely):
        stored, _, sure = run.take(likely).settled(tried[likely])
        there[likely] = sure
        tried = tried.index_copy(0, likely[sure], stored[sure])
    return tried, margin, there
