"""The standard attack is an ensemble: each member is run on the cases that those before it left.

For classes it is the standard version of AutoAttack (Croce and Hein 2020, https://arxiv.org/abs/2003.01690):
APGD on the cross-entropy, APGD on the targeted difference of logits ratio, FAB and Square Attack. For
decisions between two values (attributes, embeddings, two classes) the margin takes the place of the ratio.
docs/standard.md defines each version, so that others can implement and cite it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from harness.errors import AttackError
from harness.goals import ClassObjective, Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.apgd import apgd
from harness_attacks.best_images import Best
from harness_attacks.fab import fab
from harness_attacks.pgd import Run
from harness_attacks.square_attack import square_attack

Version = Literal["1"]
"""What docs/standard.md defines; results of different versions are not compared."""
MARGIN, RATIO = "apgd-margin", "apgd-t"


def standard(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    version: Version = "1",
    steps: Annotated[int, Ge(1)] = 100,
    restarts: Annotated[int, Ge(1)] = 1,
    targets: Annotated[int, Ge(1)] = 9,
    queries: Annotated[int, Ge(1)] = 5000,
) -> Tensor:
    """Return images (B, C, H, W) in the budget: the first that reaches its goal after rounding, or the best.

    A case leaves for good once its rounded image reaches the goal in float32. The records name the member
    that found it.

    Args:
        version: the definition in docs/standard.md. Only with the defaults of the other parameters are
            results those of the definition; smaller numbers are for trials.
        steps: the number of gradient steps of each run of APGD and FAB.
        restarts: the number of runs of every member.
        targets: the number of classes that targeted members go to, the likeliest first.
        queries: the number of queries of a run of Square Attack.

    Raises:
        AttackError: there is no budget.
    """
    if threat.eps is None or threat.norm is None:
        raise AttackError("standard needs a budget, such as harness.threats.Linf(8/255)")
    model = model.focus(objective)
    best = Best.of(x)
    sizes = Sizes(steps, restarts, targets, queries)
    for name, member in members(_has_many_classes(model, x, objective), sizes):
        rows = torch.nonzero(~best.reached).flatten()
        if not len(rows):
            break
        run = Run(model, x, objective, threat).take(rows)
        found = member(run.model, run.x, run.objective, run.threat, rng=rng.take(rows))
        stored, margin, there = run.settled(found)
        best.keep(rows, stored, margin, there)
        run.model.take(torch.nonzero(there).flatten()).found(by=name)
    return best.values


@dataclass(frozen=True)
class Sizes:
    """Sizes says how much each member may do; see ``standard``."""

    steps: int
    restarts: int
    targets: int
    queries: int


def members(many_classes: bool, sizes: Sizes) -> list[tuple[str, Callable[..., Tensor]]]:
    """Return the members in the order in which they are run, with their names in records."""
    gradient = partial(apgd, steps=sizes.steps, restarts=sizes.restarts)
    second: tuple[str, Callable[..., Tensor]] = (MARGIN, partial(gradient, loss="margin"))
    if many_classes:
        second = (RATIO, partial(gradient, loss="targeted-dlr", targets=sizes.targets))
    boundary = partial(fab, steps=sizes.steps, restarts=sizes.restarts, targets=sizes.targets)
    return [
        ("apgd-ce", partial(gradient, loss="cross-entropy")),
        second,
        ("fab", partial(boundary, early_stop=True)),
        ("square-attack", partial(square_attack, queries=sizes.queries, restarts=sizes.restarts)),
    ]


def _has_many_classes(model: Handle, x: Tensor, objective: Objective) -> bool:
    """Tell whether there are more than two classes; one image is asked about."""
    if not isinstance(objective, ClassObjective) or not len(x):
        return False
    with torch.no_grad():
        first = torch.zeros(1, dtype=torch.int64, device=x.device)
        return model.take(first)(x[:1]).shape[1] > 2
