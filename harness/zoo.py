"""Zoo: trained weights by identity: loaded where they are, trained once by the model's recipe where not.

An identity is a digest of everything that the training depends on: model, version, parameters, seed and
data. Weights are safetensors; beside them lies a card of what they scored.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.cache import Report, cache_folder, digest_of, learning_context
from harness.choices import ModelChoice
from harness.dataset import Dataset
from harness.errors import HarnessError, ModelError
from harness.files import digest_of_file, lock, write_text, write_whole
from harness.model import Handle, Model, frozen, wrap_model
from harness.parameters import jsonable, keyword_parameters
from harness.training import StateDict, Task


@dataclass(frozen=True, eq=False)
class Specimen:
    """A model with its weights, ready to be attacked."""

    model: Model
    digest: str
    """sha256 of the weights file, or of the parameters of a model that comes with its own."""
    card: Mapping[str, Any]
    restore: Callable[[], None]
    """Put the weights back as they were, after somebody wrote to them."""


def identity(choice: ModelChoice, dataset: Dataset, seed: int) -> dict[str, Any]:
    """Everything that trained weights depend on."""
    return {
        "model": choice.entry.qualified,
        "version": choice.entry.version,
        "parameters": jsonable(choice.parameters),
        "seed": seed,
        "dataset": dataset.fingerprint,
        "task": jsonable([dataset.shape, dataset.attribute_names, dataset.class_names]),
    }


def folder_of(choice: ModelChoice, dataset: Dataset, seed: int) -> Path:
    """Where the weights of a choice lie, or will lie."""
    return cache_folder() / "zoo" / f"{choice.entry.spec.name}-{digest_of(identity(choice, dataset, seed))}"


def read_card(choice: ModelChoice, dataset: Dataset, seed: int) -> dict[str, Any] | None:
    """The card of weights that are there, else None."""
    try:
        card: dict[str, Any] = json.loads((folder_of(choice, dataset, seed) / "card.json").read_text())
    except (OSError, ValueError):
        return None
    return card


def obtain(
    choice: ModelChoice, dataset: Dataset, seed: int, device: torch.device, report: Report = lambda *_: None
) -> Specimen:
    """A model with its weights: the user's file, the zoo's, or freshly trained ones.

    Raises:
        ModelError: it cannot be built, trained or loaded.
    """
    spec = choice.entry.spec
    module = build(choice, dataset, seed)
    if choice.weights is not None:
        load_weights(module, Path(choice.weights), choice.place)
        source, card = Path(choice.weights), {"weights": choice.weights}
    elif spec.train is None:
        state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        model = ready(choice, module, device)
        return Specimen(model, _digest_of_module(module), {}, lambda: _load_state(model, state))
    else:
        folder = folder_of(choice, dataset, seed)
        source = folder / "weights.safetensors"
        with lock(folder / ".lock", f"{choice.label} is being trained elsewhere", wait=True):
            if not (folder / "card.json").is_file():
                _train(choice, module, dataset, seed, device, report, folder)
        module = build(choice, dataset, seed)
        load_weights(module, source, choice.place)
        card = json.loads((folder / "card.json").read_text())
    model = ready(choice, module, device)
    return Specimen(
        model,
        digest_of_file(source),
        card,
        lambda: load_weights(model.module, source, choice.place),
    )


def _load_state(model: Model, state: StateDict) -> None:
    model.module.load_state_dict(state)


def build(choice: ModelChoice, dataset: Dataset, seed: int) -> nn.Module:
    """The untrained module of a choice; torch's global generator is seeded inside, restored outside."""
    function = choice.entry.load(choice.entry.spec.build)
    wanted = keyword_parameters(function)
    parameters = {name: value for name, value in choice.parameters.items() if name in wanted}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = function(Task.of(dataset), **parameters)
        except HarnessError as error:
            raise ModelError(f"{choice.place}: {error}") from error
        except Exception as error:
            raise ModelError(f"{choice.place}: build failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{choice.place}: build returned {type(module).__name__}, not a torch.nn.Module")
    return module


