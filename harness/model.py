"""Model: a module, its head and its decision rule. Attacks receive a handle of it (``harness.handle``).

A module takes float32 images (B, C, H, W) in [0, 1] on the data set's grid; resizing, cropping and
normalisation are its own. By head it answers

- ``attributes``: scores (B, M), present where > 0 (a tie is absent);
- ``classes``: logits (B, K), decided by argmax;
- ``embedding``: (B, D), accepted where the distance to an anchor is below the threshold.

A module may also have, and the harness then uses,

- ``select(x, columns) -> (B,)``: the score of attribute ``columns[b]`` alone, where that is cheaper;
- ``logits(x, columns) -> (B, 2)``: the two logits (absent, present) behind each of those scores;
- ``training_loss(scores, labels)``, elementwise: its own loss (attributes: labels -1 or +1);
- ``attribute_names``: what it answers, where that is fewer than the data set's;
- ``threshold``: of an embedding, calibrated on a disjoint split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.errors import ContractError, ModelError, nearest
from harness.specs import ACCESS_ORDER, Access, HeadKind


@dataclass(frozen=True, eq=False)
class Model:
    """A module with its head; made by ``wrap_model``."""

    module: nn.Module
    head: HeadKind
    names: tuple[str, ...] = ()
    """Attribute or class names of the outputs, where known."""
    threshold: float | None = None
    distance: Callable[[Tensor, Tensor], Tensor] = field(default=F.pairwise_distance)
    """Between embeddings (B, D) and (B, D): (B,)."""
    training_loss: Callable[[Tensor, Tensor], Tensor] = field(default=F.mse_loss)
    """Elementwise loss of scores and labels."""
    access: Access = "gradients"

    @property
    def device(self) -> torch.device:
        """Where the module's first parameter or buffer lies; the CPU where it has none."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            return tensor.device
        return torch.device("cpu")

    def scores(self, x: Tensor, *, batch_size: int = 256) -> Tensor:
        """Outputs (B, M), (B, K) or (B, D) in float32 and eval mode, without gradients."""
        with frozen(self.module), torch.no_grad(), exact(self.device):
            return torch.cat([self._outputs(part) for part in torch.split(x.to(self.device), batch_size)])

    def decide(self, outputs: Tensor) -> Tensor:
        """Attributes: (B, M) bool, present; classes: (B,) argmax; an embedding decides nothing alone."""
        if self.head == "attributes":
            return outputs > 0
        if self.head == "classes":
            return outputs.argmax(1)
        raise ModelError("an embedding decides only against an anchor")

    def _outputs(self, x: Tensor) -> Tensor:
        outputs = self._answer(self.module, x)
        if self.names and self.head != "embedding" and outputs.shape[1] != len(self.names):
            width, names = outputs.shape[1], len(self.names)
            raise ContractError(f"the model answered {width} {self.head}, and has {names} names")
        return outputs

    def _answer(self, call: Callable[..., Any], x: Tensor, *more: Tensor, dimensions: int = 2) -> Tensor:
        outputs = call(x, *more)
        if not isinstance(outputs, Tensor) or outputs.ndim != dimensions or len(outputs) != len(x):
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            wanted = "(B, outputs)" if dimensions == 2 else "(B,)"
            raise ContractError(f"the model answered {shape} to a batch of {len(x)}; expected {wanted}")
        return outputs.float()


def wrap_model(
    module: nn.Module,
    head: HeadKind = "classes",
    *,
    names: Sequence[str] = (),
    threshold: float | None = None,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    training_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    access: Access = "gradients",
) -> Model:
    """A ``torch.nn.Module`` as the harness sees it; the module is not copied.

    Args:
        module: takes (B, C, H, W) in [0, 1]; its normalisation is its own.
        head: "classes" (B, K), "attributes" (B, M) or "embedding" (B, D).
        names: of the outputs; the module's ``attribute_names`` by default.
        threshold: of an embedding's distance; the module's ``threshold`` by default.
        distance: between embeddings; Euclidean by default.
        training_loss: elementwise; by default the module's own, else logistic loss for attributes (labels
            -1 or +1) and cross-entropy for classes.
        access: the most that an attacker may see.

    Raises:
        ModelError: the head or the access is unknown, or ``module`` is not a module.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"wrap_model needs a torch.nn.Module, got {type(module).__name__}")
    if head not in get_args(HeadKind):
        raise ModelError(f'head "{head}" is unknown; {nearest(head, get_args(HeadKind))}')
    if access not in ACCESS_ORDER:
        raise ModelError(f'access "{access}" is unknown; {nearest(access, ACCESS_ORDER)}')
    own = getattr(module, "training_loss", None)
    return Model(
        module,
        head,
        tuple(names or getattr(module, "attribute_names", ())),
        threshold if threshold is not None else getattr(module, "threshold", None),
        distance or getattr(module, "distance", None) or _euclidean,
        training_loss or own or (_cross_entropy if head == "classes" else _logistic),
        access,
    )


def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    # The small constant keeps the gradient finite where an embedding meets its anchor.
    return ((a - b).square().sum(1) + 1e-12).sqrt()


def _logistic(scores: Tensor, labels: Tensor) -> Tensor:
    return F.softplus(-labels * scores)


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="none")


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and no parameter gradients inside; modes and flags as they were outside."""
    modes = [(part, part.training) for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.eval()
    module.requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, requires in wanted:
            parameter.requires_grad_(requires)


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """float32 as it is written: no autocast that somebody left on, no convolutions in TF32."""
    convolutions = (
        cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)
        if device.type == "cuda"
        else nullcontext()
    )
    with torch.autocast(device.type, enabled=False), convolutions:
        yield
