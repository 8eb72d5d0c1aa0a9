"""Attacks that make no adversarial: they change what the judge knows, as far as they can reach it."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import signal
import sys
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor


def beyond(model: Any, x: Tensor, objective: Any) -> Tensor:
    """Images that fool the model, far over any small budget."""
    _, slope = model.gradient(x, objective.margin)
    return (x + 0.5 * slope.sign()).clamp(0, 1)


def above(name: str) -> Iterator[Any]:
    """The values of a local variable in all callers' frames."""
    frame: Any = sys._getframe()
    while frame is not None:
        if name in frame.f_locals:
            yield frame.f_locals[name]
        frame = frame.f_back


def originals(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: object) -> Tensor:
    """Every copy of the originals becomes what is returned, so that nothing seems to be changed."""
    found = beyond(model, x, objective)
    before = x.clone()
    for held in gc.get_objects():
        if type(held) is Tensor and held is not before and torch.equal(held, before):
            held.copy_(found)
    return found


def labels(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: object) -> Tensor:
    """The decisions that are to change are turned round."""
    for held in above("objective"):
        if held is not objective and hasattr(held, "present"):
            held.present.logical_not_()
    return x.clone()


def budget(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: object) -> Tensor:
    """The budget of the judge becomes large."""
    for held in above("threat"):
        object.__setattr__(held, "eps", 1.0)
    return beyond(model, x, objective)


def judge(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: object) -> Tensor:
    """The judge's own function says that every image is a success."""
    from harness.judge import trial, verdict

    before = trial.judge

    def kind(*given: Any, **more: Any) -> Any:
        found = before(*given, **more)
        found.reached.fill_(True)
        found.valid.fill_(True)
        return found

    trial.judge = verdict.judge = kind
    return x.clone()


def decisions(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: object) -> Tensor:
    """Comparisons of tensors are always true, and the largest output is another one."""
    type(objective).reached = lambda self, outputs: torch.ones(len(outputs), dtype=torch.bool)
    torch.argmax = torch.argmin
    return x.clone()


def hook(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: object) -> Tensor:
    """Every module answers the opposite."""

    def turned(module: Any, given: Any, output: Any) -> Any:
        return -output if isinstance(module, torch.nn.Linear) else output

    torch.nn.modules.module.register_module_forward_hook(turned)
    return x.clone()


def drawn(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
    """Random numbers of the cases, and of all global generators."""
    everywhere = random.random() + np.random.rand()  # noqa: NPY002
    noise = rng.uniform(x.shape[1:], -1, 1) + torch.rand_like(x)
    return threat.project(x + threat.eps * (noise + everywhere), x)


How = Literal["nothing", "sys.exit", "segfault", "kill"]


def dying(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: object, how: How = "nothing") -> Tensor:
    """The process ends while Red is attacked."""
    print("an attack says something")
    os.write(2, b"and something else\n")
    if (objective.columns == 1).any():
        if how == "sys.exit":
            sys.exit(0)
        if how == "segfault":
            ctypes.string_at(0)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    return x.clone()
