"""A model is trained here by its recipe, scored, and kept with its card."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from harness.dataset import Dataset
from harness.errors import DatasetError, HarnessError, ModelError
from harness.files import digest_of_file, write_text, write_whole
from harness.plan.models import ModelChoice
from harness.zoo.build import ready
from harness.zoo.cache import Report, learning_context
from harness.zoo.cards import identity, score, speed
from harness.zoo.weights import one_line


def train_model(
    choice: ModelChoice,
    module: nn.Module,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    report: Report,
    folder: Path,
) -> None:
    known = identity(choice, dataset, seed)
    context = learning_context(known, seed, device, report)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
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
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_whole(folder / "weights.safetensors", lambda aside: save_file(weights, aside))
    card = {
        "name": choice.label,
        "identity": known,
        "weights": digest_of_file(folder / "weights.safetensors"),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "training_seconds": round(seconds, 1),
        "device": str(device),
        "torch": torch.__version__,
        **measured,
    }
    # The card comes last: where it is, the weights are whole.
    write_text(folder / "card.json", json.dumps(card, indent=2))
