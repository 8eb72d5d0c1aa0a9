"""Attribute networks are trained by a recipe, the published one or a quick one, in one training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.dataset import Dataset
from harness.errors import ModelError, nearest
from harness.precision import Precision, passes
from harness.randomness import derived_seed
from harness.training import Context
from harness_attributes.schedules import Schedule, scheduler_of
from harness_attributes.state import Checkpoint, Training, keep, resume

Optimizer = Literal["adamw", "rmsprop"]
Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of outputs (B, …) and labels (B, K), -1 or +1, that returns (B, K); training sums it over K."""
Report = Callable[[float, str], None]
EARLIEST = 2
"""The first epoch that ``patience`` may keep: published networks converged after two to ten epochs, and the
study compares them with their state after two, which must not be the later one."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A Recipe holds what decides the trained weights, beside the network, the data and the seed.

    The defaults are those of the quick presets.
    """

    optimizer: Optimizer = "adamw"
    schedule: Schedule = "one-cycle"
    """"one-cycle" rises to the learning rate and falls to 0; "inverse-decay" is Caffe's "inv". A state amid
    one cycle stands at a high rate and one at its end does not: to compare checkpoints, choose another."""
    learning_rate: float = 3e-3
    """The highest learning rate."""
    weight_decay: float = 0.05
    """The weight decay: decoupled from the gradient with "adamw", part of the gradient with "rmsprop"."""
    epochs: int
    """The largest number of epochs."""
    patience: int | None = None
    """Stop after so many epochs without a smaller loss on the validation set, and keep the best epoch, from
    ``EARLIEST`` on; None trains all epochs and keeps the last."""
    batch_size: int
    flip: bool = True
    """Whether a random half of the training images is mirrored left to right in each epoch."""
    precision: Precision = "mixed"
    """"mixed" computes passes in bfloat16 if the processor supports it, and keeps weights and optimiser in
    float32; it takes half the time."""
    rms_decay: float = 0.98
    """The decay of RMSProp's running mean of squared gradients."""
    decay_gamma: float = 1e-4
    """The γ of the inverse decay."""
    decay_power: float = 0.75
    """The power of the inverse decay."""

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ModelError(f"{name} = {value} must be at least 1")

    def steps(self, images: int) -> int:
        """Return the number of steps of an epoch over so many images."""
        return -(-images // self.batch_size)


def fit(
    network: nn.Module,
    loss: Loss,
    dataset: Dataset,
    columns: npt.NDArray[np.intp],
    recipe: Recipe,
    context: Context,
    *,
    weights: Tensor | None = None,
    checkpoint: Checkpoint = "converged",
    state: Path | None = None,
) -> None:
    """Train ``network`` in place on the training set, and leave it in eval mode.

    Images are read when they are needed, so that the data set need not fit into memory. The same seed gives
    the same weights on the same machine with the same number of threads, even after interruptions.

    Args:
        columns: (K,) the attributes of the data set to learn.
        context: its seed decides order, flips and dropout, and no global generator is changed; progress is
            reported after every step.
        weights: (2, K) factors of the training loss for absent and for present attributes.
        checkpoint: the number of epochs of the whole training after which to stop, with the weights of that
            epoch. A training that ``patience`` ends earlier has converged, and gives its final weights.
        state: a file that keeps the state after every epoch, and from which training continues. A state of an
            epoch later than ``checkpoint`` is neither used nor changed.

    Raises:
        DatasetError: the data set has no training set, or no validation set although ``patience`` needs one.
        ModelError: the loss is no longer finite, or the training has no such checkpoint.
    """
    last, device = _last_epoch(recipe, checkpoint), context.device
    rows = dataset.rows("train")
    validation = None if recipe.patience is None else dataset.rows("validation")
    labels = torch.from_numpy(_signs(dataset)[:, columns])  # (N, K)
    network.to(device)
    factors = None if weights is None else weights.to(device)
    losses = _BatchLosses(network, loss, dataset, labels, factors, recipe, device)
    begin = partial(_begin, network, recipe, recipe.steps(len(rows)), context.seed, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        training, kept = (begin(), False) if state is None else resume(state, begin, last, context.report)
        if training.epoch:
            context.report(training.epoch / last, f"continues after epoch {training.epoch}/{last}")
        while training.epoch < last and training.waited != recipe.patience:
            _train_epoch(training, losses, rows, last, context.report)
            if validation is not None and training.epoch >= EARLIEST:
                _validate(training, losses, validation)
            if state is not None and kept:
                keep(state, training)
    if training.best is not None and (checkpoint == "converged" or training.epoch < last):
        network.load_state_dict(training.best)
    network.eval()


@dataclass(frozen=True, eq=False)
class _BatchLosses:
    """_BatchLosses computes the losses of a network on images of a data set."""

    network: nn.Module
    loss: Loss
    dataset: Dataset
    labels: Tensor  # (N, K)
    factors: Tensor | None  # (2, K)
    recipe: Recipe
    device: torch.device

    def of(
        self, rows: npt.NDArray[np.intp], mirrored: npt.NDArray[np.bool_] | None = None
    ) -> Iterator[Tensor]:
        """Yield the losses (B,) of each batch of rows, in the network's current mode."""
        for batch, images in _batches(self.dataset, rows, self.recipe.batch_size, self.device, mirrored):
            expected = self.labels[torch.from_numpy(batch)].to(self.device)  # (B, K)
            with passes(self.recipe.precision, self.device):
                outputs = self.network(images)
            each = self.loss(outputs.float(), expected)  # (B, K)
            if self.factors is not None and self.network.training:
                each = each * torch.where(expected > 0, self.factors[1], self.factors[0])
            yield each.sum(1)


def _begin(network: nn.Module, recipe: Recipe, steps: int, seed: int, device: torch.device) -> Training:
    """Return the training before its first epoch; each epoch has so many steps."""
    torch.manual_seed(derived_seed(seed, "dropout"))
    optimizer = _optimizer(network, recipe)
    scheduler = scheduler_of(
        optimizer,
        recipe.schedule,
        recipe.learning_rate,
        recipe.epochs * steps,
        gamma=recipe.decay_gamma,
        power=recipe.decay_power,
    )
    return Training(
        network=network,
        optimizer=optimizer,
        scheduler=scheduler,
        draw=np.random.default_rng(derived_seed(seed, "order")),
        device=device,
    )


def _train_epoch(
    training: Training, losses: _BatchLosses, rows: npt.NDArray[np.intp], last: int, report: Report
) -> None:
    recipe, epoch = losses.recipe, training.epoch + 1
    steps = recipe.steps(len(rows))
    training.network.train()
    order = training.draw.permutation(rows)
    mirrored = training.draw.random(len(rows)) < 0.5 if recipe.flip else None
    for step, each in enumerate(losses.of(order, mirrored), training.epoch * steps + 1):
        value = each.mean()
        training.optimizer.zero_grad()
        torch.autograd.backward(value)
        training.optimizer.step()
        training.scheduler.step()
        shown = value.item() / losses.labels.shape[1]
        if not isfinite(shown):
            raise ModelError(
                f"training diverged in epoch {epoch}: the loss is {shown}; "
                f"give a lower learning_rate than {recipe.learning_rate:g}"
            )
        report(step / (last * steps), f"epoch {epoch}/{last}, loss {shown:.3f}")
    training.epoch = epoch


def _validate(training: Training, losses: _BatchLosses, rows: npt.NDArray[np.intp]) -> None:
    """Keep the weights if their loss on the validation set is the smallest so far."""
    training.network.eval()
    with torch.no_grad():
        current = torch.cat(list(losses.of(rows))).mean().item()
    training.waited += 1
    if current < training.best_loss:
        training.best_loss, training.waited = current, 0
        training.best = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}


def chosen_attributes(wanted: Sequence[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the attributes of a model: the wanted ones, in their order, or for None all known ones.

    Raises:
        ModelError: no attribute is known, or the wanted ones are unknown, none at all, or named twice.
    """
    if not known:
        raise ModelError("a model of attributes needs a data set with attributes")
    if wanted is None:
        return known
    for name in wanted:
        if name not in known:
            raise ModelError(f'attribute "{name}" is unknown; {nearest(name, known)}')
    if not wanted or len(set(wanted)) < len(wanted):
        raise ModelError(f"attributes = {list(wanted)} must name at least one attribute, and none twice")
    return tuple(wanted)


def attribute_columns(dataset: Dataset, names: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """Return the columns (K,) of the named attributes in the data set.

    Raises:
        ModelError: the data set lacks one of them.
    """
    for name in names:
        if name not in dataset.attribute_names:
            raise ModelError(
                f'{dataset.name}: attribute "{name}" is unknown; {nearest(name, dataset.attribute_names)}'
            )
    return np.array([dataset.attribute_names.index(name) for name in names], dtype=np.intp)


def _last_epoch(recipe: Recipe, checkpoint: Checkpoint) -> int:
    if checkpoint == "converged":
        return recipe.epochs
    if not 1 <= checkpoint <= recipe.epochs:
        raise ModelError(
            f'checkpoint = {checkpoint} must be "converged", or from 1 to epochs = {recipe.epochs}'
        )
    return checkpoint


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
    return torch.optim.RMSprop(
        network.parameters(),
        lr=recipe.learning_rate,
        alpha=recipe.rms_decay,
        weight_decay=recipe.weight_decay,
    )


def _batches(
    dataset: Dataset,
    rows: npt.NDArray[np.intp],
    batch_size: int,
    device: torch.device,
    mirrored: npt.NDArray[np.bool_] | None = None,
) -> Iterator[tuple[npt.NDArray[np.intp], Tensor]]:
    """Rows (B,) and images (B, C, H, W) in [0, 1], read one batch ahead by a thread."""

    def read(start: int) -> tuple[npt.NDArray[np.intp], Tensor]:
        part = slice(start, start + batch_size)
        images = dataset.images(rows[part])
        if mirrored is not None:
            images = np.where(mirrored[part][:, None, None, None], images[..., ::-1], images)
        return rows[part], torch.tensor(images)

    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(read, 0)
        for start in range(batch_size, len(rows) + batch_size, batch_size):
            batch, images = coming.result()
            if start < len(rows):
                coming = thread.submit(read, start)
            yield batch, images.to(device).float() / 255


def _signs(dataset: Dataset) -> npt.NDArray[np.float32]:
    if dataset.attributes is None:
        raise ModelError(f"{dataset.name} has no attributes to learn")
    return np.where(dataset.attributes, np.float32(1), np.float32(-1))
