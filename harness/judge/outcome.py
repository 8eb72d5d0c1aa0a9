"""``harness.attack`` runs one attack on one batch of images, without a suite, and returns its outcome."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from harness.catalog import catalog
from harness.errors import AttackError
from harness.goals import Goal
from harness.handle import AttackFunction
from harness.judge.batching import BatchSize, fitting, in_batches
from harness.judge.region import attack_parameters, run_parameters, with_region
from harness.judge.trial import Trial, attempt
from harness.model import Model
from harness.parameters import check, keyword_parameters
from harness.specs import ACCESS_ORDER, AttackSpec, Compute
from harness.threat import Threat


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of an attack, judged; tensors are (B, ...) on the model's device."""

    adversarials: Tensor
    """(B, C, H, W) as judged: on the 8-bit grid unless the threat says otherwise."""
    success: Tensor
    """bool: reached and valid."""
    reached: Tensor
    """bool: the model decides as the goal wants."""
    valid: Tensor
    """bool: inside box, budget and region."""
    distances: pd.DataFrame
    """linf, l2 (in [0, 1]) and l0 (pixels) of each perturbation."""
    forwards: Tensor
    """int64: forward passes per case."""
    backwards: Tensor
    """int64: backward passes per case."""
    faults: tuple[str, ...]
    """Per case "", or which bound the image breaks."""
    errors: tuple[str, ...]
    """Per case "", or why there was nothing to judge."""
    seconds: float
    """Of the attack alone."""
    rows: Tensor
    """int64: which of the images these are: all, but for those that one change was learned on."""


def attack(
    name: str | AttackFunction,
    model: Model,
    images: Tensor,
    *,
    goal: Goal,
    threat: Threat | None = None,
    seed: int = 0,
    compute: Compute = "float32",
    batch_size: int | Literal["auto"] = 256,
    surrogate: Model | None = None,
    fit: Tensor | None = None,
    **params: Any,
) -> Outcome:
    """Attack images and judge the outcome.

    Args:
        name: an attack of the catalogue, or a function ``(model, x, objective, threat, *, rng, **params)``.
        model: made by ``harness.wrap_model``.
        images: (B, C, H, W) in [0, 1], however many; rounded to the threat's grid first.
        goal: from ``harness.goals``.
        threat: from ``harness.threats``. May be left out where the attack has a region of its own, or looks
            for the smallest change: then its first norm is meant.
        seed: with a case's row number it decides that case's random numbers.
        compute: precision of the attack's own passes; judging is always float32.
        batch_size: images that the attack works on at once; what the attack needs beyond images and results
            is bounded by it. "auto": as many as fit. A batch that does not fit into memory is halved.
        surrogate: the model that the attack sees, where it is another than the one that is judged.
        fit: (B,) bool, of an attack that learns one change for many images: those that it learns on; every
            second one by default. The outcome is of the others: see ``Outcome.rows``.
        params: the attack's parameters.

    Raises:
        CatalogError: the attack is unknown.
        AttackError: it cannot do what is asked, or a parameter is wrong.
        ContractError: it broke the contract.
    """
    if not isinstance(model, Model):
        hint = "; wrap it: harness.wrap_model(module, head)" if isinstance(model, nn.Module) else ""
        raise AttackError(f"attack needs a harness model, got {type(model).__name__}{hint}")
    if images.ndim != 4 or not images.is_floating_point():
        raise AttackError(f"images are {images.dtype} {tuple(images.shape)}; expected float (B, C, H, W)")
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise AttackError("images leave [0, 1], or are not finite")
    function, threat, resolved, universal = _resolved(name, model, images, threat, params)
    if universal != (fit is not None):
        if not universal:
            raise AttackError(f"fit: {_called(name)} does not learn one change for many images; leave it out")
        fit = torch.arange(len(images)) % 2 == 0
    if fit is not None and (fit.shape != images.shape[:1] or fit.dtype != torch.bool):
        raise AttackError(f"fit is {fit.dtype} {tuple(fit.shape)}; expected bool ({len(images)},)")
    if batch_size != "auto" and batch_size < 1:
        raise AttackError(f"batch_size = {batch_size} must be at least 1")

    def outcome(rows: slice) -> Outcome:
        part = images[rows]
        trial = attempt(
            model,
            function,
            part,
            goal.part(rows),
            threat.part(rows),
            seed=seed,
            keys=[str(rows.start + row) for row in range(len(part))],
            parameters=resolved,
            compute=compute,
            surrogate=surrogate,
            fit=fit,
        )
        judged = torch.arange(len(part)) if fit is None else torch.nonzero(~fit).flatten()
        return _outcome(trial, rows.start + judged)

    if fit is not None or not len(images):
        return outcome(slice(0, len(images)))
    shape = (images.shape[1], images.shape[2], images.shape[3])
    size = fitting(surrogate or model, shape) if batch_size == "auto" else BatchSize(batch_size)
    return _joined(list(in_batches(len(images), size, outcome)))


