"""The state of an unfinished training, which its next epoch needs, is kept in a file without pickles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from harness.errors import UnwritableError
from harness.files import say, write_whole
from harness.training import Context, StateDict

LAYOUT = 1
"""The version of the file format, to be increased when the meaning of the files changes."""


Checkpoint = int | Literal["converged"]
"""The weights after so many epochs of a training, or those at its end."""


class StateError(Exception):
    """A file does not hold a state of this training."""


@dataclass(kw_only=True)
class Training:
    """A Training is the state between two epochs, to which torch's global generators (dropout) belong too."""

    network: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    draw: np.random.Generator
    """The generator of order and flips."""
    device: torch.device
    epoch: int = 0
    """The number of finished epochs."""
    best: StateDict | None = None
    """The weights of the epoch with the smallest loss on the validation set."""
    best_loss: float = inf
    waited: int = 0
    """The number of epochs since then."""


def train_part(
    context: Context,
    identity: Mapping[str, Any],
    checkpoint: Checkpoint,
    make: Callable[[Path | None], StateDict],
) -> StateDict:
    """Return the cached weights of a part of a model at a checkpoint, or train it with ``make``.

    All checkpoints of a part share one file of state, which is given to ``make``, so that no epoch that they
    have in common is trained twice. The file is removed once the converged weights are cached.

    Args:
        identity: the identity of the part, without its checkpoint.
    """
    state = context.state(identity) if context.state else None
    weights = context.unit({**identity, "checkpoint": checkpoint}, lambda: make(state))
    if state is not None and checkpoint == "converged":
        state.unlink(missing_ok=True)
    return weights


def resume(
    path: Path, begin: Callable[[], Training], last: int, report: Callable[[float, str], None]
) -> tuple[Training, bool]:
    """Return the training at the epoch that ``path`` holds, and whether its state may be kept in ``path``.

    The training begins at its start if there is no such file; if the file cannot be read or does not fit,
    which is reported; and if the file is past epoch ``last``: it then belongs to another checkpoint, and must
    not be changed.

    Args:
        begin: returns the training before its first epoch, at every call.
    """
    training = begin()
    if not path.is_file():
        return training, True
    try:
        header = _header(path)
        if header["epoch"] > last:
            return training, False
        _restore(path, header, training)
    except StateError as error:
        report(0.0, f"starts again, because {path} {error}")
        return begin(), True
    return training, True


def keep(path: Path, training: Training) -> None:
    """Write the state of a training between two epochs; the file is either complete or unchanged."""
    state = training.optimizer.state_dict()
    tensors: StateDict = {f"network.{name}": tensor for name, tensor in training.network.state_dict().items()}
    for index, values in state["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    if training.best is not None and training.waited:  # otherwise the network has the best weights
        tensors |= {f"best.{name}": tensor for name, tensor in training.best.items()}
    tensors |= {f"generator.{name}": value for name, value in _generators(training.device).items()}
    header = {
        "layout": LAYOUT,
        "torch": torch.__version__,
        "device": training.device.type,
        "epoch": training.epoch,
        "best_loss": training.best_loss if isfinite(training.best_loss) else None,
        "waited": training.waited,
        "groups": state["param_groups"],
        "scheduler": training.scheduler.state_dict(),
        "draw": training.draw.bit_generator.state,
    }
    # Python writes floats with enough digits to read them back exactly, so nothing is lost in JSON.
    metadata = {"training": json.dumps(header, allow_nan=False)}
    rows = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        write_whole(path, lambda aside: save_file(rows, aside, metadata))
    except UnwritableError as error:  # a full disk must not cost the training that it was to save
        say(f"{error}; the training goes on, and would begin anew if it were stopped")


def _header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as opened:
            header = json.loads((opened.metadata() or {})["training"])
        known = {name: header[name] for name in ("layout", "torch")}
        epoch = header["epoch"]
    except Exception as error:  # a damaged file may fail in any step of reading
        raise StateError(f"cannot be read: {_line(error)}") from error
    if known != {"layout": LAYOUT, "torch": torch.__version__}:
        raise StateError(f"was written by another version: {known}")
    if not isinstance(epoch, int) or epoch < 1:
        raise StateError(f"has epoch {epoch!r}")
    return dict(header)


def _restore(path: Path, header: dict[str, Any], training: Training) -> None:
    """Restore the state of ``training``; if this raises, the network is unchanged, but not the rest."""
    if header.get("device") != training.device.type:
        raise StateError(f"was written on {header.get('device')}, but this is {training.device.type}")
    try:
        with safe_open(path, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        network = _part(tensors, "network.")
        _same_shapes(network, training.network.state_dict())
        training.epoch, training.waited = header["epoch"], int(header["waited"])
        if header["best_loss"] is not None:
            training.best_loss = float(header["best_loss"])
            training.best = _part(tensors, "best.") if training.waited else network
            _same_shapes(training.best, network)
        _restore_optimizer(training.optimizer, header["groups"], _part(tensors, "optimizer."))
        if header["scheduler"].keys() != training.scheduler.state_dict().keys():
            raise ValueError("another schedule")
        training.scheduler.load_state_dict(header["scheduler"])
        training.draw.bit_generator.state = header["draw"]
        _set_generators(_part(tensors, "generator."), training.device)
    except Exception as error:  # a damaged file may fail in any step
        raise StateError(f"does not fit: {_line(error)}") from error
    training.network.load_state_dict(network)


def _restore_optimizer(optimizer: Optimizer, groups: list[dict[str, Any]], tensors: StateDict) -> None:
    own = optimizer.state_dict()["param_groups"]
    if [group.keys() for group in groups] != [group.keys() for group in own]:
        raise ValueError("another optimiser")
    # JSON has no tuples.
    groups = [
        {name: tuple(value) if isinstance(mine[name], tuple) else value for name, value in group.items()}
        for group, mine in zip(groups, own, strict=True)
    ]
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        index, _, name = path.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in state.items():
        if any(value.shape not in ((), parameters[number].shape) for value in values.values()):
            raise ValueError(f"another shape in the optimiser's parameter {number}")
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _generators(device: torch.device) -> StateDict:
    """Return the states of the global generators of torch that a training on this device uses."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(states: StateDict, device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def _part(tensors: StateDict, prefix: str) -> StateDict:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _same_shapes(given: StateDict, own: StateDict) -> None:
    for name in given.keys() ^ own.keys():
        raise ValueError(f"{name} is in only one of the two networks")
    for name, tensor in own.items():
        if (given[name].shape, given[name].dtype) != (tensor.shape, tensor.dtype):
            raise ValueError(f"another shape or type of {name}")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
