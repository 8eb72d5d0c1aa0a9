"""``harness.attack`` runs one attack on one batch of images, without a suite, and returns its outcome."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from harness.catalog import catalog
from harness.errors import AttackError
from harness.goals import Goal
from harness.handle import AttackFunction
from harness.judge.batching import BatchSize, fitting, in_batches
from harness.judge.examination import signs_of
from harness.judge.region import with_region
from harness.judge.trial import Trial, attempt
from harness.leaderboard.flags import FLAGS
from harness.metrics import Estimate, core as metrics
from harness.model import Model, ordinary
from harness.parameters import arguments, check, keyword_parameters, options_of
from harness.specs import ACCESS_ORDER, AttackSpec, Compute, Following
from harness.threat import Threat


@dataclass(frozen=True, eq=False)
class Outcome:
    """An Outcome holds the judged results of an attack; tensors are (B, ...) on the model's device."""

    adversarials: Tensor
    """(B, C, H, W) images as judged, rounded to 8 bits unless the threat says otherwise."""
    success: Tensor
    """bool: reached and valid; of an image that was wrong before (``clean_correct``) it says little."""
    clean_correct: Tensor
    """bool: the model was right before the attack; False where its clean output is not finite."""
    reached: Tensor
    """bool: the model's decision is what the goal asks for."""
    valid: Tensor
    """bool: inside the valid pixel range, the budget and the region."""
    distances: pd.DataFrame
    """linf and l2 (on the scale of [0, 1]) and l0 (pixels) of each perturbation."""
    forwards: Tensor
    """int64: forward passes per case."""
    backwards: Tensor
    """int64: backward passes per case."""
    faults: tuple[str, ...]
    """For each case "", or the bound that the image breaks."""
    errors: tuple[str, ...]
    """For each case "", or the reason why it could not be judged."""
    seconds: float
    """The time of the attack alone."""
    rows: Tensor
    """int64: the rows of the images that were judged: all but those that a universal attack learned on."""
    found_by: tuple[str | None, ...] = ()
    """For each case, which member of an ensemble found the image; None if none is told."""
    flags: tuple[str, ...] = ()
    """Signs that the model's numbers say nothing of its robustness; each has a page in docs/flags."""

    @property
    def clean_accuracy(self) -> Estimate:
        """Return the share of images on which the model was right before the attack, as on a leaderboard."""
        return metrics.clean_accuracy(self._records)

    @property
    def robust_accuracy(self) -> Estimate:
        """Return the share on which it was right, and the attack did not succeed, as on a leaderboard."""
        return metrics.robust_accuracy(self._records)

    @property
    def success_rate(self) -> Estimate:
        """Return the successes over the images on which it was right before, as on a leaderboard."""
        return metrics.success_rate(self._records)

    @property
    def _records(self) -> pd.DataFrame:
        failed = np.array([bool(error) for error in self.errors])
        success = self.success.cpu().numpy().astype(object)
        success[failed] = None
        return pd.DataFrame({
            "sample_id": [str(row) for row in self.rows.tolist()],
            "clean_correct": self.clean_correct.cpu().numpy(),
            "success": success,
            "error": [error or None for error in self.errors],
            "fault": [fault or None for fault in self.faults],
        })  # fmt: skip

    def __repr__(self) -> str:
        parts = [f"{len(self.rows)} images", f"{int(self.clean_correct.sum())} right before the attack"]
        for name in ("clean_accuracy", "robust_accuracy", "success_rate"):
            value = getattr(self, name).value
            parts.append(f"{name} {'unknown' if value is None else f'{value:.1%}'}")
        failed = sum(map(bool, self.errors))
        parts += [f"{failed} in error"] if failed else []
        return f"Outcome({', '.join([*parts, *self.flags])})"


