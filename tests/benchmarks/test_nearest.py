"""The nearest adversarials of `ddn`, `cw-l2` and `fmn` against a search of 1,000 steps, and against Foolbox.

pytest tests/benchmarks/test_nearest.py --benchmark-enable

The networks are in ``unseen``: none of them was looked at while the attacks were developed. The long search
is the published DDN, written out here; its images, and those of Foolbox, are bisected on the 8-bit grid along
the line to the original. Distances are of rounded images. Nothing here is a time: the machine may be busy.
"""

from __future__ import annotations

from math import cos, pi
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

import harness
from harness.goals import ClassObjective
from harness.threat import Minimal, l2, linf
from tests.benchmarks.unseen import Setting, Sizes, Unseen, setting

FULL = Sizes(batches=300, images=4000, cases=32, long=1000, steps=50, peers=100, searches=(5, 100))
TINY = Sizes(batches=40, images=96, cases=3, long=4, steps=3, peers=3, searches=(1, 3))
NETWORKS = (
    Unseen("classes", 32),
    Unseen("classes", 64),
    Unseen("classes", 32, hardened=1.5),
    Unseen("attributes", 32),
    Unseen("attributes", 64),
    Unseen("attributes", 32, hardened=0.5),
    Unseen("embedding", 32),
    Unseen("embedding", 64),
    Unseen("embedding", 32, evades=True),
    Unseen("embedding", 32, hardened=0.5),
)
Norm = Literal["l2", "linf"]
LONGEST = 2.0
"""How far beyond a peer's image the line is tested, if rounding has undone it."""


