"""Answers: a whole model outside any run as a module of logits, for libraries that take a classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.errors import ModelError, nearest
from harness.goals import FlipObjective, Objective, VerificationObjective
from harness.handle import Handle
from harness.model import Model, frozen
from harness_art.problem import class_logits, guarded, two_logits

SIZES = (*((side, side) for side in range(8, 257)), (88, 72), (112, 96), (128, 96), (160, 128), (218, 178))
"""Heights and widths at which a network is tried that does not say its own."""


class Answers(nn.Module):
    """A model, unmetered, as logits: of its classes, or of (absent, present), (rejected, accepted)."""

    def __init__(self, model: Model, objective: Objective | None = None) -> None:
        """
        Args:
            objective: of one case, which every image asks about; None shows the model's own classes.
        """
        super().__init__()
        self.answering, self._objective = model, objective
        self.shape: tuple[int, ...] | None = None
        """(C, H, W) of the images last seen."""
        self.classes: int | None = (2 if objective else len(model.names)) or None
        """How many classes it answers, as soon as that is known."""
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) or (B, 2), differentiable where the model shows gradients; on the images' own device."""
        model, device = self.answering, x.device
        guarded(x, model.access)
        x = x.to(model.device, torch.float32)
        with frozen(model.module):
            handle = Handle(model, len(x), access=model.access)
            if self._objective is None:
                logits = class_logits(handle, x, model.access)
            else:
                objective = self._objective.take(torch.zeros(len(x), dtype=torch.long, device=x.device))
                logits = two_logits(handle.focus(objective), objective, x, model.access)
        self.shape, self.classes = tuple(x.shape[1:]), logits.shape[1]
        return logits.to(device)


def only_shape(module: Answers) -> tuple[int, int, int] | None:
    """(C, H, W) where the network takes images of one size alone; None where it takes several, or none."""
    convolution = next(
        (part for part in module.answering.module.modules() if isinstance(part, nn.Conv2d)), None
    )
    channels = (convolution.in_channels,) if convolution else (3, 1)
    for depth in channels:
        for height, width in SIZES:
            if _takes(module, (depth, height, width)):
                several = _takes(module, (depth, height + 16, width + 16))
                return None if several else (depth, height, width)
    return None


def _takes(module: Answers, shape: tuple[int, int, int]) -> bool:
    seen = module.shape, module.classes
    try:
        with torch.no_grad():
            module(torch.zeros(1, *shape, device=module.answering.device))
    except (RuntimeError, ValueError, IndexError):  # what layers say of a size that is not theirs
        return False
    finally:
        module.shape, module.classes = seen
    return True


def answers_of(
    model: Model,
    *,
    attribute: str | int | None = None,
    anchor: Tensor | None = None,
    threshold: float | None = None,
) -> Answers:
    """A model as a module of logits.

    Args:
        attribute: name or column; may be left out where there is only one.
        anchor: (D,) or (1, D), an embedding.
        threshold: of the distance to the anchor; the model's by default.

    Raises:
        ModelError: what the head needs is missing, or belongs to another head.
    """
    if not isinstance(model, Model):
        raise ModelError(
            f"a harness model is needed, got {type(model).__name__}; wrap it: harness.wrap_model"
        )
    for name, value, head in (
        ("attribute", attribute, "attributes"),
        ("anchor", anchor, "embedding"),
        ("threshold", threshold, "embedding"),
    ):
        if value is not None and model.head != head:
            raise ModelError(f'"{name}" is for models with head "{head}"; this one has "{model.head}"')
    if model.head == "classes":
        return Answers(model)
    if model.head == "attributes":
        return Answers(model, _present(model, attribute))
    return Answers(model, _accepted(model, anchor, threshold))


def _present(model: Model, attribute: str | int | None) -> Objective:
    """Of one case: that the attribute be present."""
    if attribute is None:
        if len(model.names) != 1:
            known = f"one of {', '.join(model.names)}" if model.names else "its column"
            raise ModelError(f"which attribute is asked about? Give attribute=…, {known}")
        attribute = 0
    if isinstance(attribute, str):
        if attribute not in model.names:
            raise ModelError(f'attribute "{attribute}" is unknown; {nearest(attribute, model.names)}')
        attribute = model.names.index(attribute)
    if attribute < 0 or (model.names and attribute >= len(model.names)):
        raise ModelError(f"attribute {attribute} is outside the model's {len(model.names)}")
    column = torch.tensor([attribute], device=model.device)
    absent = torch.zeros(1, dtype=torch.bool, device=model.device)
    return FlipObjective(column, absent, absent, model.training_loss)


def _accepted(model: Model, anchor: Tensor | None, threshold: float | None) -> Objective:
    """Of one case: that the image be accepted as the anchor's person."""
    bound = model.threshold if threshold is None else threshold
    if anchor is None:
        raise ModelError("an embedding decides only against an anchor; give anchor=…, an embedding (D,)")
    if bound is None:
        raise ModelError("the model has no calibrated threshold; give threshold=…")
    anchor = torch.as_tensor(anchor, dtype=torch.float32, device=model.device)
    if anchor.ndim == 1:
        anchor = anchor[None]
    if anchor.ndim != 2 or len(anchor) != 1:
        raise ModelError(f"the anchor has shape {tuple(anchor.shape)}; expected (D,) or (1, D)")
    wrong = torch.zeros(1, dtype=torch.bool, device=model.device)
    return VerificationObjective(anchor, bound, wrong, True, model.distance)
