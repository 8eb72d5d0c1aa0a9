"""What every attack promises: valid images for every batch, and hands off what is not its own."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch

from harness.goals import Targeted, Untargeted
from harness.testing.attacks.subject import AttackSubject, Ran, Refusal, not_universal
from harness.testing.contract import Inapplicable, require
from harness.testing.problems.difficult import Sensitive, at_the_edges, with_module
from harness.testing.problems.problem import Problem, eps_of
from harness.threat import FLOAT_TOLERANCE, GREY_LEVELS, Threat

TOLERANCE = 1e-3
"""Of a component: by how much a case's image may depend on its batch; a quarter of a grey level."""


def images(subject: AttackSubject, head: str) -> None:
    """Finite floating-point images of the shape of its inputs, for every head, goal and threat."""
    for problem in [*subject.problems(head), *_targeted(subject, head)]:
        for threat in subject.threats():
            finite(subject.run(problem, threat))


def box(subject: AttackSubject, head: str) -> None:
    """Images stay in [0, 1], also where the originals lie at its edge."""
    problem = at_the_edges(subject.problems(head)[0])
    for threat in subject.threats():
        if threat.eps is not None:
            threat = replace(threat, eps=8 * threat.eps)
        ran = subject.run(problem, threat)
        finite(ran)
        low, high = float(ran.returned.min()), float(ran.returned.max())
        require(
            low >= -FLOAT_TOLERANCE and high <= 1 + FLOAT_TOLERANCE,
            f"{place(ran, threat)}: values from {low:.4g} to {high:.4g}; clamp to [0, 1], or return "
            "threat.project(x_adv, x)",
        )


def budget(subject: AttackSubject, head: str) -> None:
    """The change is never larger than eps, in each norm that it declares."""
    if not subject.spec.norms:
        raise Inapplicable("no norm bounds it")
    if subject.spec.budget == "minimal":
        raise Inapplicable("an eps bounds what counts of it, not what it returns")
    for norm in subject.spec.norms:
        for share in (0.19, 1.0, 4.1):
            for levels in (None, GREY_LEVELS):
                threat = Threat(norm, share * eps_of(norm, subject.shape), levels=levels)
                _kept(subject, subject.problems(head)[0], subject.armed(threat), "over the budget")


