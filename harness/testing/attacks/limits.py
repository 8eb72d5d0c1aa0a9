"""What an attack does where there is nothing to win: it stops, in time, and spoils nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from harness.testing.attacks.promises import TOLERANCE, finite, place
from harness.testing.attacks.subject import AttackSubject
from harness.testing.contract import ContractFailure, Inapplicable, require
from harness.testing.problems.ball import embedded_ball
from harness.testing.problems.difficult import constant, reached_already, with_nan
from harness.testing.problems.linear import linear_classes, linear_scores
from harness.testing.problems.problem import Problem
from harness.threat import linf

ON_THE_EDGE = (0.95, 0.98, 1.0, 1.01, 1.02, 1.04, 1.05, 1.06)
"""Distances, in units of the usual budget, of goals that a budget of half a grey level more reaches."""
HALF_A_LEVEL_MORE = 8.5 / 8
"""Of the usual budget: what just reaches its goal there loses it when it is rounded."""


def reached(subject: AttackSubject, head: str) -> None:
    """A goal that is reached already stays so, and a minimal attack changes nothing for it."""
    if head == "attributes":
        raise Inapplicable("a decision is flipped away from what it is")
    if subject.universal or subject.spec.region:
        raise Inapplicable("one change, or one region, serves all its images")
    for problem in reached_already(subject.problems(head)[0]):
        for threat in subject.threats():
            ran = subject.run(problem, threat)
            finite(ran)
            lost = torch.nonzero(~ran.trial.verdict.reached).flatten().tolist()
            require(
                not lost,
                f"{place(ran, threat)}: case {(*lost, 0)[0]} no longer reaches its goal; keep the "
                "best image, "
                "the original included",
            )
            most = float(linf(ran.change).max())
            require(
                threat.eps is not None or most < 0.5 / 255,
                f"{place(ran, threat)}: changes by {most:.3g} what needs no change; return the original",
            )


def constant_model(subject: AttackSubject, head: str) -> None:
    """On a model that always answers the same it stops, returns valid images, and succeeds nowhere."""
    problem = constant(subject.problems(head)[0])
    for threat in subject.threats():
        ran = subject.run(problem, threat)
        finite(ran)
        require(
            not ran.trial.verdict.success.any(),
            f"{place(ran, threat)}: a success on a model that cannot be changed",
        )
        _in_time(subject, ran.trial.forwards, ran.trial.backwards, place(ran, threat))


def nan_model(subject: AttackSubject, head: str) -> None:
    """Answers that are not finite never count, and do not spoil the cases beside them."""
    problem = subject.problems(head)[0]
    _all_lost(subject, problem)
    if not subject.universal:
        _some_lost(subject, problem)


def passes(subject: AttackSubject, head: str) -> None:
    """It makes no more passes per case than its spec forecasts."""
    if subject.passes is None:
        raise Inapplicable("its spec gives no forecast: add passes, and `harness plan` can tell its cost")
    for problem in [subject.problems(head)[-1], edge := _on_the_edge(subject, head)]:
        for threat in subject.threats():
            if problem is edge and threat.eps is not None:
                threat = replace(threat, eps=HALF_A_LEVEL_MORE * threat.eps)
            trial = subject.run(problem, threat).trial
            _in_time(subject, trial.forwards, trial.backwards, f"on {problem.name}, {threat.label}")


def _on_the_edge(subject: AttackSubject, head: str) -> Problem:
    """Cases whose goals lie where the budget ends."""
    if head == "attributes":
        return linear_scores(subject.shape, ON_THE_EDGE)
    if head == "classes":
        return linear_classes(subject.shape, ON_THE_EDGE)
    return embedded_ball(subject.shape, ON_THE_EDGE, towards=False)


def _in_time(subject: AttackSubject, forwards: torch.Tensor, backwards: torch.Tensor, where: str) -> None:
    if subject.passes is None or not len(forwards):
        return
    for most, spent, name in zip(subject.passes, (forwards, backwards), ("forward", "backward"), strict=True):
        require(
            spent.max() <= most,
            f"{where}: {int(spent.max())} {name} passes for a case, and the spec forecasts {most:g} at most; "
            "correct AttackSpec.passes",
        )


def _all_lost(subject: AttackSubject, problem: Problem) -> None:
    difficult, _ = with_nan(problem, everywhere=True)
    for threat in subject.threats():
        try:
            trial = subject.run(difficult, threat).trial
        except ContractFailure as failure:
            if isinstance(failure.__cause__, ContractFailure):
                raise  # it did not stop
            continue  # an error is recorded, and there are no other cases that it could cost
        require(
            not trial.verdict.success.any() and all(trial.verdict.errors),
            f"on {difficult.name}, {threat.label}: a case without an answer is no error",
        )


def _some_lost(subject: AttackSubject, problem: Problem) -> None:
    difficult, lost = with_nan(problem, everywhere=False)
    for threat in subject.threats(levels=None):
        ran = subject.run(difficult, threat)
        errors = ran.trial.verdict.errors
        require(
            [bool(error) for error in errors] == lost.tolist(),
            f"{place(ran, threat)}: the cases without an answer are {lost.tolist()}, the errors "
            f"{list(errors)}",
        )
        alone = subject.run(difficult.part(slice(0, None, 2)), threat)
        apart = (alone.returned - ran.returned[~lost]).abs().flatten(1).amax(1)
        case = int(apart.argmax())
        require(
            apart[case] <= TOLERANCE,
            f"{place(ran, threat)}: case {2 * case} has an answer, and comes out otherwise, by "
            f"{float(apart[case]):.3g}, beside cases that have none; let nothing of the batch decide",
        )
