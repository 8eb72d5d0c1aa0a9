"""The judge measures the images that an attack returns, and relies on no claim of the attack.

An image is a success if it is finite, inside the valid pixel range, the budget and the region, and if the
decision of the victim, in float32 and eval mode, on the image rounded to 8 bits is what the goal asks for.
Everything is measured from a copy of the originals that the attack never saw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from harness.errors import NO_ANSWER, NO_CLEAN_ANSWER, NO_IMAGES, UNUSABLE_IMAGE, ContractError
from harness.goals import Objective
from harness.model import Model
from harness.threat import FLOAT_TOLERANCE, Threat, l0, l2, linf


@dataclass(frozen=True, eq=False)
class Verdict:
    """A Verdict is the judgement on a batch, with one entry per case (B,)."""

    adversarials: Tensor  # (B, C, H, W) as judged, on the threat's grid
    valid: Tensor  # bool: finite, inside the valid pixel range, the budget and the region
    reached: Tensor  # bool: the decision is what the goal asks for
    faults: tuple[str, ...]  # "", or the bound that the image breaks
    errors: tuple[str, ...]  # "", or why the case cannot be judged: it is then neither success nor failure
    linf: Tensor
    l2: Tensor
    l0: Tensor
    margin: Tensor
    outputs: Tensor  # (B, M), of the victim
    unrounded: Tensor | None = None
    """(B,) bool: the image before rounding to 8 bits reaches the goal; None if nothing is rounded."""

    @property
    def success(self) -> Tensor:
        """Tell (B,) which cases are reached and valid."""
        return self.reached & self.valid

    def restricted(
        self, kept: Tensor, faults: tuple[str, ...], errors: tuple[str, ...] | None = None
    ) -> Verdict:
        """Return the verdict in which only the cases ``kept`` (B,) stay valid, with new faults and errors."""
        return replace(
            self,
            valid=self.valid & kept,
            faults=faults,
            errors=self.errors if errors is None else errors,
        )


def judge(
    model: Model,
    objective: Objective,
    threat: Threat,
    x: Tensor,
    x_adv: object,
    *,
    clean: Tensor | None = None,
    batch_size: int = 256,
) -> Verdict:
    """Judge the images that an attack returned for ``x`` (B, C, H, W), which lies on the threat's grid.

    The budget has a slack: a returned image may exceed eps by what its own rounding to 8 bits can have caused
    (``Threat.rounding_slack``); it is then pulled back, so that the judged image never exceeds eps by more
    than 1e-5. An image or a model output that is not finite is an error and never a success; so is an output
    whose margin is not a number.

    Args:
        clean: (B, M) the model's outputs on ``x``. A case whose clean output is not finite has no
            decision that an attack could change; it is an error.

    Raises:
        ContractError: what was returned is not a floating-point tensor of the shape of ``x``.
    """
    with torch.no_grad():
        returned = images_of(x_adv, x)
        # The ends of an image's range tell whether all of it is finite: NaN spreads to both.
        low, high = (end(returned.flatten(1), 1) for end in (torch.amin, torch.amax))
        finite = low.isfinite() & high.isfinite()
        if not finite.all():
            returned = torch.where(finite.view(-1, 1, 1, 1), returned, x)
        inside = ~finite | ((low >= -FLOAT_TOLERANCE) & (high <= 1 + FLOAT_TOLERANCE))
        clamped = returned.clamp(0, 1)
        settled, delta, bounds = _bounded(threat, x, returned, clamped, inside)
        outputs = model.scores(settled, batch_size=batch_size)
        answered = outputs.flatten(1).isfinite().all(1)
        margin = objective.margin(outputs)
        answered &= ~margin.isnan()  # the distance of two embeddings may be undefined
        known = torch.ones_like(finite)
        if clean is not None:
            known = clean.flatten(1).isfinite().all(1) & ~objective.margin(clean).isnan()
        reached = objective.reached(outputs) & answered & finite
        unrounded = _unrounded(model, objective, clamped, settled, reached, batch_size)
    errors = {
        NO_CLEAN_ANSWER: known,
        UNUSABLE_IMAGE: finite,
        NO_ANSWER: answered,
    }
    return Verdict(
        settled,
        torch.stack([*bounds.values(), *errors.values()]).all(0),
        reached & known,
        _first(bounds),
        _first(errors),
        linf(delta),
        l2(delta),
        l0(delta),
        margin,
        outputs,
        None if threat.levels is None else unrounded & answered & finite,
    )


def images_of(x_adv: object, x: Tensor) -> Tensor:
    """Return what an attack returned, as images of the type and shape of ``x``; refuse anything else.

    A subclass of ``Tensor`` is refused too, since its own code would run while it is judged.
    """
    kind = type(x_adv)
    if kind not in (Tensor, nn.Parameter):
        plain = "; return x_adv.as_subclass(torch.Tensor)" if issubclass(kind, Tensor) else ""
        raise ContractError(f"{NO_IMAGES} {kind.__name__} instead of a tensor{plain}")
    images = Tensor.detach(x_adv)  # type: ignore[arg-type]  # of the class, whatever attributes it was given
    if images.shape != x.shape:
        raise ContractError(f"{NO_IMAGES} shape {tuple(images.shape)} for {tuple(x.shape)}")
    if not images.is_floating_point():
        raise ContractError(f"{NO_IMAGES} {images.dtype} instead of floating-point images")
    return images.to(x)


def _bounded(
    threat: Threat, x: Tensor, returned: Tensor, clamped: Tensor, in_box: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the images as judged, their changes, and by fault whether each (B,) keeps to that bound."""
    in_budget = torch.ones_like(in_box)
    if threat.eps is not None:
        slack = threat.rounding_slack(x[0].numel() if len(x) else 0) + FLOAT_TOLERANCE
        in_budget = threat.distance(returned - x) <= threat.eps + slack
    settled = threat.settle(clamped, x)
    if not in_budget.all():
        # an image that exceeds the budget by more than rounding explains is recorded as it is
        settled = torch.where(in_budget.view(-1, 1, 1, 1), settled, threat.round(returned))
    delta = settled - x
    in_region = threat.outside(delta) <= (0 if threat.levels else FLOAT_TOLERANCE)
    if threat.eps is not None:
        # settle pulls back what the slack let through; an image that stays over eps is not valid
        in_budget &= threat.distance(delta) <= threat.eps + FLOAT_TOLERANCE
    faults = {"outside the box": in_box, "over the budget": in_budget, "outside the region": in_region}
    return settled, delta, faults


def _unrounded(
    model: Model, objective: Objective, returned: Tensor, settled: Tensor, reached: Tensor, batch_size: int
) -> Tensor:
    """Tell (B,) whether images reached the goal before rounding; run the model only where this is open."""
    lost = torch.nonzero(~reached & (linf(returned - settled) > 0)).flatten()
    found = reached.clone()
    if len(lost):
        found[lost] = objective.take(lost).reached(model.scores(returned[lost], batch_size=batch_size))
    return found


def _first(checks: dict[str, Tensor]) -> tuple[str, ...]:
    """Return, for each case, the name of the first check that it did not pass, or ""."""
    columns = {name: passed.tolist() for name, passed in checks.items()}
    cases = len(next(iter(columns.values())))
    return tuple(next((name for name in columns if not columns[name][case]), "") for case in range(cases))