def region(subject: AttackSubject, head: str) -> None:
    """Pixels outside the mask stay as they are, be it one for all or each case's own; or it is refused."""
    problem = subject.problems(head)[0]
    for threat in subject.threats(levels=None):
        if subject.spec.region:
            _kept(subject, problem, threat, "outside the region")
            continue
        height, width = subject.shape[1:]
        left = torch.zeros(height, width, dtype=torch.bool)
        left[:, : width // 2] = True
        by_case = torch.stack([left, ~left, left | True]).repeat(len(problem), 1, 1)[: len(problem), None]
        for mask in (left, by_case):
            try:
                _kept(subject, problem, replace(threat, mask=mask), "outside the region")
            except Refusal as refusal:
                raise Inapplicable(f"it takes no region: {refusal.__cause__}") from refusal


def inputs(subject: AttackSubject, head: str) -> None:
    """It changes neither images, nor parameters, nor the model's weights, buffers, mode and code."""
    problem = subject.problems(head)[0].part(slice(0, 4))
    sensitive = Sensitive(problem.model.module, subject.shape[0])
    problem = with_module(problem, sensitive, f"{problem.name} behind batch normalisation and dropout")
    before = deepcopy(subject.parameters)
    for threat in subject.threats():
        subject.run(problem, threat)  # a trial looks at what it lent
    require(before == subject.parameters, "the attack changed the value of a parameter; copy it first")


def empty(subject: AttackSubject, head: str) -> None:
    """An empty batch is answered with an empty batch."""
    for problem in subject.problems(head):
        for threat in subject.threats():
            ran = subject.run(problem.part(slice(0, 0)), threat)
            require(len(ran.returned) == 0, f"{place(ran, threat)}: {len(ran.returned)} images for none")


def companions(subject: AttackSubject, head: str) -> None:
    """A case's image does not depend on the cases beside it: batches of 8, of 3 and of 1 agree."""
    not_universal(subject)
    problem = subject.problems(head)[0]
    last = len(problem) - 1
    for threat in subject.threats(levels=None):
        together = subject.run(problem, threat).returned
        for rows in (slice(0, 3), slice(3, 6), slice(0, 1), slice(last, last + 1)):
            part = subject.run(problem.part(rows), threat).returned
            apart = (part - together[rows]).abs().flatten(1).amax(1)
            case = int(apart.argmax())
            require(
                apart[case] <= TOLERANCE,
                f"on {problem.name}, {threat.label}: case {rows.start + case} changes by "
                f"{float(apart[case]):.3g} in a batch of {len(part)} instead of {len(problem)}; "
                "draw from rng, "
                "which has a stream per case, and let no statistic of the batch decide",
            )


def seeds(subject: AttackSubject, head: str) -> None:
    """The same seed gives the same images; global generators are not seeded anew."""
    problem = subject.problems(head)[0].part(slice(0, 4))
    for threat in subject.threats():
        first, again, other = (subject.run(problem, threat, seed=seed) for seed in (0, 0, 1))
        require(
            torch.equal(first.returned, again.returned),
            f"{place(first, threat)}: two runs with one seed differ; draw all random numbers from rng",
        )
        names = ("torch", "NumPy", "Python")
        for name, one, two in zip(names, first.afterwards, other.afterwards, strict=True):
            require(
                one != two,
                f"{place(first, threat)}: it seeds {name}'s global generator with a number of its "
                "own, so that "
                "the suite's seed means nothing; draw from rng",
            )


def access(subject: AttackSubject, head: str) -> None:
    """It asks for no more of the model than its spec declares."""
    declared = subject.spec.access
    problem = subject.problems(head)[0].part(slice(0, 4))
    problem = replace(problem, model=replace(problem.model, access=declared))
    for threat in subject.threats():
        subject.run(problem, threat)


def precision(subject: AttackSubject, head: str) -> None:
    """Where a suite asks for passes in bfloat16, images are as valid."""
    problem = subject.problems(head)[0]
    for threat in subject.threats():
        ran = subject.run(problem, threat, compute="bfloat16")
        finite(ran)
        if subject.spec.budget != "minimal":
            faults = [fault for fault in ran.trial.verdict.faults if fault]
            require(not faults, f"{place(ran, threat)}, in bfloat16: {(*faults, '')[0]}")


def finite(ran: Ran) -> None:
    """Require that the attack's images are all numbers."""
    lost = [
        key for key, image in zip(ran.problem.keys, ran.returned, strict=True) if not image.isfinite().all()
    ]
    require(
        not lost,
        f"on {ran.problem.name}: {len(lost)} of {len(ran.problem)} images are not finite, {(*lost, '')[0]} "
        "first; look for divisions by the size of a gradient that is zero",
    )


def place(ran: Ran, threat: Threat) -> str:
    """Where something happened, the beginning of a failure's line."""
    return f"on {ran.problem.name}, {threat.label}"


def _kept(subject: AttackSubject, problem: Problem, threat: Threat, fault: str) -> None:
    """Require that no image has a fault, by the judge's measurement."""
    ran = subject.run(problem, threat)
    finite(ran)
    faults = ran.trial.verdict.faults
    found = [case for case, name in enumerate(faults) if name == fault]
    change = ran.change[found[0] if found else slice(0, 0)]
    size = f"{float(threat.distance(change[None])[0]):.4g}" if found else ""
    limit = f"eps = {threat.eps:.4g}" if fault == "over the budget" else "the mask"
    require(
        not found,
        f"{place(ran, threat)}: {len(found)} of {len(faults)} images are {fault}: a change of {size}, and "
        f"{limit}; return threat.project(x_adv, x)",
    )


def _targeted(subject: AttackSubject, head: str) -> list[Problem]:
    """Towards a named class, where the head has any."""
    return [
        replace(problem, name=f"{problem.name}, targeted", goal=Targeted(_next(problem), problem.goal.labels))
        for problem in (subject.problems(head)[:1] if head == "classes" else ())
        if isinstance(problem.goal, Untargeted)
    ]


def _next(problem: Problem) -> torch.Tensor:
    outputs = problem.model.scores(problem.x)
    return (outputs.argmax(1) + 1) % outputs.shape[1]
