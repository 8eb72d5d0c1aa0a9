"""A trial is one attack on one batch, guarded while it runs and judged when it returns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.errors import AttackError, ContractError
from harness.goals import Goal, Objective
from harness.handle import AttackFunction, Handle, Meter
from harness.judge.guard import code_of, fingerprint, own_randomness
from harness.judge.verdict import Verdict, judge
from harness.model import Model, frozen
from harness.randomness import CaseRandom, derived_seed
from harness.specs import ACCESS_ORDER, Compute
from harness.threat import Threat


@dataclass(frozen=True, eq=False)
class Trial:
    """A Trial holds the results of one attack on one batch."""

    x: Tensor  # (B, C, H, W) originals, on the grid
    clean: Tensor  # clean outputs of the victim
    objective: Objective
    verdict: Verdict
    meter: Meter  # the passes that the attack spent on each case
    seconds: float  # the time of the attack alone, for the whole batch

    @property
    def forwards(self) -> Tensor:
        """Return (B,) the forward passes of the attack."""
        return self.meter.forwards

    @property
    def backwards(self) -> Tensor:
        """Return (B,) the backward passes of the attack."""
        return self.meter.backwards


def attempt(
    model: Model,
    attack: AttackFunction,
    images: Tensor,
    goal: Goal,
    threat: Threat,
    *,
    seed: int,
    keys: Sequence[str],
    parameters: Mapping[str, Any],
    compute: Compute = "float32",
    batch_size: int = 256,
    surrogate: Model | None = None,
    clean: Tensor | None = None,
    fit: Tensor | None = None,
) -> Trial:
    """Run an attack on a batch and judge its images on ``model``.

    Args:
        images: (B, C, H, W) in [0, 1]; they are rounded to the threat's grid first.
        keys: (B,) names of the cases; with the seed they decide each case's random numbers.
        surrogate: the model that the attack sees, if it is not the victim.
        clean: (B, M) the victim's outputs on the images, if they are known already.
        fit: (B,) bool, for an attack that learns one change for many images: the images that it may learn
            on. Only the others are judged, and they share the cost.

    Raises:
        AttackError: the threat's mask does not fit the images.
        ContractError: the attack changed its input, the model's mode, weights or code, or returned no images.
    """
    seen = surrogate or model
    x = threat.round(images.to(model.device, torch.float32))
    _fitting(threat, x)
    clean = model.scores(x, batch_size=batch_size) if clean is None else clean
    objective = goal.objective(model, clean)
    pursued = objective if seen is model else goal.objective(seen, seen.scores(x, batch_size=batch_size))
    meter = Meter(len(x))
    access = min(seen.access, threat.access, key=ACCESS_ORDER.index)
    handle = Handle(seen, len(x), access=access, compute=compute, meter=meter)
    # The attack gets copies of all that the judge will use, so that nothing it writes changes the judgement.
    lent, pursued = x.clone(), pursued.take(torch.arange(len(x), device=x.device))
    limits = replace(threat, mask=None if threat.mask is None else threat.mask.clone())
    before, code = fingerprint(seen.module), code_of(seen.module)
    given = dict(parameters) if fit is None else {**parameters, "fit": fit.clone()}

    def check_model() -> None:
        if fingerprint(seen.module) != before:
            raise ContractError("the attack changed the model's weights or buffers")
        if code_of(seen.module) != code:
            raise ContractError("the attack left hooks in the model, or replaced its forward")

    with frozen(seen.module), own_randomness(derived_seed(seed, *keys[:1])):
        start = time.perf_counter()
        try:
            x_adv = attack(handle, lent, pursued, limits, rng=CaseRandom(seed, keys), **given)
        except Exception:
            check_model()  # a model that the attack has changed must not be used for the next batch
            raise
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        seconds = time.perf_counter() - start
        if any(part.training for part in seen.module.modules()):
            raise ContractError("the attack left the model in train mode")
        check_model()
        if not torch.equal(lent, x):
            raise ContractError("the attack changed its input in place")
    if fit is not None:
        rows = torch.nonzero(~fit).flatten().to(x.device)
        if isinstance(x_adv, Tensor) and x_adv.shape == x.shape:  # otherwise the judge raises
            x_adv = x_adv[rows]
        x, clean, objective, threat = x[rows], clean[rows], objective.take(rows), threat.take(rows)
        meter = meter.shared(rows)
    verdict = judged(model, objective, threat, x, x_adv, clean, batch_size=batch_size)
    return Trial(x, clean, objective, verdict, meter, seconds)


def _fitting(threat: Threat, x: Tensor) -> None:
    if threat.mask is None:
        return
    found, wanted = tuple(threat.mask.shape), tuple(x.shape)
    if found[-2:] != wanted[-2:] or (len(found) == 4 and found[:2] != (wanted[0], 1)):
        raise AttackError(f"the mask has shape {found}, which does not fit images of shape {wanted}")


def judged(
    model: Model,
    objective: Objective,
    threat: Threat,
    x: Tensor,
    x_adv: object,
    clean: Tensor,
    *,
    batch_size: int = 256,
) -> Verdict:
    """Return the verdict on ``x_adv``, with an error for cases whose clean outputs (B, M) are not finite.

    Such a case has no decision that an attack could change. Raises what ``harness.judge.verdict.judge`` does.
    """
    verdict = judge(model, objective, threat, x, x_adv, batch_size=batch_size)
    known = clean.flatten(1).isfinite().all(1) & ~objective.margin(clean).isnan()
    errors = zip(known.tolist(), verdict.errors, strict=True)
    return replace(
        verdict,
        valid=verdict.valid & known,
        reached=verdict.reached & known,
        errors=tuple(error if fine else "the model's clean output is not finite" for fine, error in errors),
    )
