"""State of an unfinished training: all that its next epoch depends on, in one file without pickles."""

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

from harness.files import write_whole
from harness.training import Context, StateDict

LAYOUT = 1
"""Raised when files of state begin to mean something else."""


Checkpoint = int | Literal["converged"]
"""Weights after so many whole epochs of a training, or those that it ends with."""


class StateError(Exception):
    """A file is no state of this training."""


@dataclass(kw_only=True)
class Training:
    """A training between two epochs. torch's global generators, for dropout, belong to it too."""

    network: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    draw: np.random.Generator
    """Order and flips."""
    device: torch.device
    epoch: int = 0
    """Whole epochs that are done."""
    best: StateDict | None = None
    """Weights of the epoch with the smallest loss on the validation set."""
    best_loss: float = inf
    waited: int = 0
    """Epochs since then."""


def train_part(
    context: Context,
    identity: Mapping[str, Any],
    checkpoint: Checkpoint,
    make: Callable[[Path | None], StateDict],
) -> StateDict:
    """The kept weights of a part of a model at a checkpoint, or those that ``make`` returns.

    All checkpoints of a part share one file of state, which ``make`` is given, so that no epoch that they
    have in common is trained twice. It is removed once the converged weights are kept.

    Args:
        identity: of the part, without its checkpoint.
    """
    state = context.state(identity) if context.state else None
    weights = context.unit({**identity, "checkpoint": checkpoint}, lambda: make(state))
    if state is not None and checkpoint == "converged":
        state.unlink(missing_ok=True)
    return weights


def resume(
    path: Path, begin: Callable[[], Training], last: int, report: Callable[[float, str], None]
) -> tuple[Training, bool]:
    """The training at the epoch that ``path`` holds, and whether its state may be kept in ``path``.

    From its beginning where there is no such file; where the file cannot be read or does not fit, which
    ``report`` is told; and where it is past epoch ``last``: then it serves another, and must stay as it is.

    Args:
        begin: gives the training before its first epoch, as often as it is asked.
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
        report(0.0, f"starts anew, for {path} {error}")
        return begin(), True
    return training, True


def keep(path: Path, training: Training) -> None:
    """Write the state of a training between two epochs; the file is whole or as it was."""
    state = training.optimizer.state_dict()
    tensors: StateDict = {f"network.{name}": tensor for name, tensor in training.network.state_dict().items()}
    for index, values in state["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    if training.best is not None and training.waited:  # else the network's are the best
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
    # Python writes the shortest digits that give the same float again, so nothing is lost in JSON.
    metadata = {"training": json.dumps(header, allow_nan=False)}
    rows = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda aside: save_file(rows, aside, metadata))


def _header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as opened:
            header = json.loads((opened.metadata() or {})["training"])
        known = {name: header[name] for name in ("layout", "torch")}
        epoch = header["epoch"]
    except Exception as error:  # a damaged file fails in as many ways as there are steps of reading it
        raise StateError(f"cannot be read: {_line(error)}") from error
    if known != {"layout": LAYOUT, "torch": torch.__version__}:
        raise StateError(f"was written by another version: {known}")
    if not isinstance(epoch, int) or epoch < 1:
        raise StateError(f"stands at epoch {epoch!r}")
    return dict(header)


def _restore(path: Path, header: dict[str, Any], training: Training) -> None:
    """Put the state into ``training``; where this raises, the network is as it was, the rest is not."""
    if header.get("device") != training.device.type:
        raise StateError(f"was written on {header.get('device')}, and this is {training.device.type}")
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
    except Exception as error:  # as above
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
    """States of torch's global generators that a training on this device draws from."""
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
        raise ValueError(f"{name} is in one of both networks only")
    for name, tensor in own.items():
        if (given[name].shape, given[name].dtype) != (tensor.shape, tensor.dtype):
            raise ValueError(f"another shape or type of {name}")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
