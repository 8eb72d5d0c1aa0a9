"""Whether an attack is sound: how near it comes to what is known to be possible.

Three kinds are told apart. One with the trait "unbounded" finds the smallest change there is, in each of its
norms. Another one that sees gradients and looks for a small change may search a line: where one direction is
right all the way, its change is the smallest in L2 (along the gradient) or in L-infinity (along its sign).
One with a fixed budget reaches what lies inside. An attack that sees no gradients must find something. What
is declared "random" promises none of this.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from harness.goals import FlipObjective, Untargeted
from harness.testing.attacks.promises import place
from harness.testing.attacks.subject import AttackSubject, Ran, not_universal
from harness.testing.contract import Inapplicable, require
from harness.testing.problems.ball import embedded_ball
from harness.testing.problems.linear import Linear, linear_classes, linear_scores
from harness.testing.problems.problem import Problem
from harness.threat import GREY_LEVELS, Threat

TOLERATED = 0.02
"""Of the smallest distance."""
SURE = 0.9
"""Of the budget: goals nearer than this are reached."""
NUMERICAL = 1e-3
"""Of the smallest distance: what float32 may take from it."""


def distance(subject: AttackSubject, head: str) -> None:
    """A minimal attack comes within 2 % of the smallest distance, on linear and quadratic models."""
    _looks_for_a_direction(subject)
    not_universal(subject)
    if subject.spec.region or not subject.spec.norms:
        raise Inapplicable("it has no norm in which a distance is known")
    if subject.spec.budget == "fixed":
        raise Inapplicable("it keeps to a budget, and looks for no smallest change")
    for norm in subject.spec.norms:
        threat = subject.armed(Threat(norm, levels=None))
        if "unbounded" in subject.spec.traits:
            for problem in subject.problems(head):
                _smallest(subject.run(problem, threat), threat)
        elif subject.spec.access == "gradients":
            _smallest_on_its_line(subject.run(straight(subject, head), threat), threat)
        else:
            ran = subject.run(subject.problems(head)[0], threat)
            _possible(ran, threat)
            _something(ran, threat, ran.trial.verdict.reached)


def goals(subject: AttackSubject, head: str) -> None:
    """On a linear model it reaches the goals that its budget or its region lets it, and none beyond."""
    _looks_for_a_direction(subject)
    if subject.universal and head != "attributes":
        raise Inapplicable("what one change can do is known of one score only")
    if subject.spec.region or not subject.spec.norms:
        _inside_the_region(subject, head)
        return
    if subject.spec.budget == "minimal":
        raise Inapplicable("it looks for the smallest change, and keeps to no budget")
    sees = subject.spec.access == "gradients"
    for norm in subject.spec.norms:
        problem = straight(subject, head)
        nearest = problem.distance(norm).sort().values
        eps = float(nearest[len(problem) // 2 - 1]) / (SURE - 0.005) * (1 if sees else 2)
        threat = subject.armed(Threat(norm, eps, levels=None))
        ran = subject.run(problem, threat)
        _possible(ran, threat)
        near = ran.problem.distance(norm) < SURE * eps
        missed = torch.nonzero(near & ~ran.trial.verdict.success).flatten().tolist()
        if not sees:
            _something(ran, threat, ran.trial.verdict.success)
            continue
        require(
            not missed,
            f"{place(ran, threat)}: misses {len(missed)} of {int(near.sum())} goals that a change of "
            f"{SURE:g} eps reaches; {_margin(ran, missed)}climb objective.margin, with steps that "
            "together cross the budget",
        )


def straight(subject: AttackSubject, head: str) -> Problem:
    """A problem on which one direction is right: in L2 that of the gradient, in L-infinity its sign.

    Of embeddings, evasion: straight away from the anchor.
    """
    if head == "attributes":
        one = subject.universal
        return linear_scores(subject.shape, attributes=1 if one else 4, one_way=one)
    if head == "classes":
        return linear_classes(subject.shape, classes=2)
    return embedded_ball(subject.shape, towards=False)


def _looks_for_a_direction(subject: AttackSubject) -> None:
    if "random" in subject.spec.traits:
        raise Inapplicable("it looks for no direction, and says so")


def _inside_the_region(subject: AttackSubject, head: str) -> None:
    """Without a norm, pixels there may become anything: a linear margin is then largest in a corner."""
    if head == "embedding" or subject.spec.access != "gradients":
        raise Inapplicable("what its region can reach is known of linear scores that show their gradients")
    threat = subject.armed(Threat(None, levels=None))
    ran = subject.run(straight(subject, head), threat)
    problem = ran.problem
    clean = ran.trial.objective.margin(ran.trial.clean)
    best = largest_margin(problem, threat)
    near = clean + SURE * (best - clean) > 0
    missed = torch.nonzero(near & ~ran.trial.verdict.success).flatten().tolist()
    require(
        not missed,
        f"{place(ran, threat)}: misses {len(missed)} of {int(near.sum())} goals that {100 * SURE:g} "
        "% of what the "
        f"region allows reaches; {_margin(ran, missed)}climb objective.margin for longer",
    )
    beyond = torch.nonzero((best < -NUMERICAL) & ran.trial.verdict.success).flatten().tolist()
    require(not beyond, f"{place(ran, threat)}: case {(*beyond, 0)[0]} reaches a goal that nothing there can")


def largest_margin(problem: Problem, threat: Threat) -> Tensor:
    """(B,) the largest margin on a linear problem of what the box and the threat's mask or masks allow."""
    x = problem.x
    assert isinstance(problem.model.module, Linear)
    weight = problem.model.module.weight.detach().view(-1, *x.shape[1:])
    outputs = problem.model.scores(x)
    objective = problem.goal.objective(problem.model, outputs)
    masks = torch.ones(1, *x.shape[2:], dtype=torch.bool) if threat.mask is None else threat.mask
    masks = masks if masks.ndim == 3 else masks[None]
    best = torch.full((len(x),), -torch.inf)
    # The margin of classes is the largest of differences, each of them linear; a score's is linear itself.
    for output in range(len(weight)):
        if isinstance(objective, FlipObjective):
            slope = weight[objective.columns] * torch.where(objective.present, -1.0, 1.0).view(-1, 1, 1, 1)
            margin = objective.margin(outputs)
        else:
            assert isinstance(problem.goal, Untargeted)
            own = problem.goal.labels
            slope = weight[output] - weight[own]
            margin = (outputs[:, output] - outputs.gather(1, own[:, None])[:, 0]).masked_fill(
                own == output, -torch.inf
            )
        gain = torch.where(slope > 0, slope * (1 - x), -slope * x).sum(1)  # (B, H, W)
        for mask in masks:
            best = best.maximum(margin + gain.masked_fill(~mask, 0).flatten(1).sum(1))
    return best


