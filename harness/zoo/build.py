"""An untrained module is built here from a model's parameters."""

from __future__ import annotations

import torch
from torch import nn

from harness.dataset import Dataset
from harness.errors import HarnessError, ModelError
from harness.model import Model, wrap_model
from harness.plan.models import ModelChoice
from harness.training import Task


def build(choice: ModelChoice, dataset: Dataset, seed: int) -> nn.Module:
    """Return the untrained module of a choice, built under the seed; torch's generator is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = choice.entry.call(choice.entry.spec.build, Task.of(dataset), values=choice.parameters)
        except HarnessError as error:
            raise ModelError(f"{choice.place}: {error}") from error
        except Exception as error:
            raise ModelError(f"{choice.place}: build failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{choice.place}: build returned {type(module).__name__}, not a torch.nn.Module")
    return module


def ready(choice: ModelChoice, module: nn.Module, device: torch.device) -> Model:
    """Return a built module as the model that attacks are given, on its device and in eval mode."""
    module = module.to(device).eval().requires_grad_(False)
    return wrap_model(module, choice.entry.spec.head, access=choice.entry.spec.access)
