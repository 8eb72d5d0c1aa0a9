"""A Model is a module with its head (output type) and its decision rule; attacks receive a handle of it.

A module takes float32 images (B, C, H, W) in [0, 1] at the size of the data set's images; resizing, cropping
and normalisation are part of the module. Its head says what it returns:

- ``attributes``: scores (B, M); an attribute is present where its score is > 0, and absent at 0;
- ``classes``: logits (B, K); the decision is the argmax;
- ``embedding``: (B, D); an image is accepted as a person if its distance to the anchor, the embedding of
  that person's reference (enrolled template) image, is below the threshold.

A module may also have, and the harness then uses,

- ``select(x, columns) -> (B,)``: the score of attribute ``columns[b]`` alone, if that is cheaper;
- ``logits(x, columns) -> (B, 2)``: the two logits (absent, present) behind each of those scores;
- ``training_loss(scores, labels)``: its own elementwise loss (labels of attributes are -1 or +1);
- ``attribute_names``: the attributes that it has scores for, if they are fewer than the data set's;
- ``threshold``: the threshold of an embedding, calibrated on a disjoint split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.errors import ContractError, ModelError, nearest
from harness.precision import exact as exact
from harness.specs import ACCESS_ORDER, Access, HeadKind


@dataclass(frozen=True, eq=False)
class Model:
    """A Model is a module with its head; ``wrap_model`` makes it."""

    module: nn.Module
    head: HeadKind
    names: tuple[str, ...] = ()
    """The attribute or class names of the outputs, if they are known."""
    threshold: float | None = None
    distance: Callable[[Tensor, Tensor], Tensor] = field(default=F.pairwise_distance)
    """The distance (B,) between embeddings (B, D) and (B, D)."""
    training_loss: Callable[[Tensor, Tensor], Tensor] = field(default=F.mse_loss)
    """The elementwise loss of scores and labels."""
    access: Access = "gradients"

    @property
    def device(self) -> torch.device:
        """Return the device of the module's first parameter or buffer; the CPU if it has none."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            return tensor.device
        return torch.device("cpu")

    def scores(self, x: Tensor, *, batch_size: int = 256) -> Tensor:
        """Return the outputs (B, M), (B, K) or (B, D) in float32 and eval mode, without gradients."""
        with frozen(self.module), torch.no_grad(), exact(self.device):
            return torch.cat([self._outputs(part) for part in torch.split(x.to(self.device), batch_size)])

    def decide(self, outputs: Tensor) -> Tensor:
        """Return the decisions: attributes (B, M) bool, classes (B,) argmax; an embedding alone has none."""
        if self.head == "attributes":
            return outputs > 0
        if self.head == "classes":
            return outputs.argmax(1)
        raise ModelError("an embedding has no decision without an anchor to compare it with")

    def _outputs(self, x: Tensor) -> Tensor:
        outputs = self._answer(self.module, x)
        if self.names and self.head != "embedding" and outputs.shape[1] != len(self.names):
            width, names = outputs.shape[1], len(self.names)
            raise ContractError(f"the model returned {width} {self.head}, but has {names} names")
        return outputs

    def _answer(self, call: Callable[..., Any], x: Tensor, *more: Tensor, dimensions: int = 2) -> Tensor:
        outputs = call(x, *more)
        if not isinstance(outputs, Tensor) or outputs.ndim != dimensions or len(outputs) != len(x):
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            wanted = "(B, outputs)" if dimensions == 2 else "(B,)"
            raise ContractError(f"the model returned {shape} for a batch of {len(x)}; expected {wanted}")
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
    """Wrap a ``torch.nn.Module`` as a model of the harness; the module is not copied.

    Args:
        module: takes images (B, C, H, W) in [0, 1], and normalises them itself.
        head: "classes" (B, K), "attributes" (B, M) or "embedding" (B, D).
        names: the names of the outputs; by default the module's ``attribute_names``.
        threshold: the threshold of an embedding's distance; by default the module's ``threshold``.
        distance: the distance of two embeddings; by default the module's own, else the Euclidean distance.
        training_loss: an elementwise loss; by default the module's own, else logistic loss for attributes
            (labels -1 or +1) and cross-entropy for classes.
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
    # The small constant keeps the gradient finite where two embeddings are equal.
    return ((a - b).square().sum(1) + 1e-12).sqrt()


def _logistic(scores: Tensor, labels: Tensor) -> Tensor:
    return F.softplus(-labels * scores)


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="none")


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without parameter gradients; restore its modes and flags afterwards."""
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
