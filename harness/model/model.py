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
- ``class_names``: its classes, if they are others than the data set's, or in another order;
- ``threshold``: the threshold of an embedding, calibrated on a disjoint split;
- ``indirect_anchor(references) -> (B, D)``: the embeddings of images (B, C, H, W) that a generator draws of
  the persons in reference images, as which attackers may try to pass as well;
- ``differentiable(x)``: a substitute with the same outputs, whose gradient attacks may follow where that of
  the module is 0 or misleading, such as the module without its rounding of images;
- ``preprocessing``: what it does to images before its network sees them, where that is told as a value.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.errors import ContractError, HarnessError, ModelError, nearest
from harness.model.preprocessing import Preprocessing
from harness.precision import exact
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
    order: tuple[int, ...] | None = None
    """Which output of the module each of ``names`` is, where a data set has the classes in another order."""
    preprocessing: Preprocessing | None = None
    """What the module does to images first, if that is known; it is part of the module."""

    def in_order_of(self, classes: Sequence[str]) -> Model:
        """Return the model with the classes of a data set first, in their order, and then its others.

        Raises:
            ModelError: it has names for its classes, and a class is not among them.
        """
        if self.head != "classes" or not self.names or self.names == tuple(classes):
            return self
        for name in classes:
            if name not in self.names:
                raise ModelError(f'class "{name}" is none of the model\'s; {nearest(name, self.names)}')
        others = [name for name in self.names if name not in classes]
        order = tuple(self.names.index(name) for name in (*classes, *others))
        return replace(self, names=(*classes, *others), order=order)

    @property
    def device(self) -> torch.device:
        """Return the device of the module's first parameter or buffer; the CPU if it has none."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            return tensor.device
        return torch.device("cpu")

    def scores(self, x: Tensor, *, batch_size: int = 256) -> Tensor:
        """Return the outputs (B, M), (B, K) or (B, D) in float32 and eval mode, without gradients.

        Raises:
            ModelError: the module fails.
            ContractError: it returns something else, or another number of outputs than there are names.
        """
        with ordinary(), frozen(self.module), torch.no_grad(), exact(self.device):
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
        return outputs if self.order is None else outputs[:, list(self.order)]

    def _answer(self, call: Callable[..., Any], x: Tensor, *more: Tensor, dimensions: int = 2) -> Tensor:
        try:
            with torch_unchanged():
                # The module gets a copy, of its own precision: it may write to its input.
                outputs = call(x.to(_precision(self.module), copy=True), *more)
        except HarnessError:
            raise
        except (Exception, SystemExit) as error:
            if out_of_memory(error):
                raise  # a smaller batch may fit
            raise ModelError(f"the model failed: {type(error).__name__}: {error}") from error
        _stay_in_eval_mode(self.module)  # a module that went back to train mode is no fault of an attack
        if not isinstance(outputs, Tensor) or outputs.ndim != dimensions or len(outputs) != len(x):
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            wanted = "(B, outputs)" if dimensions == 2 else "(B,)"
            raise ContractError(f"the model returned {shape} for a batch of {len(x)}; expected {wanted}")
        if outputs.is_complex():
            raise ContractError("the model returned complex numbers; expected real ones")
        return plain(outputs).float()


def wrap_model(
    module: nn.Module,
    head: HeadKind = "classes",
    *,
    names: Sequence[str] = (),
    threshold: float | None = None,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    training_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    access: Access = "gradients",
    preprocessing: Preprocessing | None = None,
) -> Model:
    """Wrap a ``torch.nn.Module`` as a model of the harness; the module is not copied.

    Args:
        module: takes images (B, C, H, W) in [0, 1], and normalises them itself or by ``preprocessing``.
        head: "classes" (B, K), "attributes" (B, M) or "embedding" (B, D).
        names: the names of the outputs; by default the module's ``attribute_names``, or of classes its
            ``class_names``.
        threshold: the threshold of an embedding's distance; by default the module's ``threshold``.
        distance: the distance of two embeddings; by default the module's own, else the Euclidean distance. Of
            this one, ``squared_euclidean`` and ``cosine_distance`` many are computed in one matrix product.
        training_loss: an elementwise loss; by default the module's own, else logistic loss for attributes
            (labels -1 or +1) and cross-entropy for classes.
        access: the most that an attacker may see.
        preprocessing: what the network ``module`` expects of its images, if it does not do that itself.

    Raises:
        ModelError: the head or the access is unknown, ``module`` is not a module, or has a preprocessing
            already, or a preprocessing does not fit the head.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"wrap_model needs a torch.nn.Module, got {type(module).__name__}")
    if head not in get_args(HeadKind):
        raise ModelError(f'head "{head}" is unknown; {nearest(head, get_args(HeadKind))}')
    if access not in ACCESS_ORDER:
        raise ModelError(f'access "{access}" is unknown; {nearest(access, ACCESS_ORDER)}')
    if any(tensor.is_inference() for tensor in (*module.parameters(), *module.buffers())):
        with torch.inference_mode(False):  # what was made in inference mode has no gradients; a copy has
            module = copy.deepcopy(module)
    own = module.module if isinstance(module, nn.DataParallel) else module
    told = _preprocessing_of(own, preprocessing, head)
    named = {"attributes": "attribute_names", "classes": "class_names"}.get(head)
    return Model(
        module if preprocessing is None else preprocessing.wrap(module),
        head,
        tuple(names or (getattr(own, named, None) if named else None) or ()),
        threshold if threshold is not None else getattr(own, "threshold", None),
        distance or getattr(own, "distance", None) or euclidean,
        training_loss
        or getattr(own, "training_loss", None)
        or (_cross_entropy if head == "classes" else _logistic),
        access,
        preprocessing=told,
    )


