"""A Problem shows a goal as a problem of classification to libraries that attack classifiers.

Class logits are shown as they are. Everything else (attributes, embeddings, a targeted goal of an attack that
supports only untargeted ones) is a problem of two classes, "not reached" and "reached", with the logits
(-m/2, m/2) of the goal's margin m: their cross-entropy is the logistic loss of m, and their argmax is the
decision of the goal. Attacks that walk along the boundary between them need an image to start from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.errors import AttackError, ContractError
from harness.goals import ClassObjective, Objective, VerificationObjective
from harness.handle import Handle
from harness.specs import ACCESS_ORDER, Access
from harness.threat import Threat

NEVER = -1e4
"""The logit of a class that is never the decision."""


class SpentError(Exception):
    """Too many images of an attack in a row did not reach the goal."""


def two_logits(model: Handle, objective: Objective, x: Tensor, access: Access) -> Tensor:
    """Return logits (B, 2), not reached and reached, of images (B, C, H, W); one-hot for decisions."""
    if access == "decisions":
        return F.one_hot(model.reaches(x).long(), 2).float()
    margin = objective.margin(model(x))
    return torch.stack([-margin, margin], 1) / 2


def class_logits(model: Handle, x: Tensor, access: Access) -> Tensor:
    """Return logits (B, K) of images (B, C, H, W); one-hot for decisions."""
    outputs = model(x)
    return F.one_hot(outputs.argmax(1), outputs.shape[1]).float() if access == "decisions" else outputs


class Problem(nn.Module):
    """A Problem is the classifier that an attack gets for some cases; all passes are counted.

    Attacks use any images, and do not say to which case they belong. The passes of each image are counted for
    the case whose original is nearest. All cases must have the same goal, unless the logits are those of
    classes: so a wrong guess counts a pass for another case, but never uses another goal.
    """

    def __init__(
        self,
        model: Handle,
        objective: Objective,
        x: Tensor,
        *,
        access: Access,
        in_classes: bool,
        probabilities: bool = False,
        spare: int = 0,
        patience: int | None = None,
    ) -> None:
        """Make the problem of some cases.

        Args:
            model: the handle of these cases.
            x: (B, C, H, W) their originals.
            access: the largest access that is given.
            in_classes: whether the logits are those of the model's own classes.
            probabilities: whether the outputs are the softmax of the logits.
            spare: the number of added classes that are never the decision.
            patience: how many images in a row may miss the goal before ``SpentError`` is raised.
        """
        super().__init__()
        self.access: Access = min(model.access, access, key=ACCESS_ORDER.index)
        self._model, self._objective, self._originals = model.focus(objective), objective, x
        self._plain = model
        self._in_classes, self._probabilities, self._spare = in_classes, probabilities, spare
        self._patience, self._missed = patience, 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of any images (N, C, H, W), on the device of these."""
        guarded(x, self.access)
        device, x = x.device, x.to(self._originals)
        rows = self.rows(x)
        objective = self._objective.take(rows)
        if self._in_classes:
            logits = class_logits(self._plain.take(rows), x, self.access)
            reached = objective.reached(logits.detach())
        else:
            logits = two_logits(self._model.take(rows), objective, x, self.access)
            reached = logits.detach().argmax(1) == 1
        self._wait(reached)
        if self._spare:
            logits = F.pad(logits, (0, self._spare), value=0.0 if self.access == "decisions" else NEVER)
        if self._probabilities and self.access != "decisions":
            logits = logits.softmax(1)
        return logits.to(device)  # the Toolbox has a GPU of its own choice

    def rows(self, x: Tensor) -> Tensor:
        """Return (N,) the case whose original is nearest to each image."""
        if len(self._originals) == 1:
            return torch.zeros(len(x), dtype=torch.long, device=x.device)
        with torch.no_grad():
            return torch.cdist(x.flatten(1), self._originals.flatten(1)).argmin(1)

    def _wait(self, reached: Tensor) -> None:
        if self._patience is None:
            return
        self._missed = 0 if bool(reached.any()) else self._missed + len(reached)
        if self._missed > self._patience:
            raise SpentError


def guarded(x: Tensor, access: Access) -> None:
    """Refuse images whose gradient is required if the access does not allow it."""
    if access != "gradients" and x.requires_grad and torch.is_grad_enabled():
        raise ContractError(f"the attack asked for gradients, but may see only {access}")


def answers_in_classes(objective: Objective, *, leaves: bool, reaches: bool) -> bool:
    """Tell whether a goal can use the model's own classes with an attack that leaves, or reaches, a class."""
    return isinstance(objective, ClassObjective) and (reaches if objective.towards else leaves)


def shares(objective: Objective, cases: Tensor, *, alone: bool, together: bool) -> list[Tensor]:
    """Group the cases (K,) of each call: one case alone, all together, or those with the same goal."""
    if not len(cases):
        return []
    if alone:
        return [case[None] for case in cases]
    if together:
        return [cases]
    groups = objective.groups.to(cases.device)[cases]
    return [cases[groups == group] for group in torch.unique(groups)]


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