def load_weights(module: nn.Module, path: Path, place: str) -> None:
    """Load .safetensors, or a .pt/.pth state dict; nothing is unpickled.

    Raises:
        ModelError: the file is missing, is something else, or does not fit the module.
    """
    if not path.is_file():
        raise ModelError(f"{place}: weights {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise ModelError(f"{place}: weights {path} are no readable weights: {_line(error)}") from error
    except Exception as error:  # torch's unpickler has errors of its own kinds
        raise ModelError(f"{place}: weights {path} are refused: {_line(error)}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{place}: weights {path} hold no state dict of tensors")
    _resize(module, state, path, place)
    own = module.state_dict()
    missing, extra = own.keys() - state.keys(), state.keys() - own.keys()
    odd = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    for what, names in (("lack", missing), ("also hold", extra), ("have another shape for", odd)):
        if names:
            raise ModelError(f"{place}: weights {path} {what} {sorted(names)[0]} ({len(names)} such)")
    module.load_state_dict(state)


def _resize(module: nn.Module, state: Mapping[str, Tensor], path: Path, place: str) -> None:
    """Let a module take the shapes that only its training knew, such as a number of support vectors."""
    resize = getattr(module, "resize", None)
    if not callable(resize):
        return
    try:
        resize({name: tuple(tensor.shape) for name, tensor in state.items()})
    except Exception as error:
        raise ModelError(f"{place}: weights {path} do not fit: {_line(error)}") from error


# --- training ---------------------------------------------------------------------------------------------


def _train(
    choice: ModelChoice,
    module: nn.Module,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    report: Report,
    folder: Path,
) -> None:
    train = choice.entry.load(choice.entry.spec.train or "")
    wanted = keyword_parameters(train)
    known = identity(choice, dataset, seed)
    context = learning_context(known, seed, device, report)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        parameters = {name: value for name, value in choice.parameters.items() if name in wanted}
        try:
            train(module.to(device), dataset, context, **parameters)
        except ModelError as error:
            raise ModelError(f"{choice.place}: {error}") from error
        except HarnessError:
            raise
        except Exception as error:
            raise ModelError(f"{choice.place}: training failed: {type(error).__name__}: {error}") from error
    module.eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"{choice.place}: training diverged: {name} is not finite")
    seconds = time.perf_counter() - start
    try:
        model = ready(choice, module, device)
        measured = {**score(model, dataset), **_speed(model, dataset)}
    except HarnessError:
        raise
    except Exception as error:
        raise ModelError(f"{choice.place}: {type(error).__name__}: {error}") from error
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


def score(model: Model, dataset: Dataset, *, batch_size: int = 256) -> dict[str, Any]:
    """What a model scores on the test partition (else validation, else everything): accuracy, and a guess's.

    "majority" is the accuracy of answering each attribute's, or the, commoner value of the training images.
    """
    have = set() if dataset.partitions is None else set(dataset.partitions.tolist())
    partition = next((name for name in ("test", "validation") if name in have), "all")
    rows = dataset.rows(partition)
    parts = []
    for start in range(0, len(rows), batch_size):
        x = torch.from_numpy(dataset.images(rows[start : start + batch_size])).float() / 255
        parts.append(model.scores(x).cpu())
    outputs = torch.cat(parts)
    fitted = dataset.rows("train") if "train" in have else rows
    result: dict[str, Any] = {"scored_on": partition, "scored_images": len(rows)}
    if model.head == "attributes" and dataset.attributes is not None:
        names = model.names or dataset.attribute_names
        columns = [dataset.attribute_names.index(name) for name in names]
        truth = dataset.attributes[rows][:, columns]
        accuracy = ((outputs > 0).numpy() == truth).mean(0)
        guess = dataset.attributes[fitted][:, columns].mean(0) > 0.5
        result |= {
            "accuracy": float(accuracy.mean()),
            "majority": float((truth == guess).mean()),
            "accuracy_by_attribute": _by_name(names, accuracy),
            "majority_by_attribute": _by_name(names, (truth == guess).mean(0)),
        }
    elif model.head == "classes" and dataset.labels is not None:
        classes = dataset.labels[rows]
        common = np.bincount(dataset.labels[fitted]).argmax()
        result |= {
            "accuracy": float((outputs.argmax(1).numpy() == classes).mean()),
            "majority": float((classes == common).mean()),
        }
    return result


def _by_name(names: Sequence[str], shares: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(share), 4) for name, share in zip(names, shares, strict=True)}


def _speed(model: Model, dataset: Dataset, batch: int = 16) -> dict[str, float]:
    """Seconds per image of a forward pass, and of a backward pass to the pixels, for `harness plan`."""
    x = torch.zeros((batch, *dataset.shape), device=model.device)
    handle = Handle(model, batch)
    timings = []
    with frozen(model.module):
        for _ in range(2):
            start = time.perf_counter()
            with torch.no_grad():
                handle(x)
            middle = time.perf_counter()
            handle.gradient(x, lambda outputs: outputs.flatten(1).sum(1))
            timings.append((middle - start, time.perf_counter() - middle))
    forward, both = min(timings)
    return {"forward_seconds": forward / batch, "backward_seconds": max(both - forward, 0.0) / batch}


def ready(choice: ModelChoice, module: nn.Module, device: torch.device) -> Model:
    """A built module as a model that attacks are given: on its device, in eval mode."""
    module = module.to(device).eval().requires_grad_(False)
    return wrap_model(module, choice.entry.spec.head, access=choice.entry.spec.access)


def _digest_of_module(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
