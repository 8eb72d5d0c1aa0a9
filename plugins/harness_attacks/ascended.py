"""Attacks of the standard ensemble ascend the cross-entropy, the difference of logits ratio or the margin.

The difference of logits ratio (DLR) is the margin of the logits divided by a difference of other logits, so
that scaling the logits does not change it (Croce and Hein 2020, https://arxiv.org/abs/2003.01690, section 4,
eq. 5 and 6). It needs three classes. A decision between two values (an attribute is present or not, a person
is accepted or not, one of two classes) has one number alone, and nothing to divide it by: there the value is
the margin instead, and the cross-entropy is that of the logits (0, margin), which is softplus of the margin.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.goals import ClassObjective, Objective
from harness.handle import Handle

Ascended = Literal["cross-entropy", "dlr", "targeted-dlr", "margin"]
"""The value that is ascended."""
TINY = 1e-12
"""What is added to the divisor of the ratio, as in the authors' code."""


def has_ratio(objective: Objective, outputs: Tensor) -> bool:
    """Tell whether the ratio is defined for outputs (B, K): for decisions between more than two classes."""
    return isinstance(objective, ClassObjective) and outputs.shape[1] > 2


def value_of(objective: Objective, loss: Ascended, outputs: Tensor, aim: Tensor | None = None) -> Tensor:
    """Return (B,) the value of outputs (B, M) that an attack ascends to reach the goal.

    Args:
        aim: (B,) the class that the targeted ratio approaches, as ``aims`` returns it.
    """
    if loss == "margin" or not has_ratio(objective, outputs):
        margin = objective.margin(outputs)
        return F.softplus(margin) if loss == "cross-entropy" else margin
    assert isinstance(objective, ClassObjective)
    classes = objective.classes
    if loss == "cross-entropy":
        entropy = F.cross_entropy(outputs, classes, reduction="none")
        return -entropy if objective.towards else entropy
    ranked = outputs.sort(dim=1, descending=True).values
    if loss == "dlr" or aim is None:
        return objective.margin(outputs) / (ranked[:, 0] - ranked[:, 2] + TINY)
    own, wanted = (aim, classes) if objective.towards else (classes, aim)
    gap = outputs.gather(1, wanted[:, None])[:, 0] - outputs.gather(1, own[:, None])[:, 0]
    last = ranked[:, 3] if outputs.shape[1] > 3 else ranked[:, 2]
    return gap / (ranked[:, 0] - (ranked[:, 2] + last) / 2 + TINY)


def aims(model: Handle, x: Tensor, objective: Objective, targets: int) -> list[Tensor | None]:
    """Return the classes (B,) that targeted attacks go to, one after the other, the likeliest first.

    For a goal that names its class, it is the class (B,) that is left instead: the likeliest other one. On a
    decision between two values there is nothing to choose, and the only entry is None.

    Args:
        model: the handle of the images (B, C, H, W), focused on the objective; it makes one forward pass.
        targets: the largest number of classes.
    """
    if not isinstance(objective, ClassObjective):
        return [None]
    with torch.no_grad():
        outputs = model.precise()(x)
    if not has_ratio(objective, outputs):
        return [None]
    others = outputs.nan_to_num(-torch.inf).scatter(1, objective.classes[:, None], -torch.inf)
    count = 1 if objective.towards else min(targets, outputs.shape[1] - 1)
    return list(others.topk(count, dim=1).indices.unbind(1))
