"""A trial is one attack on one batch: it is run under guard, and then judged, here or elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.errors import AttackError, ContractError
from harness.goals import Goal, Objective, lent_objective
from harness.goals.rules import Rules
from harness.handle import AttackFunction, Handle, Meter
from harness.judge.guard import Watch
from harness.judge.one_change import with_one_change
from harness.judge.verdict import Verdict, images_of, judge
from harness.model import Model, exact
from harness.randomness import CaseRandom, derived_seed
from harness.specs import ACCESS_ORDER, Access, Compute, Following
from harness.threat import Threat


@dataclass(frozen=True, eq=False)
class Attacked:
    """Attacked is what an attack left behind: images that nobody has judged yet, and what they cost."""

    returned: object  # as the attack returned it
    meter: Meter  # the passes that the attack spent on each case
    seconds: float  # the time of the attack alone, for the whole batch


@dataclass(frozen=True)
class Elsewhere:
    """Elsewhere stands for an attack that another process runs; none of its code is run here."""

    run: Callable[[Tensor, Tensor], Attacked]
    """Given images (B, C, H, W) on the grid and their clean outputs (B, M), returns what the attack left."""


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
    attack: AttackFunction | Elsewhere,
    images: Tensor,
    goal: Goal,
    threat: Threat,
    *,
    seed: int,
    keys: Sequence[str],
    parameters: Mapping[str, Any],
    following: Following = Following(),  # noqa: B008  (frozen)
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
        following: what the attack's gradients are.
        surrogate: the model that the attack sees, if it is not the victim.
        clean: (B, M) the victim's outputs on the images, if they are known already.
        fit: (B,) bool, for an attack that learns one change for many images: the images that it may learn
            on. Only the others are judged, and they share the cost.

    Raises:
        AttackError: the threat's mask does not fit the images.
        ContractError: the attack changed its input or the model, or returned no images.
    """
    seen = surrogate or model
    x = on_the_grid(model, images, threat)
    clean = model.scores(x, batch_size=batch_size) if clean is None else clean
    objective = goal.objective(model, clean)
    watch = Watch((seen, model), x, {"clean outputs": clean, "goal": objective})
    if isinstance(attack, Elsewhere):
        attacked = attack.run(x, clean)
    else:
        pursued = objective if seen is model else goal.objective(seen, seen.scores(x, batch_size=batch_size))
        attacked = run_attack(
            seen,
            attack,
            x,
            pursued,
            threat,
            seed=seed,
            keys=keys,
            parameters=parameters,
            following=following,
            compute=compute,
            fit=fit,
            watch=watch,
        )
    trial = judge_attacked(model, attacked, x, objective, threat, clean, fit=fit, batch_size=batch_size)
    watch.judged()
    return trial


def on_the_grid(model: Model, images: Tensor, threat: Threat) -> Tensor:
    """Return the images as they are attacked: on the model's device and the threat's grid.

    Raises:
        AttackError: the threat's mask does not fit the images.
    """
    x = threat.round(images.to(model.device, torch.float32))
    _check_mask(threat, x)
    return x


def run_attack(
    seen: Model,
    attack: AttackFunction,
    x: Tensor,
    pursued: Objective,
    threat: Threat,
    *,
    seed: int,
    keys: Sequence[str],
    parameters: Mapping[str, Any],
    following: Following = Following(),  # noqa: B008  (frozen)
    compute: Compute = "float32",
    fit: Tensor | None = None,
    watch: Watch | None = None,
) -> Attacked:
    """Run an attack on a batch that is on the grid; nothing is judged.

    Args:
        following: what the attack's gradients are.
        watch: watches the model that is seen, and what else of this process the judge will use.

    Raises:
        AttackError: gradients of a substitute are asked for, and the model has none.
        ContractError: the attack changed its input, the model, or the state of the process.
    """
    meter = Meter(len(x))
    access = _access(seen, threat)
    watch = watch or Watch((seen,), x)
    watch.used |= {"images": x, "threat": threat, "goal of the attack": pursued}
    rules = Rules(pursued, tuple(x.shape[1:]), x.device)
    handle = Handle(
        seen, len(x), access=access, compute=compute, meter=meter, rules=rules, following=following
    )
    # The attack gets copies of all that the judge will use, so that nothing it writes changes the judgement.
    lent, goal = x.clone(), lent_objective(pursued)
    limits = replace(threat, mask=None if threat.mask is None else threat.mask.to(x.device, copy=True))
    given = dict(parameters) if fit is None else {**parameters, "fit": fit.clone()}
    with exact(seen.device), watch.attack(derived_seed(seed, *keys[:1])):
        start = time.perf_counter()
        x_adv = attack(handle, lent, goal, limits, rng=CaseRandom(seed, keys), **given)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        seconds = time.perf_counter() - start
    if not torch.equal(lent, x):
        raise ContractError("the attack changed its input in place")
    return Attacked(x_adv, meter, seconds)


def judge_attacked(
    model: Model,
    attacked: Attacked,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    clean: Tensor,
    *,
    fit: Tensor | None = None,
    batch_size: int = 256,
) -> Trial:
    """Judge what an attack returned for a batch; with ``fit``, only the images that it did not learn on.

    Raises:
        ContractError: it returned no images.
    """
    x_adv, meter = images_of(attacked.returned, x), attacked.meter
    if fit is not None:
        rows = torch.nonzero(~fit).flatten().to(x.device)
        x_adv = x_adv[rows]
        x, clean, objective, threat = x[rows], clean[rows], objective.take(rows), threat.take(rows)
        meter = meter.shared(rows)
    verdict = judge(model, objective, threat, x, x_adv, clean=clean, batch_size=batch_size)
    if fit is not None:
        verdict = with_one_change(verdict, x, x_adv, objective.groups, threat)
    return Trial(x, clean, objective, verdict, meter, attacked.seconds)


def _access(seen: Model, threat: Threat) -> Access:
    """Return what the attack may see: the least of what the model shows and the threat allows."""
    return min(seen.access, threat.access, key=ACCESS_ORDER.index)


def _check_mask(threat: Threat, x: Tensor) -> None:
    """Refuse a mask that does not fit the images."""
    if threat.mask is None:
        return
    found, wanted = tuple(threat.mask.shape), tuple(x.shape)
    if found[-2:] != wanted[-2:] or (len(found) == 4 and found[:2] != (wanted[0], 1)):
        raise AttackError(f"the mask has shape {found}, which does not fit images of shape {wanted}")