def long_search(given: Setting, steps: int) -> Tensor:
    """Return the nearest images (B, C, H, W) of the published loop (Rony et al. 2019, algorithm 1)."""
    x, module = given.x, given.model.module
    objective = given.goal.objective(given.model, given.model.scores(x))
    change, best = torch.zeros_like(x), x.clone()
    radius, nearest = torch.ones(len(x)), torch.full((len(x),), torch.inf)
    for step in range(steps):
        start = (x + change).requires_grad_()
        outputs = module(start)
        value = objective.margin(outputs)
        there = value.detach() > 0
        if isinstance(objective, ClassObjective):  # elsewhere its slope is that of the margin
            value = torch.nn.functional.cross_entropy(outputs, objective.classes, reduction="none")
        (slope,) = torch.autograd.grad(value.sum(), start)
        length = change.flatten(1).norm(dim=1)
        better = there & (length < nearest)
        nearest = torch.where(better, length, nearest)
        best[better] = (x + change)[better]
        radius = radius * torch.where(there, 0.95, 1.05)
        size = 0.01 + 0.99 * (1 + cos(pi * step / steps)) / 2
        change = change + size * torch.nn.functional.normalize(slope.flatten(1), dim=1).view_as(x)
        change = change * (radius / change.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
        change = (x + change).clamp(0, 1) - x
    return best


def bisected(given: Setting, x_adv: Tensor, norm: Norm = "l2") -> Tensor:
    """Return (B,) how far the nearest rounded images on the lines to ``x_adv`` are, or infinity."""
    x, model = given.x, given.model
    objective = given.goal.objective(model, model.scores(x))

    def test(share: Tensor) -> tuple[Tensor, Tensor]:
        line = (x + share.view(-1, 1, 1, 1) * (x_adv - x)).clamp(0, 1)
        image = torch.round(line * 255) / 255
        return objective.reached(model.scores(image)), (l2 if norm == "l2" else linf)(image - x)

    low = torch.zeros(len(x))
    high, nearest = torch.full_like(low, torch.inf), torch.full_like(low, torch.inf)
    for stretch in (1.0, 1.01, 1.03, 1.1, 1.3, LONGEST):
        there, length = test(torch.full_like(low, stretch))
        first = there & high.isinf()
        high, nearest = torch.where(first, stretch, high), torch.where(first, length, nearest)
        low = torch.where(~there & high.isinf(), stretch, low)
    high = torch.where(high.isinf(), low, high)
    for _ in range(16):
        there, length = test((low + high) / 2)
        middle = (low + high) / 2
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
        nearest = torch.where(there, nearest.minimum(length), nearest)
    return nearest


def ours(given: Setting, name: str, norm: Norm = "l2", **params: Any) -> tuple[Tensor, float]:
    """Return (B,) how far rounded images are, infinite where they miss their goals, and passes of a case."""
    outcome = harness.attack(name, given.model, given.x, goal=given.goal, threat=Minimal(norm), **params)
    far = torch.tensor(outcome.distances[norm].to_numpy(), dtype=torch.float32)
    passes = float((outcome.forwards + outcome.backwards).float().mean())
    return torch.where(outcome.success, far, torch.inf), passes


def foolboxs(given: Setting, sizes: Sizes, norm: Norm = "l2") -> dict[str, Tensor]:
    """Return (B,) how far the rounded images of each attack are; the bridge shows any head to it."""
    steps = {"steps": sizes.peers}
    searches, iterations = sizes.searches
    calls: dict[str, dict[str, Any]] = {"LInfFMNAttack": steps}
    if norm == "l2":
        carlini = {"binary_search_steps": searches, "steps": iterations, "initial_const": 1.0}
        calls = {"DDNAttack": steps, "L2FMNAttack": steps, "L2CarliniWagnerAttack": carlini}
    real = Minimal(norm, levels=None)
    found = {}
    for name, params in calls.items():
        call = harness.attack(f"foolbox/{name}", given.model, given.x, goal=given.goal, threat=real, **params)
        assert call.errors == ("",) * len(given.x), call.errors
        found[name] = bisected(given, call.adversarials, norm)
    return found


@pytest.mark.benchmark(group="the nearest adversarial")
@pytest.mark.parametrize("kind", NETWORKS, ids=str)
def test_as_near_as_a_long_search(kind: Unseen, report: Any, sizes: Sizes) -> None:
    """DDN at 50 steps within 3 % and CW-L2 within 6 % of 1,000 steps, and nothing of Foolbox 1 % nearer."""
    pytest.importorskip("foolbox")
    given = setting(kind, sizes)
    assert len(given.x) == sizes.cases, "the network did not learn enough"
    longest = bisected(given, long_search(given, sizes.long))
    short = {} if sizes is FULL else {"iterations": 3, "warm_up": 3, "rescues": 1}
    ddn, passes = ours(given, "ddn", steps=sizes.steps)
    cw, more = ours(given, "cw-l2", **short)
    report(f"ddn, {kind}: passes", passes, "a case", at_most=115)
    report(f"cw-l2, {kind}: passes", more, "a case")
    report(f"1,000 steps, {kind}: mean L2", float(longest[longest.isfinite()].mean()), "of [0, 1]")
    rivals = foolboxs(given, sizes)
    for name, found, bar in (("ddn", ddn, 1.03), ("cw-l2", cw, 1.06)):
        report(f"{name}, {kind}: success", 100 * float(found.isfinite().float().mean()), "%", at_least=100)
        report(f"{name} / 1,000 steps, {kind}", ratio(found, longest), "times as far", at_most=bar)
        for rival, theirs in rivals.items():
            report(f"{name} / Foolbox's {rival}, {kind}", ratio(found, theirs), "times as far", at_most=1.01)


@pytest.mark.benchmark(group="the nearest adversarial")
@pytest.mark.parametrize("kind", NETWORKS, ids=str)
def test_fmn_is_as_near_as_foolboxs_in_l_infinity(kind: Unseen, report: Any, sizes: Sizes) -> None:
    """At equal steps, and both on the 8-bit grid, where distances are whole levels."""
    pytest.importorskip("foolbox")
    given = setting(kind, sizes)
    fmn, passes = ours(given, "fmn", "linf", steps=sizes.peers)
    theirs = foolboxs(given, sizes, "linf")["LInfFMNAttack"]
    report(f"fmn, {kind}: passes", passes, "a case")
    report(f"fmn, {kind}: success", 100 * float(fmn.isfinite().float().mean()), "%", at_least=100)
    report(f"fmn / Foolbox's LInfFMNAttack, {kind}", ratio(fmn, theirs), "times as far", at_most=1.01)


def ratio(some: Tensor, others: Tensor) -> float:
    """Return the ratio of the mean distances, over the cases that the others reached."""
    reached = others.isfinite()
    return float(some[reached].mean() / others[reached].mean())