def _smallest(ran: Ran, threat: Threat) -> None:
    _all_reached(ran, threat)
    _possible(ran, threat)
    found = threat.distance(ran.change.double())
    excess = found / ran.problem.distance(threat.norm) - 1
    case = int(excess.argmax())
    require(
        excess[case] <= TOLERATED,
        f"{place(ran, threat)}: case {case} is changed by {float(found[case]):.4g}, "
        f"{100 * float(excess[case]):.1f} % more than the smallest change that reaches its goal; "
        "search longer, "
        'or leave out the trait "unbounded"',
    )


def _smallest_on_its_line(ran: Ran, threat: Threat) -> None:
    _all_reached(ran, threat)
    _possible(ran, threat)
    change, problem = ran.change.double(), ran.problem
    of_l2 = replace(threat, norm="l2").distance(change) / problem.l2 - 1
    found = replace(threat, norm="linf").distance(change)
    of_linf = found / problem.linf - 1
    # Who searches whole grey levels ends less than one beyond the smallest.
    whole = found < problem.linf + 1 / GREY_LEVELS
    good = (of_l2 <= TOLERATED) | (of_linf <= TOLERATED) | whole
    case = int((~good).long().argmax())
    require(
        good.all(),
        f"{place(ran, threat)}: case {case} is changed by {100 * float(of_l2[case]):.2f} % more "
        "than the smallest "
        f"change in L2 and {100 * float(of_linf[case]):.2f} % in L-infinity; in neither norm is it "
        f"within {100 * TOLERATED:g} %, where the gradient shows the way",
    )


def _all_reached(ran: Ran, threat: Threat) -> None:
    missed = torch.nonzero(~ran.trial.verdict.success).flatten().tolist()
    require(
        not missed,
        f"{place(ran, threat)}: {len(missed)} of {len(ran.problem)} goals are missed, and nothing bounds the "
        f"change; {_margin(ran, missed)}the gradient leads there",
    )


def _something(ran: Ran, threat: Threat, found: Tensor) -> None:
    require(
        found.any(),
        f"{place(ran, threat)}: none of {len(found)} goals is reached, the nearest at "
        f"{float(ran.problem.distance(threat.norm).min()):.3g}; allow it more queries, or declare the trait "
        '"random"',
    )


def _possible(ran: Ran, threat: Threat) -> None:
    """Closed forms bound every attack: one that does better has made the model or the judge err."""
    nearest = ran.problem.distance(threat.norm)
    found = threat.distance(ran.change.double())
    impossible = ran.trial.verdict.success & (found < nearest * (1 - NUMERICAL))
    case = int(impossible.long().argmax())
    require(
        not impossible.any(),
        f"{place(ran, threat)}: case {case} reaches its goal by {float(found[case]):.4g}, and nothing below "
        f"{float(nearest[case]):.4g} can; what was judged is not what the model saw",
    )


def _margin(ran: Ran, cases: list[int]) -> str:
    return f"case {cases[0]} ends {-float(ran.trial.verdict.margin[cases[0]]):.3g} short; " if cases else ""
