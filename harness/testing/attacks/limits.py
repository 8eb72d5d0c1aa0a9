"""These checks run attacks where they cannot succeed: they must stop in time and return valid images."""

from __future__ import annotations

from dataclasses import replace

import torch

from harness.testing.attacks.promises import TOLERANCE, finite, place
from harness.testing.attacks.subject import AttackSubject
from harness.testing.contract import ContractFailure, Inapplicable, require
from harness.testing.problems.difficult import reached_already, with_nan
from harness.testing.problems.linear import linear_classes, linear_scores
from harness.testing.problems.problem import Problem
from harness.testing.problems.quadratic import quadratic_embedding
from harness.threat import linf

ON_THE_EDGE = (0.95, 0.98, 1.0, 1.01, 1.02, 1.04, 1.05, 1.06)
"""Distances, in units of the usual budget, of goals around that budget plus half an 8-bit level."""
HALF_A_LEVEL_MORE = 8.5 / 8
"""The usual budget plus half an 8-bit level, relative to it: rounding undoes what just reaches such goals."""


def reached(subject: AttackSubject, head: str) -> None:
    """A goal that is already reached stays reached, and a minimum-norm attack changes nothing for it."""
    if head == "attributes":
        raise Inapplicable("a flip is never reached before the attack")
    if subject.universal or subject.spec.region:
        raise Inapplicable("it makes one change for all images, or replaces a region")
    for problem in reached_already(subject.problems(head)[0]):
        for threat in subject.threats():
            run = subject.run(problem, threat)
            finite(run)
            lost = torch.nonzero(~run.trial.verdict.reached).flatten().tolist()
            require(
                not lost,
                f"{place(run, threat)}: case {(*lost, 0)[0]} no longer reaches its goal; return the best "
                "image of all, including the original",
            )
            most = float(linf(run.change).max())
            require(
                threat.eps is not None or most < 0.5 / 255,
                f"{place(run, threat)}: an image that has reached its goal is changed by {most:.3g}; "
                "return the original",
            )


def constant_model(subject: AttackSubject, head: str) -> None:
    """On a model with constant outputs the attack stops, returns valid images, and has no success."""
    problem = subject.unreachable(head)
    for threat in subject.threats():
        run = subject.once(problem, threat)
        finite(run)
        require(
            not run.trial.verdict.success.any(),
            f"{place(run, threat)}: a success, although the model's outputs are constant; keep to the budget "
            "and to the pixels in [0, 1]",
        )


def nan_model(subject: AttackSubject, head: str) -> None:
    """Outputs that are not finite are never a success, and do not affect the other cases of the batch."""
    problem = subject.problems(head)[0]
    _all_lost(subject, problem)
    if not subject.universal:
        _some_lost(subject, problem)


def passes(subject: AttackSubject, head: str) -> None:
    """The attack makes no more passes per case than its spec forecasts."""
    if subject.passes is None:
        raise Inapplicable("its spec forecasts no passes, so `harness plan` cannot show its cost")
    edge = _on_the_edge(subject, head)
    for problem in [subject.problems(head)[-1], edge, subject.unreachable(head)]:
        for threat in subject.threats():
            if problem is edge and threat.eps is not None:
                threat = replace(threat, eps=HALF_A_LEVEL_MORE * threat.eps)
            trial = subject.once(problem, threat).trial
            _check_forecast(subject, trial.forwards, trial.backwards, f"on {problem.name}, {threat.label}")


def _on_the_edge(subject: AttackSubject, head: str) -> Problem:
    """Return a problem whose goals lie near the end of the budget."""
    if head == "attributes":
        return linear_scores(subject.shape, ON_THE_EDGE)
    if head == "classes":
        return linear_classes(subject.shape, ON_THE_EDGE)
    return quadratic_embedding(subject.shape, ON_THE_EDGE, towards=False)


def _check_forecast(
    subject: AttackSubject, forwards: torch.Tensor, backwards: torch.Tensor, where: str
) -> None:
    if subject.passes is None or not len(forwards):
        return
    for most, spent, name in zip(subject.passes, (forwards, backwards), ("forward", "backward"), strict=True):
        require(
            spent.max() <= most,
            f"{where}: {int(spent.max())} {name} passes for a case, but the spec forecasts at most {most:g}; "
            "correct AttackSpec.passes",
        )


def _all_lost(subject: AttackSubject, problem: Problem) -> None:
    difficult, _ = with_nan(problem, everywhere=True)
    for threat in subject.threats():
        try:
            trial = subject.run(difficult, threat).trial
        except ContractFailure as failure:
            if isinstance(failure.__cause__, ContractFailure):
                raise  # the attack did not stop
            continue  # an exception is recorded as an error, and the batch has no other cases
        require(
            not trial.verdict.success.any() and all(trial.verdict.errors),
            f"on {difficult.name}, {threat.label}: a case whose outputs are not finite is not an error",
        )


def _some_lost(subject: AttackSubject, problem: Problem) -> None:
    difficult, lost = with_nan(problem, everywhere=False)
    for threat in subject.threats(levels=None):
        run = subject.run(difficult, threat)
        errors = run.trial.verdict.errors
        require(
            [bool(error) for error in errors] == lost.tolist(),
            f"{place(run, threat)}: the cases whose outputs are not finite are {lost.tolist()}, but the "
            f"errors are {list(errors)}",
        )
        alone = subject.run(difficult.part(slice(0, None, 2)), threat)
        apart = (alone.returned - run.returned[~lost]).abs().flatten(1).amax(1)
        case = int(apart.argmax())
        require(
            apart[case] <= TOLERANCE,
            f"{place(run, threat)}: the image of case {2 * case} changes by {float(apart[case]):.3g} in a "
            "batch with cases whose outputs are not finite; use no statistic of the batch",
        )