@ordinary()
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
        model: from ``harness.wrap_model``.
        images: any number (B, C, H, W) in [0, 1]; they are rounded to the threat's grid first.
        goal: from ``harness.goals``.
        threat: from ``harness.threats``. It may be left out, for the smallest change in the attack's first
            norm, if the attack looks for that or has a region of its own.
        seed: together with a case's row number, it decides the random numbers of that case.
        compute: the precision of the attack's own passes; judging is always in float32.
        batch_size: how many images the attack works on at once; "auto": as many as memory has room for. A
            batch that does not fit is halved.
        surrogate: the model that the attack sees, if it is not the one that judges.
        fit: (B,) bool, for an attack that learns one change for many images: the images that it learns on;
            by default every second one. The outcome is that of the others: see ``Outcome.rows``.
        params: the attack's parameters; every attack that sees gradients also has ``eot`` and ``bpda``, as
            ``harness.specs.Following`` describes them.

    Raises:
        AttackError, CatalogError: the attack cannot do what is asked or is unknown, or a parameter is wrong.
        ContractError: the attack broke the contract.
    """
    _check(model, images, batch_size)
    function, threat, resolved, following, universal = _resolved(name, model, images, threat, params)
    fit = _learned_on(name, images, universal, fit)

    how: dict[str, Any] = {"seed": seed, "parameters": resolved, "following": following}
    how |= {"compute": compute, "surrogate": surrogate, "fit": fit}

    def outcome(rows: slice) -> tuple[Outcome, Tensor]:
        keys = [str(row) for row in range(rows.start, rows.start + len(images[rows]))]
        trial = attempt(model, function, images[rows], goal.part(rows), threat.part(rows), keys=keys, **how)
        return _outcome(trial, rows.start, fit), trial.clean

    if fit is not None or not len(images):
        parts = [outcome(slice(0, len(images)))]
    else:
        parts = list(in_batches(len(images), _size(surrogate or model, images, batch_size), outcome))
    return _flagged(model, _joined([part for part, _ in parts]), torch.cat([clean for _, clean in parts]))


def _size(model: Model, images: Tensor, batch_size: int | Literal["auto"]) -> BatchSize:
    return fitting(model, images.shape[1:]) if batch_size == "auto" else BatchSize(batch_size)


def _flagged(model: Model, outcome: Outcome, clean: Tensor) -> Outcome:
    """Return an outcome with the flags that its clean answers (B, M) raise, and warn the caller of each."""
    flags = tuple(sorted(signs_of(model, clean, int((~outcome.clean_correct).sum()))))
    for flag in flags:
        warnings.warn(f"{flag}: {FLAGS[flag].sign}; {FLAGS[flag].remedy}", stacklevel=4)
    return replace(outcome, flags=flags)


def _check(model: object, images: Tensor, batch_size: int | str) -> None:
    """Refuse what is no model, no images or no batch size."""
    if not isinstance(model, Model):
        hint = "; wrap it with harness.wrap_model(module, head)" if isinstance(model, nn.Module) else ""
        raise AttackError(f"attack needs a model of the harness, not {type(model).__name__}{hint}")
    if images.ndim != 4 or not images.is_floating_point():
        raise AttackError(f"images are {images.dtype} {tuple(images.shape)}; expected float (B, C, H, W)")
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise AttackError("images have values outside [0, 1], or values that are not finite")
    if isinstance(batch_size, int) and batch_size < 1:
        raise AttackError(f"batch_size = {batch_size} must be at least 1")


def _learned_on(
    name: str | AttackFunction, images: Tensor, universal: bool, fit: Tensor | None
) -> Tensor | None:
    """Return which images (B,) a universal attack learns on; None for the others."""
    if universal != (fit is not None):
        if not universal:
            raise AttackError(f"fit: {_called(name)} does not learn one change for many images; leave it out")
        fit = torch.arange(len(images)) % 2 == 0
    if fit is not None and (fit.shape != images.shape[:1] or fit.dtype != torch.bool):
        raise AttackError(f"fit is {fit.dtype} {tuple(fit.shape)}; expected bool ({len(images)},)")
    return fit


def _called(name: str | AttackFunction) -> str:
    return f"attack {name if isinstance(name, str) else getattr(name, '__name__', 'given')}"


def _resolved(
    name: str | AttackFunction, model: Model, images: Tensor, threat: Threat | None, params: dict[str, Any]
) -> tuple[AttackFunction, Threat, dict[str, Any], Following, bool]:
    """Return the attack's function, the threat with its region, the parameters, and if it is universal."""
    place = _called(name)
    if not isinstance(name, str):
        known = dict(keyword_parameters(name, ("rng",)))
        universal = known.pop("fit", None) is not None
        if threat is None:
            raise AttackError(f"{place} needs a threat, such as harness.threats.Linf(8/255)")
        shared = options_of(Following)
        values = check(place, params, {**shared, **known}, AttackError)
        following = Following(**{key: values[key] for key in shared if key not in known})
        return name, threat, arguments(name, values), following, universal
    entry = catalog().attacks[name]
    threat = _default_threat(entry.spec) if threat is None else threat
    permitted(entry.spec, model, threat)
    values = check(place, params, entry.parameters(), AttackError)
    armed = with_region(entry, values, threat, (images.shape[2], images.shape[3]))
    run, universal = entry.spec.run, "universal" in entry.spec.traits
    return entry.load(run), armed, entry.arguments(run, values), entry.spec.following(values), universal


def _default_threat(spec: AttackSpec) -> Threat:
    if spec.budget == "fixed" and spec.norms:
        raise AttackError(f"attack {spec.name} needs a budget, such as harness.threats.Linf(8/255)")
    return Threat(next(iter(spec.norms), None), None, access=spec.access)


def _outcome(trial: Trial, start: int, fit: Tensor | None) -> Outcome:
    """Return the outcome of the images from ``start`` on, less those that a universal attack learned on."""
    verdict = trial.verdict
    judged = torch.arange(len(verdict.valid)) if fit is None else torch.nonzero(~fit).flatten()
    columns = {"linf": verdict.linf, "l2": verdict.l2, "l0": verdict.l0}
    return Outcome(
        verdict.adversarials,
        verdict.success,
        trial.objective.correct & trial.clean.flatten(1).isfinite().all(1),
        verdict.reached,
        verdict.valid,
        pd.DataFrame({column: values.cpu().numpy() for column, values in columns.items()}),
        trial.forwards,
        trial.backwards,
        verdict.faults,
        verdict.errors,
        trial.seconds,
        start + judged,
        tuple(trial.meter.names_of_finders()),
    )


def _joined(outcomes: list[Outcome]) -> Outcome:
    """Join the outcomes of several batches, one after the other."""
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
    """Check that an attack can be run on this model under this threat.

    Raises:
        AttackError: the attack does not support the head, the access, the norm or the budget.
    """
    if model.head not in spec.heads:
        raise AttackError(f'attack {spec.name} does not attack the head "{model.head}"')
    granted = min(model.access, threat.access, key=ACCESS_ORDER.index)
    if ACCESS_ORDER.index(granted) < ACCESS_ORDER.index(spec.access):
        raise AttackError(f"attack {spec.name} needs {spec.access}, but may see only {granted}")
    if threat.norm is not None and threat.norm not in spec.norms:
        raise AttackError(f'attack {spec.name} has no norm "{threat.norm}"; valid: {", ".join(spec.norms)}')
    if spec.budget == "fixed" and spec.norms and threat.norm is not None and threat.eps is None:
        raise AttackError(f"attack {spec.name} needs a budget, such as harness.threats.Linf(8/255)")
