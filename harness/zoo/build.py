"""An untrained module is built here from a model's parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from harness.dataset import Dataset
from harness.errors import HarnessError, ModelError
from harness.model import Model, ordinary, put_to_eval, wrap_model
from harness.plan.models import ModelChoice
from harness.randomness import seed_torch
from harness.training import Task


def build(choice: ModelChoice, dataset: Dataset, seed: int) -> nn.Module:
    """Return the untrained module of a choice, built under the seed; torch's generator is restored.

    Raises:
        ModelError: it cannot be built.
    """
    with torch.random.fork_rng(devices=[]), ordinary():
        seed_torch(seed)
        try:
            module = choice.entry.call(choice.entry.spec.build, Task.of(dataset), values=choice.parameters)
            module = finished(module, dataset.shape)
        except HarnessError as error:
            raise ModelError(f"{choice.place}: {error}") from error
        except (Exception, SystemExit) as error:
            raise ModelError(f"{choice.place}: build failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{choice.place}: build returned {type(module).__name__}, not a torch.nn.Module")
    return module


def finished(made: Any, shape: tuple[int, int, int]) -> Any:
    """Return what ``build`` returned as a module with all its weights, if it can be one.

    An exported program has a module. Lazy layers learn their shapes from the first images (C, H, W) that
    they see.
    """
    module = made.module() if isinstance(made, torch.export.ExportedProgram) else made
    if isinstance(module, nn.Module) and any(
        isinstance(parameter, UninitializedParameter) for parameter in module.parameters()
    ):
        with torch.no_grad():
            module.eval()(torch.zeros((2, *shape)))
            module.train()
    return module


def freeze(module: nn.Module) -> None:
    """Let no parameter of a module have a gradient; ScriptModules have no ``requires_grad_``."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def ready(choice: ModelChoice, module: nn.Module, dataset: Dataset, device: torch.device) -> Model:
    """Return a built module as the model that attacks are given, on its device and in eval mode.

    Raises:
        ModelError: it cannot be moved there, or has other classes than the data set.
    """
    try:
        module = module.to(device)
        freeze(module)
        model = wrap_model(module, choice.entry.spec.head, access=choice.entry.spec.access)
        put_to_eval(module)
        return model.in_order_of(dataset.class_names)
    except ModelError as error:
        raise ModelError(f"{choice.place}: {error}") from error
    except Exception as error:
        raise ModelError(f"{choice.place}: {type(error).__name__}: {error}") from error
