"""Attacks that walk along a decision boundary need an image that reaches the goal to start from."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective, VerificationObjective
from harness.handle import Handle
from harness.threat import Threat


def enrolled_start(model: Handle, objective: Objective, x: Tensor, threat: Threat) -> Tensor | None:
    """Return the target's own image for the impersonation of one case, if it reaches the goal.

    Random images, from which such attacks start otherwise, hardly ever match anybody.

    Args:
        model: the handle of this case.
        x: (1, C, H, W) its original, which stays outside the threat's region.

    Raises:
        AttackError: the image has another shape than the original.
    """
    if not isinstance(objective, VerificationObjective) or not objective.towards:
        return None
    references = objective.references
    if references is None:
        return None
    if references.shape != x.shape:
        found, wanted = tuple(references.shape[1:]), tuple(x.shape[1:])
        raise AttackError(f"the goal's references are {found} images; attacks start there, and need {wanted}")
    return _if_reached(model, objective, x, threat.round(references.to(x)), threat)


def negative_start(model: Handle, objective: Objective, x: Tensor, threat: Threat) -> Tensor | None:
    """Return the photographic negative of one image (1, C, H, W), if it evades, for want of another start."""
    if not isinstance(objective, VerificationObjective) or objective.towards:
        return None
    return _if_reached(model, objective, x, 1 - x, threat)


def _if_reached(
    model: Handle, objective: Objective, x: Tensor, start: Tensor, threat: Threat
) -> Tensor | None:
    if threat.mask is not None:
        start = torch.where(threat.mask.to(x.device), start, x)
    return start if bool(model.focus(objective).reaches(start)) else None
