"""These checks compare what an attack reaches with what is known to be possible.

An attack with the trait "unbounded" must find the smallest change, in each of its norms. Another minimum-norm
attack with gradients may search along one line: on problems where the gradient leads straight to the nearest
adversarial, its change must be the smallest in L2 (along the gradient) or in L-infinity (along its sign). An
attack with a fixed budget must reach the goals inside it. An attack without gradients must reach one goal.
Attacks with the trait "random" are not compared.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from harness.goals import FlipObjective, Untargeted
from harness.testing.attacks.promises import place, targeted
from harness.testing.attacks.subject import AttackSubject, ProblemRun, require_not_universal
from harness.testing.contract import Inapplicable, require
from harness.testing.problems.linear import Linear, linear_classes, linear_scores
from harness.testing.problems.problem import Problem
from harness.threat import GREY_LEVELS, Threat

TOLERATED = 0.02
"""The largest excess over the smallest distance, relative to it."""
SURE = 0.9
"""The share of the budget inside which all goals must be reached."""
CLIMB = "ascend objective.margin, or descend objective.loss where objective.ascend is false"
NUMERICAL = 1e-3
"""The largest error of float32 in a distance, relative to it."""


def distance(subject: AttackSubject, head: str) -> None:
    """A minimum-norm attack comes within 2 % of the smallest distance, on linear and quadratic models."""
    _require_direction(subject)
    require_not_universal(subject)
    if subject.spec.region or not subject.spec.norms:
        raise Inapplicable("it has no norm, or a region of its own, so that no smallest distance is known")
    if subject.spec.budget == "fixed":
        raise Inapplicable("it keeps to a budget, and does not look for the smallest change")
    for norm in subject.spec.norms:
        threat = subject.restricted(Threat(norm, levels=None))
        if "unbounded" in subject.spec.traits:
            for problem in subject.problems(head):
                _require_smallest(subject.once(problem, threat), threat)
        elif subject.spec.access == "gradients":
            _require_smallest_on_line(subject.once(one_direction(subject, head), threat), threat)
        else:
            run = subject.once(subject.problems(head)[0], threat)
            _require_possible(run, threat)
            _require_one_success(run, threat, run.trial.verdict.reached)


def goals(subject: AttackSubject, head: str) -> None:
    """On a linear model the attack reaches the goals inside its budget or its region, and no others."""
    _require_direction(subject)
    if subject.universal and head != "attributes":
        raise Inapplicable("the largest effect of a universal change is known for one score only")
    if subject.spec.region or not subject.spec.norms:
        _inside_the_region(subject, head)
        return
    if subject.spec.budget == "minimal":
        raise Inapplicable("it looks for the smallest change, and does not keep to a budget")
    sees = subject.spec.access == "gradients"
    for norm in subject.spec.norms:
        problem = one_direction(subject, head)
        nearest = problem.distance(norm).sort().values
        eps = float(nearest[len(problem) // 2 - 1]) / (SURE - 0.005) * (1 if sees else 2)
        threat = subject.restricted(Threat(norm, eps, levels=None))
        run = subject.run(problem, threat)
        _require_possible(run, threat)
        near = run.problem.distance(norm) < SURE * eps
        missed = torch.nonzero(near & ~run.trial.verdict.success).flatten().tolist()
        if not sees:
            _require_one_success(run, threat, run.trial.verdict.success)
            continue
        require(
            not missed,
            f"{place(run, threat)}: misses {len(missed)} of {int(near.sum())} goals that a change of "
            f"{SURE:g} eps reaches; {_shortfall(run, missed)}ascend objective.margin, with steps whose sum "
            "is larger than the budget",
        )


def direction(subject: AttackSubject, head: str) -> None:
    """Every kind of goal comes nearer, whichever way it lies: also a named class, and another person."""
    _require_direction(subject)
    require_not_universal(subject)
    if subject.spec.access == "decisions":
        raise Inapplicable("decisions do not tell whether a goal comes nearer")
    if head == "embedding" and (subject.spec.region or not subject.spec.norms):
        raise Inapplicable("a change without bounds may lead past another person")
    problems = subject.problems(head) if head == "embedding" else subject.problems(head)[:1]
    for problem in [*problems, *targeted(subject, head)]:
        for threat in subject.threats(levels=None):
            if threat.eps is None and threat.norm is not None:
                if head != "embedding":  # along one line, not every embedding is met
                    _require_some_success(subject.once(problem, threat), threat)
            else:
                _require_nearer(subject.once(problem, threat), threat)


def _require_nearer(run: ProblemRun, threat: Threat) -> None:
    """Require that no goal is further away than before, and that some goals are nearer."""
    before, after = run.trial.objective.margin(run.trial.clean), run.trial.verdict.margin
    gain = after - before
    case = int(gain.argmin())
    require(
        gain[case] > -NUMERICAL and (gain > 0).any(),
        f"{place(run, threat)}: the goal of case {case} comes no nearer: its margin is "
        f"{float(before[case]):.3g} before and {float(after[case]):.3g} after; {CLIMB}",
    )


def _require_some_success(run: ProblemRun, threat: Threat) -> None:
    margin = float(run.trial.verdict.margin.max())
    require(
        run.trial.verdict.success.any(),
        f"{place(run, threat)}: no goal is reached, and the largest margin is {margin:.3g}; {CLIMB}",
    )


def one_direction(subject: AttackSubject, head: str) -> Problem:
    """Return a problem whose nearest adversarials lie along the gradient (L2) or its sign (L-infinity).

    For embeddings this is evasion: the nearest adversarial lies straight away from the anchor.
    """
    if head == "attributes":
        one = subject.universal
        return linear_scores(subject.shape, attributes=1 if one else 4, one_way=one)
    if head == "classes":
        return linear_classes(subject.shape, classes=2)
    return subject.problems(head)[1]


def _require_direction(subject: AttackSubject) -> None:
    if "random" in subject.spec.traits:
        raise Inapplicable('it declares the trait "random", and so looks for no direction')


def _inside_the_region(subject: AttackSubject, head: str) -> None:
    """Require the goals that a region allows: without a norm, a linear margin is largest at pixels 0 or 1."""
    if head == "embedding" or subject.spec.access != "gradients":
        raise Inapplicable("the goals that its region allows are known for linear scores with gradients only")
    threat = subject.restricted(Threat(None, levels=None))
    run = subject.run(one_direction(subject, head), threat)
    problem = run.problem
    clean = run.trial.objective.margin(run.trial.clean)
    best = largest_margin(problem, threat)
    near = clean + SURE * (best - clean) > 0
    missed = torch.nonzero(near & ~run.trial.verdict.success).flatten().tolist()
    require(
        not missed,
        f"{place(run, threat)}: misses {len(missed)} of {int(near.sum())} goals that {100 * SURE:g} % of the "
        f"change that its region allows reaches; {_shortfall(run, missed)}ascend objective.margin for longer",
    )
    beyond = torch.nonzero((best < -NUMERICAL) & run.trial.verdict.success).flatten().tolist()
    require(
        not beyond,
        f"{place(run, threat)}: case {(*beyond, 0)[0]} reaches a goal that no change in the region reaches",
    )


def largest_margin(problem: Problem, threat: Threat) -> Tensor:
    """Return (B,) the largest margins, on a linear problem, of images in [0, 1] that the masks allow."""
    x = problem.x
    assert isinstance(problem.model.module, Linear)
    weight = problem.model.module.weight.detach().view(-1, *x.shape[1:])
    outputs = problem.model.scores(x)
    objective = problem.goal.objective(problem.model, outputs)
    masks = torch.ones(1, *x.shape[2:], dtype=torch.bool) if threat.mask is None else threat.mask
    masks = masks if masks.ndim == 3 else masks[None]
    best = torch.full((len(x),), -torch.inf)
    # The margin of a score is linear; the margin of classes is the largest of several linear differences.
    for output in range(len(weight)):
        if isinstance(objective, FlipObjective):
            gradient = weight[objective.columns] * torch.where(objective.present, -1.0, 1.0).view(-1, 1, 1, 1)
            margin = objective.margin(outputs)
        else:
            assert isinstance(problem.goal, Untargeted)
            own = problem.goal.labels
            gradient = weight[output] - weight[own]
            margin = (outputs[:, output] - outputs.gather(1, own[:, None])[:, 0]).masked_fill(
                own == output, -torch.inf
            )
        gain = torch.where(gradient > 0, gradient * (1 - x), -gradient * x).sum(1)  # (B, H, W)
        for mask in masks:
            best = best.maximum(margin + gain.masked_fill(~mask, 0).flatten(1).sum(1))
    return best


def _require_smallest(run: ProblemRun, threat: Threat) -> None:
    _require_all_reached(run, threat)
    _require_possible(run, threat)
    found = threat.distance(run.change.double())
    excess = found / run.problem.distance(threat.norm) - 1
    case = int(excess.argmax())
    require(
        excess[case] <= TOLERATED,
        f"{place(run, threat)}: case {case} is changed by {float(found[case]):.4g}, "
        f"{100 * float(excess[case]):.1f} % more than the smallest change that reaches its goal; search for "
        'longer, or do not declare the trait "unbounded"',
    )


def _require_smallest_on_line(run: ProblemRun, threat: Threat) -> None:
    _require_all_reached(run, threat)
    _require_possible(run, threat)
    change, problem = run.change.double(), run.problem
    of_l2 = replace(threat, norm="l2").distance(change) / problem.l2 - 1
    found = replace(threat, norm="linf").distance(change)
    of_linf = found / problem.linf - 1
    # A search in whole 8-bit levels ends less than one level beyond the smallest change.
    whole = found < problem.linf + 1 / GREY_LEVELS
    good = (of_l2 <= TOLERATED) | (of_linf <= TOLERATED) | whole
    case = int((~good).long().argmax())
    require(
        good.all(),
        f"{place(run, threat)}: case {case} is changed by {100 * float(of_l2[case]):.2f} % more than the "
        f"smallest change in L2 and {100 * float(of_linf[case]):.2f} % in L-infinity, and in neither norm "
        f"within {100 * TOLERATED:g} %, although the gradient or its sign leads straight to the goal",
    )


def _require_all_reached(run: ProblemRun, threat: Threat) -> None:
    missed = torch.nonzero(~run.trial.verdict.success).flatten().tolist()
    require(
        not missed,
        f"{place(run, threat)}: {len(missed)} of {len(run.problem)} goals are missed, although no budget "
        f"bounds the change; {_shortfall(run, missed)}follow the gradient",
    )


def _require_one_success(run: ProblemRun, threat: Threat, found: Tensor) -> None:
    require(
        found.any(),
        f"{place(run, threat)}: none of {len(found)} goals is reached, although the nearest is at a distance "
        f"of {float(run.problem.distance(threat.norm).min()):.3g}; allow more queries, or declare the trait "
        '"random"',
    )


def _require_possible(run: ProblemRun, threat: Threat) -> None:
    """Require that no image is nearer than the smallest distance, as only a wrong judgement allows."""
    nearest = run.problem.distance(threat.norm)
    found = threat.distance(run.change.double())
    impossible = run.trial.verdict.success & (found < nearest * (1 - NUMERICAL))
    case = int(impossible.long().argmax())
    require(
        not impossible.any(),
        f"{place(run, threat)}: case {case} reaches its goal with a change of {float(found[case]):.4g}, but "
        f"no change below {float(nearest[case]):.4g} can; the model saw another image than the judge",
    )


def _shortfall(run: ProblemRun, cases: list[int]) -> str:
    """Return a part of a failure's line: the margin of the first case that misses its goal."""
    return (
        f"case {cases[0]} ends with margin {float(run.trial.verdict.margin[cases[0]]):.3g}; " if cases else ""
    )
