"""The state of an unfinished training is kept in a file, without pickles, so that a killed one goes on.

Every step draws its random numbers from the seed and its own number, so that a state has no generators.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.errors import UnwritableError
from harness.files import say, write_whole
from harness.training import Context, StateDict, one_line

LAYOUT = "1"
"""The version of the file format, to be increased when the meaning of the files changes."""
KEEP_SECONDS = 20.0
"""The least time between two states that are kept; it changes no result."""


@dataclass(kw_only=True)
class Unfinished:
    """An Unfinished training has modules, an optimiser, and what was measured, after so many steps."""

    modules: Mapping[str, nn.Module]
    optimizer: Optimizer
    step: int = 0
    curves: list[tuple[float, ...]] = field(default_factory=list)
    """A row of numbers per validation."""
    best: StateDict = field(default_factory=dict)
    """The weights that are best so far, by the recipe's own measure."""
    best_value: float = float("-inf")

    def tensors(self) -> StateDict:
        """Return everything that the next step depends on."""
        found: StateDict = {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, module in self.modules.items():
            found |= {f"module.{name}.{key}": tensor for key, tensor in module.state_dict().items()}
        for place, values in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{place}.{key}": value for key, value in values.items()}
        found["curves"] = torch.tensor(self.curves, dtype=torch.float64)
        found["counts"] = torch.tensor([self.step, self.best_value], dtype=torch.float64)
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}

    def restore(self, tensors: StateDict) -> None:
        """Go on from such tensors.

        Raises:
            ValueError: they do not fit; then nothing has changed.
        """
        state: dict[int, dict[str, Tensor]] = {}
        for path, tensor in part(tensors, "optimizer.").items():
            number, _, key = path.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for place, values in state.items():
            if any(value.shape not in ((), parameters[place].shape) for value in values.values()):
                raise ValueError(f"another shape in the optimiser's parameter {place}")
        given = {name: part(tensors, f"module.{name}.") for name in self.modules}
        for name, module in self.modules.items():
            own = {key: tensor.shape for key, tensor in module.state_dict().items()}
            if own != {key: tensor.shape for key, tensor in given[name].items()}:
                raise ValueError(f"another {name}")
        step, best_value = tensors["counts"].tolist()
        self.curves = [tuple(row) for row in tensors["curves"].tolist()]
        for name, module in self.modules.items():
            module.load_state_dict(given[name])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step, self.best_value, self.best = int(step), best_value, part(tensors, "best.")


def run(
    training: Unfinished,
    steps: int,
    do: Callable[[int], str],
    context: Context,
    what: str,
    share: tuple[float, float],
    state: Path | None,
    *,
    every: int = 1,
) -> None:
    """Do all steps that are left, counted from 1, after going on from a kept state.

    Args:
        do: makes a step, and returns what there is to tell of it.
        what: the training's name in reports.
        share: where the training stands in the whole, before and after.
        state: the file of the state; None keeps none.
        every: keep it only after steps whose number is a multiple of this.
    """
    if state is not None and state.is_file():
        _resume(state, training, context)
    kept = time.monotonic()
    for step in range(training.step + 1, steps + 1):
        told = do(step)
        training.step = step
        done = share[0] + (share[1] - share[0]) * step / steps
        context.report(done, f"{what} {step}/{steps}, {told}")
        due = step < steps and step % every == 0
        if state is not None and due and time.monotonic() - kept >= KEEP_SECONDS:
            _keep(state, training)
            kept = time.monotonic()


def train_part(
    context: Context, identity: Mapping[str, Any], make: Callable[[Path | None], StateDict]
) -> StateDict:
    """Return the cached result of a part of a training, or that of ``make``, which is given its state's file.

    The file is removed once the result is cached.
    """
    state = context.state(identity) if context.state else None
    made = context.unit(identity, lambda: make(state))
    if state is not None:
        state.unlink(missing_ok=True)
    return made


def part(tensors: Mapping[str, Tensor], prefix: str) -> StateDict:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _keep(path: Path, training: Unfinished) -> None:
    tensors = training.tensors()
    metadata = {"layout": LAYOUT, "torch": torch.__version__}
    try:
        write_whole(path, lambda aside: save_file(tensors, aside, metadata))
    except UnwritableError as error:  # a full disk must not cost the training that it was to save
        say(f"{error}; the training goes on, and would begin anew if it were stopped")


def _resume(path: Path, training: Unfinished, context: Context) -> None:
    try:
        with safe_open(path, "pt") as opened:
            if opened.metadata() != {"layout": LAYOUT, "torch": torch.__version__}:
                raise ValueError(f"it was written by another version: {opened.metadata()}")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        training.restore(tensors)
    except Exception as error:  # a damaged file may fail in any step of reading
        context.report(0.0, f"starts again, because {path} cannot be used: {one_line(error)}")
        return
    context.report(0.0, f"continues after step {training.step}")