def _preprocessing_of(module: nn.Module, given: Preprocessing | None, head: HeadKind) -> Preprocessing | None:
    """Return the preprocessing of a module, its own or the given one; refuse two, and one of another head."""
    own = getattr(module, "preprocessing", None)
    if given is not None and isinstance(own, Preprocessing):
        raise ModelError(
            "the module has a preprocessing already; leave preprocessing out, or wrap its network"
        )
    told = given or (own if isinstance(own, Preprocessing) else None)
    if told is not None and told.normalise_embedding and head != "embedding":
        raise ModelError(f"normalise_embedding is for embeddings, and the head is {head}; leave it out")
    return told


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distances (B,) of embeddings (B, D), the default of models."""
    # The small constant keeps the gradient finite where two embeddings are equal.
    return ((a - b).square().sum(1) + 1e-12).sqrt()


def squared_euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared Euclidean distances (B,) of embeddings (B, D)."""
    return (a - b).square().sum(1)


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 - the cosine (B,) of the angle between embeddings (B, D)."""
    return 1 - F.cosine_similarity(a, b)


def _logistic(scores: Tensor, labels: Tensor) -> Tensor:
    return F.softplus(-labels * scores)


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="none")


def plain(outputs: Tensor) -> Tensor:
    """Return a tensor as one of torch itself, whose operations are no library's.

    One that holds its numbers elsewhere, as on several machines, remains what it is.
    """
    kind = type(outputs)
    whole = kind.__torch_dispatch__ is Tensor.__torch_dispatch__
    return outputs.as_subclass(Tensor) if whole and kind is not Tensor else outputs


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory was short, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


NO_GRADIENT = (
    "the model's output has no gradient at the image, as after no_grad, detach or NumPy inside it, or with "
    'quantised layers; mend it, or declare access = "scores"; with differentiable(x), attacks have bpda'
)


def can_be_followed(outputs: Tensor, start: Tensor) -> bool:
    """Say whether gradients reach a tensor, and every operation on their way to it and others has one.

    Quantised operations, and some of C++, have none; what is detached inside reaches no image.
    """
    seen, left = set(), [outputs.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if node.name().endswith("NotImplemented"):
            return False
        seen.add(node)
        left += [following for following, _ in node.next_functions]
    return start.grad_fn in seen


def _precision(module: nn.Module) -> torch.dtype:
    """Return the precision of a module's input: that of its weights where all agree, else float32."""
    kinds = (tensor.dtype for tensor in module.parameters() if tensor.is_floating_point())
    first = next(kinds, torch.float32)
    return first if first == torch.float32 or all(kind == first for kind in kinds) else torch.float32


def put_to_eval(module: nn.Module) -> None:
    """Put a module and all its parts into eval mode, whatever its own ``eval`` does."""
    with suppress(NotImplementedError):  # exported programs keep the mode that they were exported in
        module.eval()
    _stay_in_eval_mode(module)


def _stay_in_eval_mode(module: nn.Module) -> None:
    """Put every part into eval mode, whatever the module's own ``eval`` or ``forward`` does."""
    for part in module.modules():
        if part.training:
            part.training = False


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without parameter gradients; restore its modes and flags afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    put_to_eval(module)
    for parameter, _ in wanted:  # ScriptModules have no requires_grad_
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, requires in wanted:
            parameter.requires_grad_(requires)


@contextmanager
def torch_unchanged() -> Iterator[None]:
    """Put back what modules set for all in torch: the default precision, the threads, the grad mode."""
    default, threads, graph = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch._C._set_grad_enabled(graph)
        if torch.get_default_dtype() != default:
            torch.set_default_dtype(default)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextmanager
def ordinary() -> Iterator[None]:
    """Compute as if the caller were in no ``torch.no_grad`` or ``torch.inference_mode``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
