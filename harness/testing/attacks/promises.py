"""These checks cover what every attack promises: valid images for every batch, and no side effects."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from harness.goals import Targeted, Untargeted
from harness.testing.attacks.subject import AttackSubject, ProblemRun, Refusal, require_not_universal
from harness.testing.contract import ContractFailure, Inapplicable, require
from harness.testing.problems.difficult import WithDropout, at_the_edges, with_module
from harness.testing.problems.problem import Problem, eps_of
from harness.threat import FLOAT_TOLERANCE, GREY_LEVELS, Threat

TOLERANCE = 1e-3
"""The largest change of a component that the rest of the batch may cause: a quarter of an 8-bit level."""

_AGAIN = 4
"""How many runs with one seed must agree before a difference is laid to a global generator's state: runs that
start from the clock often end in the same corner of the budget."""


def images(subject: AttackSubject, head: str) -> None:
    """The attack returns finite floating-point images of the right shape, for each head, goal and threat."""
    for problem in [*subject.problems(head), *targeted(subject, head)]:
        for threat in subject.threats():
            finite(subject.once(problem, threat))


def pixel_range(subject: AttackSubject, head: str) -> None:
    """Images stay in [0, 1], also if pixels of the originals are 0 or 1."""
    problem = at_the_edges(subject.problems(head)[0])
    for threat in subject.threats():
        if threat.eps is not None:
            threat = replace(threat, eps=8 * threat.eps)
        run = subject.run(problem, threat)
        finite(run)
        low, high = float(run.returned.min()), float(run.returned.max())
        require(
            low >= -FLOAT_TOLERANCE and high <= 1 + FLOAT_TOLERANCE,
            f"{place(run, threat)}: pixels are from {low:.4g} to {high:.4g}; clamp to [0, 1], or return "
            "threat.project(x_adv, x)",
        )


def budget(subject: AttackSubject, head: str) -> None:
    """The change is never larger than eps, in each norm that the spec declares."""
    if not subject.spec.norms:
        raise Inapplicable("no norm bounds its changes")
    if subject.spec.budget == "minimal":
        raise Inapplicable("its eps bounds which images count as a success, not which images it returns")
    for norm in subject.spec.norms:
        for share in (0.19, 1.0, 4.1):
            for levels in (None, GREY_LEVELS):
                threat = Threat(norm, share * eps_of(norm, subject.shape), levels=levels)
                _no_fault(subject, subject.problems(head)[0], subject.restricted(threat), "over the budget")


def region(subject: AttackSubject, head: str) -> None:
    """Pixels outside the mask do not change, with one mask or one per case; or the mask is refused."""
    problem = subject.problems(head)[0]
    for threat in subject.threats(levels=None):
        if subject.spec.region:
            _no_fault(subject, problem, threat, "outside the region")
            continue
        height, width = subject.shape[1:]
        left = torch.zeros(height, width, dtype=torch.bool)
        left[:, : width // 2] = True
        by_case = torch.stack([left, ~left, left | True]).repeat(len(problem), 1, 1)[: len(problem), None]
        for mask in (left, by_case):
            try:
                _no_fault(subject, problem, replace(threat, mask=mask), "outside the region")
            except Refusal as refusal:
                raise Inapplicable(f"it refuses a mask: {refusal.__cause__}") from refusal


def inputs(subject: AttackSubject, head: str) -> None:
    """The attack changes neither images nor parameters, nor the model's weights, buffers, mode or code."""
    problem = subject.problems(head)[0].part(slice(0, 4))
    sensitive = WithDropout(problem.model.module, subject.shape[0])
    problem = with_module(problem, sensitive, f"{problem.name} behind batch normalisation and dropout")
    before = deepcopy(subject.parameters)
    for threat in subject.threats():
        subject.run(problem, threat)  # the trial itself checks the images and the model
    require(before == subject.parameters, "the attack changed the value of a parameter; copy it first")


def empty(subject: AttackSubject, head: str) -> None:
    """The attack returns an empty batch for an empty batch."""
    for problem in subject.problems(head):
        for threat in subject.threats():
            run = subject.run(problem.part(slice(0, 0)), threat)
            require(
                len(run.returned) == 0, f"{place(run, threat)}: {len(run.returned)} images for an empty batch"
            )


def batch_independence(subject: AttackSubject, head: str) -> None:
    """A case's image does not depend on the rest of its batch: batches of 8, of 3 and of 1 agree."""
    require_not_universal(subject)
    problem, rugged = subject.problems(head)[0], subject.rugged(head)
    last = len(problem) - 1
    for threat in subject.threats(levels=None):
        together = subject.once(problem, threat).returned
        for rows in (slice(0, 3), slice(3, 6), slice(0, 1), slice(last, last + 1)):
            _same_images(subject, problem, threat, together, rows, share=0)
        together = subject.run(rugged, threat).returned
        for rows in (slice(0, 2), slice(2, 4)):  # the case with the largest gradient is in one of them only
            _same_images(subject, rugged, threat, together, rows, share=0.01)


