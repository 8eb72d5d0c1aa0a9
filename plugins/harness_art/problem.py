"""A goal as a problem of classification: what libraries that attack classifiers are shown of a model.

Class logits are shown as they are. Everything else (attributes, embeddings, a class to be reached by an
attack that can only leave one) is a problem of two classes, "not reached" and "reached", with the logits
(-m/2, m/2) of the goal's margin m: their cross-entropy is the logistic loss of m, and argmax decides as the
goal does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.errors import ContractError
from harness.goals import ClassObjective, Objective
from harness.handle import Handle
from harness.specs import ACCESS_ORDER, Access

NEVER = -1e4
"""Logit of a class that is never the answer."""


class SpentError(Exception):
    """Nothing that an attack asked about reached its goal, for as long as it may look."""


def two_logits(model: Handle, objective: Objective, x: Tensor, access: Access) -> Tensor:
    """(B, 2) of images (B, C, H, W), not reached and reached; of a focused handle. One-hot for decisions."""
    if access == "decisions":
        return F.one_hot(model.reaches(x).long(), 2).float()
    margin = objective.margin(model(x))
    return torch.stack([-margin, margin], 1) / 2


def class_logits(model: Handle, x: Tensor, access: Access) -> Tensor:
    """(B, K) logits of images (B, C, H, W); one-hot for decisions."""
    outputs = model(x)
    return F.one_hot(outputs.argmax(1), outputs.shape[1]).float() if access == "decisions" else outputs


class Problem(nn.Module):
    """The classifier that an attack is given for some cases; every answer is metered.

    Attacks ask about whatever images they like and do not say whose they are. Each is booked on the case
    whose original is nearest. All cases must want the same of the model, unless it answers in classes: so a
    wrong guess books a pass on another case, and never asks another question.
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
        """
        Args:
            model: the handle of these cases.
            x: (B, C, H, W) their originals.
            access: the most that is shown.
            in_classes: show the model's own classes.
            probabilities: show the softmax of the logits.
            spare: classes added that are never the answer.
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
        """(N, K) of any images (N, C, H, W)."""
        guarded(x, self.access)
        x = x.to(self._originals)
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
        return logits.softmax(1) if self._probabilities and self.access != "decisions" else logits

    def rows(self, x: Tensor) -> Tensor:
        """(N,) the case whose original each image is nearest to."""
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
    """Refuse images whose gradient is asked for where it is not to be seen."""
    if access != "gradients" and x.requires_grad and torch.is_grad_enabled():
        raise ContractError(f"the attack asked for gradients, but may see only {access}")


def answers_in_classes(objective: Objective, *, leaves: bool, reaches: bool) -> bool:
    """Whether a goal can be shown as the model's own classes to an attack that can leave or reach one."""
    return isinstance(objective, ClassObjective) and (reaches if objective.towards else leaves)


def shares(objective: Objective, cases: Tensor, *, alone: bool, together: bool) -> list[Tensor]:
    """The cases (K,) in calls of their own, all in one, or those that want the same in one each."""
    if not len(cases):
        return []
    if alone:
        return [case[None] for case in cases]
    if together:
        return [cases]
    groups = objective.groups.to(cases.device)[cases]
    return [cases[groups == group] for group in torch.unique(groups)]
