"""Networks of two classes are trained by Adam with a constant learning rate, for some epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.precision import Precision, passes
from harness.randomness import derived_seed
from harness.training import Context, StateDict
from harness_bayes.two_class_images import Batch, FreshImages, TwoClassImages, training_images

LARGEST_LOSS = 1e9
"""The loss beyond which a training has diverged, although networks with LeakyReLU may stay finite."""
Loss = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""A function of a network, images (B, C, H, W), labels (B,) and a generator on the CPU; returns a scalar."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A Recipe holds what decides the weights, beside network, data set, loss and seed."""

    images: Annotated[int, Ge(2)] | None = None
    """The largest number of training images to use, the first of each class; None: all."""
    fresh: bool = False
    """Whether each epoch has new images, as many as ``images``, where the data set draws them: no image is
    learned twice, as published for samples. Real images stay the same."""
    epochs: Annotated[int, Ge(1)] = 6
    """The number of passes over these images."""
    batch_size: Annotated[int, Ge(1)] = 128
    learning_rate: Annotated[float, Gt(0), Lt(1e6)] = 1e-3
    """The constant learning rate of Adam."""
    precision: Precision = "float32"
    """"mixed" computes passes in bfloat16 if the processor supports it, and keeps weights in float32."""


DEFAULT = Recipe()


def cross_entropy(network: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator) -> Tensor:
    """Return the mean cross-entropy of a batch."""
    return F.cross_entropy(network(x).float(), labels)


def fit(
    network: nn.Module,
    dataset: Dataset,
    loss: Loss,
    recipe: Recipe,
    context: Context,
    identity: Mapping[str, Any],
) -> None:
    """Train ``network`` in place, and leave it in eval mode.

    The weights and Adam's moments after an epoch are kept as a unit: an interrupted training continues after
    its last finished epoch, and a training of more epochs continues one of fewer. Each epoch has its own
    random numbers for order and noise, so that the result does not depend on this.

    Args:
        identity: the identity of the training, without ``recipe`` and what the zoo adds to it.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set does not have two classes, or the training diverged.
    """
    images = training_images(dataset, recipe.images, recipe.fresh)
    network.to(context.device)
    named = dict(network.named_parameters())
    optimizer = torch.optim.Adam(named.values(), lr=recipe.learning_rate)
    known = {key: value for key, value in asdict(recipe).items() if key != "epochs"}
    for epoch in range(1, recipe.epochs + 1):

        def make(epoch: int = epoch) -> StateDict:
            _train_epoch(network, optimizer, images, loss, recipe, context, epoch)
            return _state(named, optimizer)

        _restore(named, optimizer, context.unit({**identity, **known, "epoch": epoch}, make))
        context.report(epoch / recipe.epochs, f"epoch {epoch}/{recipe.epochs}")
    network.eval()


def _train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: TwoClassImages | FreshImages,
    loss: Loss,
    recipe: Recipe,
    context: Context,
    epoch: int,
) -> None:
    network.train()
    order = np.random.default_rng(derived_seed(context.seed, "order", epoch)).permutation(len(images))
    noise = torch.Generator().manual_seed(derived_seed(context.seed, "noise", epoch))
    done = 0
    for read, classes in _ahead(images, order, recipe.batch_size, epoch):
        x = torch.from_numpy(read).to(context.device).float() / 255  # (B, C, H, W)
        labels = torch.from_numpy(classes).to(context.device)  # (B,)
        with passes(recipe.precision, context.device):
            value = loss(network, x, labels, noise)
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        shown = value.item()
        if not shown <= LARGEST_LOSS:  # true for NaN, too
            raise ModelError(
                f"training diverged in epoch {epoch}: the loss is {shown}; "
                f"give a lower learning_rate than {recipe.learning_rate:g}"
            )
        done += len(classes)
        share = (epoch - 1 + done / len(order)) / recipe.epochs
        context.report(share, f"epoch {epoch}/{recipe.epochs}, loss {shown:.3f}")


def _ahead(
    images: TwoClassImages | FreshImages, order: npt.NDArray[np.intp], size: int, epoch: int
) -> Iterator[Batch]:
    """Yield the batches of an epoch; the next one is drawn or read while the network learns from one."""
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(images.batch, batches[0], epoch)
        for following in batches[1:]:
            ready = coming.result()
            coming = reader.submit(images.batch, following, epoch)
            yield ready
        yield coming.result()


def _state(named: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> StateDict:
    """Return copies of all that the next epoch begins with."""
    state: StateDict = {}
    for name, parameter in named.items():
        state[f"weight.{name}"] = parameter.detach().clone()
        state |= {f"{key}.{name}": value.clone() for key, value in optimizer.state[parameter].items()}
    return state


def _restore(named: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, state: StateDict) -> None:
    keys = {name.partition(".")[0] for name in state} - {"weight"}
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(state[f"weight.{name}"])
            # Adam keeps its step count on the CPU.
            optimizer.state[parameter] = {
                key: state[f"{key}.{name}"].to("cpu" if key == "step" else parameter.device) for key in keys
            }
