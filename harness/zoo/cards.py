"""A card lies beside trained weights and says what they depend on and what they scored."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.dataset import Dataset
from harness.handle import Handle
from harness.metrics import Estimate, rate
from harness.metrics.paired import difference
from harness.model import Model, frozen
from harness.options import cache_folder
from harness.parameters import digest_of, jsonable
from harness.plan.models import ModelChoice
from harness.zoo.separation import separation_of


def identity(choice: ModelChoice, dataset: Dataset, seed: int) -> dict[str, Any]:
    """Return everything that trained weights depend on."""
    model, version, parameters = choice.entry.identity(choice.parameters)
    return {
        "model": model,
        "version": version,
        "parameters": parameters,
        "seed": seed,
        "dataset": dataset.fingerprint,
        "task": jsonable([dataset.shape, dataset.attribute_names, dataset.class_names]),
    }


def folder_of(choice: ModelChoice, dataset: Dataset, seed: int) -> Path:
    """Return the folder in which the weights of a choice lie, or will lie."""
    return cache_folder() / "zoo" / f"{choice.entry.spec.name}-{digest_of(identity(choice, dataset, seed))}"


def read_card(choice: ModelChoice, dataset: Dataset, seed: int) -> dict[str, Any] | None:
    """Return the card of a choice's weights, or None where they are not there."""
    try:
        card: dict[str, Any] = json.loads((folder_of(choice, dataset, seed) / "card.json").read_text())
    except (OSError, ValueError):
        return None
    return card


def score(model: Model, dataset: Dataset, *, batch_size: int = 256) -> dict[str, Any]:
    """Return a model's accuracy on the test partition (else validation, else all), and that of a guess.

    "majority" is the accuracy of answering each attribute's, or the, commoner value of the training images.
    Of attributes, "accuracy_interval" has the ends of the 95 % interval of each accuracy, and
    "above_majority_interval" those of its difference to the guess on the same images; both are over persons
    where the data set has identities. "right_by_cluster" counts the right decisions, of all attributes, on
    the images of each person, in the order of their identities (else on each image), and "images_by_cluster"
    these images: models that were scored on the same images can be compared person by person.
    Of embeddings, there is what ``separation_of`` returns instead.
    """
    have = set() if dataset.partitions is None else set(dataset.partitions.tolist())
    partition = next((name for name in ("test", "validation") if name in have), "all")
    rows = dataset.rows(partition)
    if model.head == "embedding":
        return {"scored_on": partition, **separation_of(model, dataset, rows)}
    parts = []
    for start in range(0, len(rows), batch_size):
        x = torch.from_numpy(dataset.images(rows[start : start + batch_size])).float() / 255
        parts.append(model.scores(x).cpu())
    outputs = torch.cat(parts)
    fitted = dataset.rows("train") if "train" in have else rows
    result: dict[str, Any] = {"scored_on": partition, "scored_images": len(rows)}
    if dataset.notes:
        result["dataset_notes"] = jsonable(dict(dataset.notes))
    if model.head == "attributes" and dataset.attributes is not None:
        names = model.names or dataset.attribute_names
        columns = [dataset.attribute_names.index(name) for name in names]
        truth = dataset.attributes[rows][:, columns]
        right = (outputs > 0).numpy() == truth
        accuracy = right.mean(0)
        guess = dataset.attributes[fitted][:, columns].mean(0) > 0.5
        # The images of a person are alike, and are no independent evidence.
        people = None if dataset.identities is None else dataset.identities[rows]
        above = [difference(*sides, people) for sides in zip(right.T, (truth == guess).T, strict=True)]
        result |= {
            "accuracy": float(accuracy.mean()),
            "majority": float((truth == guess).mean()),
            "accuracy_by_attribute": _by_name(names, accuracy),
            "majority_by_attribute": _by_name(names, (truth == guess).mean(0)),
            "accuracy_interval": _ends_by_name(names, [rate(flags, people) for flags in right.T]),
            "above_majority_interval": _ends_by_name(names, above),
            **_by_cluster(right, people),
        }
    elif model.head == "classes" and dataset.labels is not None:
        classes = dataset.labels[rows]
        common = np.bincount(dataset.labels[fitted]).argmax()
        result |= {
            "accuracy": float((outputs.argmax(1).numpy() == classes).mean()),
            "majority": float((classes == common).mean()),
        }
    return result


def preprocessing_of(model: Model) -> dict[str, Any]:
    """Return what a card says of a model's preprocessing; nothing where it is not known as a value."""
    return {} if model.preprocessing is None else {"preprocessing": model.preprocessing.as_dict()}


def _by_cluster(right: npt.NDArray[np.bool_], people: npt.NDArray[Any] | None) -> dict[str, list[int]]:
    """Return what is right (N, M) of each person, and how many images there are of each."""
    labels = np.arange(len(right)) if people is None else people
    _, at = np.unique(labels, return_inverse=True)
    return {
        "right_by_cluster": np.bincount(at, weights=right.sum(1)).astype(int).tolist(),
        "images_by_cluster": np.bincount(at).tolist(),
    }


def _by_name(names: Sequence[str], shares: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(share), 4) for name, share in zip(names, shares, strict=True)}


def _ends_by_name(names: Sequence[str], found: Sequence[Estimate]) -> dict[str, list[float]]:
    """Return the ends of intervals; estimates without one are left out."""
    ends = {name: (estimate.low, estimate.high) for name, estimate in zip(names, found, strict=True)}
    return {
        name: [round(low, 4), round(high, 4)]
        for name, (low, high) in ends.items()
        if low is not None and high is not None
    }


def speed(model: Model, dataset: Dataset, batch: int = 16) -> dict[str, float]:
    """Return the seconds per image of a forward pass and of a backward pass to the pixels."""
    x = torch.zeros((batch, *dataset.shape), device=model.device)
    handle = Handle(model, batch)
    timings = []
    with frozen(model.module):
        for _ in range(2):
            start = _now(model.device)
            with torch.no_grad():
                handle(x)
            middle = _now(model.device)
            handle.gradient(x, lambda outputs: outputs.flatten(1).sum(1))
            timings.append((middle - start, _now(model.device) - middle))
    forward, both = min(timings)
    return {"forward_seconds": forward / batch, "backward_seconds": max(both - forward, 0.0) / batch}


def _now(device: torch.device) -> float:
    """Return the time in seconds, once a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
