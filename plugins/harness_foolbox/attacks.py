"""Each attack of Foolbox becomes a function that the harness can call, under its own name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import AttackError, HarnessError
from harness.goals import ClassObjective, Objective
from harness.handle import AttackFunction, Handle
from harness.randomness import CaseRandom, seed_torch
from harness.threat import Threat
from harness_art.problem import Problem, answers_in_classes, enrolled_start, negative_start, shares
from harness_foolbox.models import drawn_on_the_cpu, foolbox_itself, model_of
from harness_foolbox.table import ATTACKS, GIVEN, KINDS, Bridged

ROWS = {row.name: row for row in ATTACKS}
STARTED = ("BoundaryAttack", "HopSkipJumpAttack")
"""These attacks start from an image that reaches the goal."""


def __getattr__(name: str) -> AttackFunction:
    if name not in ROWS:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return function_of(name)


@cache
def function_of(name: str) -> AttackFunction:
    """Return an attack of Foolbox as a function of the harness, with the parameters of its class."""
    row = ROWS[name]
    attack = getattr(foolbox_itself().attacks, name)
    signature = signature_of(row, attack)

    def run(
        model: Handle, x: Tensor, objective: Objective, threat: Threat, *, rng: CaseRandom, **values: Any
    ) -> Tensor:
        return attacked(row, attack, model, x, objective, threat, rng, values)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{row.summary[0].upper()}{row.summary[1:]} ({row.source})."
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    return run


def signature_of(row: Bridged, attack: type) -> inspect.Signature:
    """Return the signature of the attack as the harness calls it."""
    positional, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    found = [
        inspect.Parameter(name, positional, annotation=Any) for name in ("model", "x", "objective", "threat")
    ]
    found.append(inspect.Parameter("rng", keyword, annotation=Any))
    for name, parameter in inspect.signature(attack).parameters.items():
        if name in (*GIVEN, *row.given) or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        ):
            continue
        kind = row.kinds.get(name, KINDS.get(name, parameter.annotation))
        found.append(inspect.Parameter(name, keyword, default=parameter.default, annotation=kind))
    return inspect.Signature(found)


def attacked(
    row: Bridged,
    attack: Any,
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    rng: CaseRandom,
    values: dict[str, Any],
) -> Tensor:
    """Attack all cases (B, C, H, W) except those whose original already reaches the goal."""
    if threat.mask is not None:
        raise AttackError(f"foolbox/{row.name} cannot restrict its changes to a region")
    if row.budget == "fixed" and (threat.norm is None or threat.eps is None):
        raise AttackError(f"foolbox/{row.name} needs a budget, such as harness.threats.Linf(8/255)")
    if "constraint" in row.given:
        values = {**values, "constraint": threat.norm or row.norms[0]}
    in_classes = answers_in_classes(objective, leaves=True, reaches=row.targets)
    with torch.no_grad():
        there = objective.reached(model(x)) if in_classes else model.focus(objective).reaches(x)
    left = torch.nonzero(~there.to(x.device)).flatten()
    x_adv = x.clone()
    made = attack(**values)
    for share in shares(objective, left, alone=row.alone, together=in_classes):
        case = model.take(share), objective.take(share), x[share]
        problem = Problem(*case, access=row.access, in_classes=in_classes)
        start = enrolled_start(*case, threat) if row.name in STARTED else None
        seed_torch(int(rng.take(share[:1].cpu()).integers(2**31 - 1)))
        given: dict[str, Any] = {"epsilon": threat.eps} if row.budget == "fixed" else {}
        run = partial(
            made.run, model_of(problem, x.device), x[share], criterion(objective, share, in_classes)
        )
        with explained(row.name), drawn_on_the_cpu():
            try:
                found = run(**given, **({} if start is None else {"starting_points": start}))
            except ValueError as error:
                if not (row.alone and "failed" in str(error)):
                    raise
                # it found no image to start from
                start = negative_start(*case, threat) if row.name in STARTED else None
                if start is None:
                    continue
                found = run(**given, starting_points=start)
        x_adv[share] = found.detach().to(x)
    return x_adv


def criterion(objective: Objective, share: Tensor, in_classes: bool) -> Any:
    """Return the criterion that tells Foolbox the goals of some cases."""
    criteria = foolbox_itself().criteria
    if not in_classes:
        return criteria.Misclassification(torch.zeros_like(share))
    assert isinstance(objective, ClassObjective)
    classes = objective.classes[share]
    if objective.towards:
        return criteria.TargetedMisclassification(classes)
    return criteria.Misclassification(classes)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what Foolbox raises into one line that names the attack, and ignore its warnings.

    Raises:
        AttackError: Foolbox raised an exception of its own.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.filterwarnings("ignore", module=r"(foolbox|eagerpy)(\.|$)")
            # These are raised inside torch because of Foolbox; the judge's call shows those of a model.
            for category in (DeprecationWarning, FutureWarning, RuntimeWarning):
                warnings.simplefilter("ignore", category)
            yield
    except (HarnessError, MemoryError):
        raise
    except Exception as error:
        if "out of memory" in str(error):
            raise  # a smaller batch may fit
        raise AttackError(f"foolbox/{name} cannot do this: {str(error) or type(error).__name__}") from error