def seeds(subject: AttackSubject, head: str) -> None:
    """The same seed gives the same images, whatever the global generators hold, which stay unseeded."""
    problem = subject.problems(head)[0].part(slice(0, 4))
    for threat in subject.threats():
        first = _same_draws(subject, problem, threat)
        _same_draws(subject, subject.rugged(head), threat)
        other = subject.run(problem, threat, seed=1)
        names = ("torch", "NumPy", "Python")
        for name, one, two in zip(names, first.afterwards, other.afterwards, strict=True):
            require(
                one != two,
                f"{place(first, threat)}: it seeds {name}'s global generator with a number of its own, which "
                "makes the suite's seed useless; draw from rng",
            )


def access(subject: AttackSubject, head: str) -> None:
    """The attack needs no more access to the model than its spec declares."""
    declared = subject.spec.access
    problem = subject.problems(head)[0].part(slice(0, 4))
    problem = replace(problem, model=replace(problem.model, access=declared))
    for threat in subject.threats():
        subject.run(problem, threat)


def precision(subject: AttackSubject, head: str) -> None:
    """With passes in bfloat16, the images are finite and inside the budget and the region too."""
    problem = subject.problems(head)[0]
    for threat in subject.threats():
        run = subject.run(problem, threat, compute="bfloat16")
        finite(run)
        if subject.spec.budget != "minimal":
            faults = [fault for fault in run.trial.verdict.faults if fault]
            require(not faults, f"{place(run, threat)}, in bfloat16: {(*faults, '')[0]}")


def finite(run: ProblemRun) -> None:
    """Require that the attack's images are finite."""
    lost = [
        key for key, image in zip(run.problem.keys, run.returned, strict=True) if not image.isfinite().all()
    ]
    require(
        not lost,
        f"on {run.problem.name}: {len(lost)} of {len(run.problem)} images are not finite, first that of "
        f"{(*lost, '')[0]}; look for divisions by the norm of a gradient that is zero",
    )


def place(run: ProblemRun, threat: Threat) -> str:
    """Return the problem and the threat, with which the line of a failure begins."""
    return f"on {run.problem.name}, {threat.label}"


def _same_images(
    subject: AttackSubject, problem: Problem, threat: Threat, together: Tensor, rows: slice, share: float
) -> None:
    """Require that some cases have the same images (B, C, H, W) alone as together with the others.

    Args:
        share: the components that may differ, where rounding decides on the side of an optimum.
    """
    part = subject.run(problem.part(rows), threat).returned
    apart = (part - together[rows]).abs().flatten(1)
    differs = apart > TOLERANCE
    case = int(differs.float().mean(1).argmax())
    require(
        differs[case].float().mean() <= share,
        f"on {problem.name}, {threat.label}: the image of case {rows.start + case} differs by "
        f"{float(apart[case].max()):.3g} in batches of {len(part)} and of {len(problem)}; draw from rng, "
        "which has a stream per case, and use no statistic of the batch, such as the norm of all gradients",
    )


def _same_draws(subject: AttackSubject, problem: Problem, threat: Threat) -> ProblemRun:
    """Require that an attack's images do not depend on the state of the global random generators."""
    first = subject.run(problem, threat)
    unsettled = subject.run(problem, threat, unsettled=True)
    if torch.equal(first.returned, unsettled.returned):
        return first
    for _ in range(_AGAIN):
        again = subject.run(problem, threat)
        require(
            torch.equal(first.returned, again.returned),
            f"{place(first, threat)}: two runs with one seed differ; draw all random numbers from rng",
        )
    raise ContractFailure(
        f"{place(first, threat)}: its images depend on the state of a global random generator, which the "
        "first case of the batch decides; draw all random numbers, and seeds of other generators, from rng"
    )


def _no_fault(subject: AttackSubject, problem: Problem, threat: Threat, fault: str) -> None:
    """Require that the judge finds no image with a fault."""
    run = subject.once(problem, threat)
    finite(run)
    faults = run.trial.verdict.faults
    found = [case for case, name in enumerate(faults) if name == fault]
    change = run.change[found[0] if found else slice(0, 0)]
    size = f"{float(threat.distance(change[None])[0]):.4g}" if found else ""
    limit = f"eps is {threat.eps:.4g}" if fault == "over the budget" else "the mask allows none there"
    require(
        not found,
        f"{place(run, threat)}: {len(found)} of {len(faults)} images are {fault}: a change of {size}, but "
        f"{limit}; return threat.project(x_adv, x)",
    )


def targeted(subject: AttackSubject, head: str) -> list[Problem]:
    """Return a problem with a goal in a named class, if the head is one of classes."""
    return [
        replace(problem, name=f"{problem.name}, targeted", goal=Targeted(_next(problem), problem.goal.labels))
        for problem in (subject.problems(head)[:1] if head == "classes" else ())
        if isinstance(problem.goal, Untargeted)
    ]


def _next(problem: Problem) -> torch.Tensor:
    outputs = problem.model.scores(problem.x)
    return (outputs.argmax(1) + 1) % outputs.shape[1]
