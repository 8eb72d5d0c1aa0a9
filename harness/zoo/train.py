"""A model is trained here by its recipe, scored, and kept with its card."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from harness.dataset import Dataset
from harness.errors import DatasetError, HarnessError, ModelError
from harness.parameters import jsonable
from harness.plan.models import ModelChoice
from harness.randomness import seed_torch
from harness.training import StateDict
from harness.zoo.build import ready
from harness.zoo.cache import Report, learning_context
from harness.zoo.cards import identity, preprocessing_of, score, speed
from harness.zoo.weights import one_line


def train_model(
    choice: ModelChoice,
    module: nn.Module,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    report: Report,
) -> tuple[StateDict, dict[str, Any]]:
    """Return the weights of a model that is trained by its recipe, and their card.

    Raises:
        ModelError: the training failed.
    """
    known = identity(choice, dataset, seed)
    context = learning_context(known | _family(choice), seed, device, report)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        seed_torch(seed)
        try:
            train = choice.entry.spec.train or ""
            choice.entry.call(train, module.to(device), dataset, context, values=choice.parameters)
        except HarnessError as error:
            raise ModelError(f"{choice.place}: {error}") from error
        except (Exception, SystemExit) as error:
            raise ModelError(f"{choice.place}: training failed: {type(error).__name__}: {error}") from error
    module.eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"{choice.place}: training diverged: {name} is not finite")
    seconds = time.perf_counter() - start
    try:
        model = ready(choice, module, dataset, device)
        measured = {**score(model, dataset), **speed(model, dataset)}
    except (DatasetError, ModelError):
        raise
    except Exception as error:
        raise ModelError(f"{choice.place}: {one_line(error)}") from error
    card = {
        "name": choice.label,
        "identity": known,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "training_seconds": round(seconds, 1),
        "device": str(device),
        "torch": torch.__version__,
        **preprocessing_of(model),
        **measured,
    }
    notes = getattr(module, "training_notes", None)
    if notes:  # what a recipe measured on the way, for analyses
        card["training"] = jsonable(notes)
    return module.state_dict(), card


def _family(choice: ModelChoice) -> dict[str, Any]:
    """Return what stands for the model in the identity of its parts, where others may have the same ones."""
    family = choice.entry.spec.family
    return {"model": f"{choice.entry.plugin.name}/{family}"} if family else {}
