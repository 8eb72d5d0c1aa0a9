"""Answers shows a whole model, outside any run, as a module of logits to libraries that need a classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, ModelError, nearest
from harness.goals import FlipObjective, Objective, VerificationObjective
from harness.handle import Handle
from harness.model import Model, frozen
from harness_art.problem import class_logits, guarded, two_logits

SIZES = (*((side, side) for side in range(8, 257)), (88, 72), (112, 96), (128, 96), (160, 128), (218, 178))
"""The heights and widths that are tried on a network whose input size is not known."""


class Answers(nn.Module):
    """Answers computes the logits of a model: its classes, or (absent, present), (rejected, accepted)."""

    def __init__(self, model: Model, objective: Objective | None = None) -> None:
        """Wrap a model; its passes are not counted.

        Args:
            objective: the objective of one case, for every image; None shows the model's own classes.
        """
        super().__init__()
        self.answering, self._objective = model, objective
        self.shape: tuple[int, ...] | None = None
        """(C, H, W) of the last images."""
        self.classes: int | None = (2 if objective else len(model.names)) or None
        """The number of classes, once it is known."""
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) or (B, 2), differentiable if the access allows it, on the images' device."""
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
    """Return (C, H, W) if the network accepts images of one size only; None for several sizes, or none."""
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
    except (HarnessError, RuntimeError, ValueError, IndexError):  # what layers of another size lead to
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
    """Return a model as a module of logits.

    Args:
        attribute: its name or column; it may be left out if there is only one.
        anchor: (D,) or (1, D), the embedding of the reference (enrolled template) image.
        threshold: the threshold of the distance to the anchor; by default the model's own.

    Raises:
        ModelError: an argument that the head needs is missing, or belongs to another head.
    """
    if not isinstance(model, Model):
        raise ModelError(
            f"a model of the harness is needed, not {type(model).__name__}; wrap it with harness.wrap_model"
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
    """Return the objective of one case that the attribute becomes present."""
    if attribute is None:
        if len(model.names) != 1:
            known = f"one of {', '.join(model.names)}" if model.names else "its column"
            raise ModelError(f"the model has several attributes; give attribute=…, {known}")
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
    """Return the objective of one case that the image is accepted as the anchor's person."""
    bound = model.threshold if threshold is None else threshold
    if anchor is None:
        raise ModelError("an embedding has no decision without an anchor; give anchor=…, an embedding (D,)")
    if bound is None:
        raise ModelError("the model has no calibrated threshold; give threshold=…")
    anchor = torch.as_tensor(anchor, dtype=torch.float32, device=model.device)
    if anchor.ndim == 1:
        anchor = anchor[None]
    if anchor.ndim != 2 or len(anchor) != 1:
        raise ModelError(f"the anchor has shape {tuple(anchor.shape)}; expected (D,) or (1, D)")
    wrong = torch.zeros(1, dtype=torch.bool, device=model.device)
    return VerificationObjective(anchor, bound, wrong, True, model.distance)