def _called(name: str | AttackFunction) -> str:
    return f"attack {name if isinstance(name, str) else getattr(name, '__name__', 'given')}"


def _resolved(
    name: str | AttackFunction, model: Model, images: Tensor, threat: Threat | None, params: dict[str, Any]
) -> tuple[AttackFunction, Threat, dict[str, Any], bool]:
    """The attack's function, its threat with its region, its parameters, and whether it is universal."""
    place = _called(name)
    if not isinstance(name, str):
        known = dict(keyword_parameters(name, ("rng",)))
        universal = known.pop("fit", None) is not None
        if threat is None:
            raise AttackError(f"{place} needs a threat, such as harness.threats.Linf(8/255)")
        return name, threat, check(place, params, known, AttackError), universal
    entry = catalog().attacks[name]
    threat = _default_threat(entry.spec) if threat is None else threat
    permitted(entry.spec, model, threat)
    values = check(place, params, attack_parameters(entry), AttackError)
    armed = with_region(entry, values, threat, (images.shape[2], images.shape[3]))
    run = entry.load(entry.spec.run)
    return run, armed, run_parameters(entry, values), "universal" in entry.spec.traits


def _default_threat(spec: AttackSpec) -> Threat:
    if spec.budget == "fixed" and spec.norms:
        raise AttackError(f"attack {spec.name} needs a budget, such as harness.threats.Linf(8/255)")
    return Threat(next(iter(spec.norms), None), None, access=spec.access)


def _outcome(trial: Trial, rows: Tensor) -> Outcome:
    verdict = trial.verdict
    columns = {"linf": verdict.linf, "l2": verdict.l2, "l0": verdict.l0}
    return Outcome(
        verdict.adversarials,
        verdict.success,
        verdict.reached,
        verdict.valid,
        pd.DataFrame({column: values.cpu().numpy() for column, values in columns.items()}),
        trial.forwards,
        trial.backwards,
        verdict.faults,
        verdict.errors,
        trial.seconds,
        rows,
    )


def _joined(outcomes: list[Outcome]) -> Outcome:
    """The outcomes of several batches, one after the other."""
    if len(outcomes) == 1:
        return outcomes[0]
    values: dict[str, Any] = {}
    for field in fields(Outcome):
        parts = [getattr(outcome, field.name) for outcome in outcomes]
        if isinstance(parts[0], Tensor):
            values[field.name] = torch.cat(parts)
        elif isinstance(parts[0], pd.DataFrame):
            values[field.name] = pd.concat(parts, ignore_index=True)
        else:
            values[field.name] = sum(parts[1:], start=parts[0])
    return Outcome(**values)


def permitted(spec: AttackSpec, model: Model, threat: Threat) -> None:
    """Whether an attack can be run on this model under this threat.

    Raises:
        AttackError: the head, the access, the norm or the budget is not the attack's.
    """
    if model.head not in spec.heads:
        raise AttackError(f'attack {spec.name} does not attack the head "{model.head}"')
    granted = min(model.access, threat.access, key=ACCESS_ORDER.index)
    if ACCESS_ORDER.index(granted) < ACCESS_ORDER.index(spec.access):
        raise AttackError(f"attack {spec.name} needs {spec.access}, and may see {granted}")
    if threat.norm is not None and threat.norm not in spec.norms:
        raise AttackError(f'attack {spec.name} has no norm "{threat.norm}"; it has {", ".join(spec.norms)}')
    if spec.budget == "fixed" and spec.norms and threat.norm is not None and threat.eps is None:
        raise AttackError(f"attack {spec.name} needs a budget, such as harness.threats.Linf(8/255)")
