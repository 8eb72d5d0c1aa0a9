"""A trained model is loaded from the cache by its identity, or trained once by its recipe.

An identity is a digest of everything that the training depends on: model, version, parameters, seed and
data. Weights are safetensors; beside them lies a card of what they scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.files import digest_of_file, say
from harness.model import Model
from harness.parameters import jsonable
from harness.plan.models import ModelChoice
from harness.zoo.build import build, ready
from harness.zoo.cache import Report, learned
from harness.zoo.cards import folder_of, preprocessing_of
from harness.zoo.conventions import convention_on_card
from harness.zoo.train import train_model
from harness.zoo.weights import digest_of_module, load_state, load_weights, put_weights


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model has its weights and is ready to be attacked."""

    model: Model
    digest: str
    """sha256 of the weights file, or of the parameters of a model that comes with its own."""
    card: Mapping[str, Any]
    restore: Callable[[], None]
    """Puts the weights back as they were, after an attack wrote to them."""


def obtain(
    choice: ModelChoice, dataset: Dataset, seed: int, device: torch.device, report: Report = lambda *_: None
) -> TrainedModel:
    """Return a model with the user's weights, or with those of the cache, which are trained if missing.

    Raises:
        ModelError: it cannot be built, trained or loaded.
    """
    spec = choice.entry.spec
    module = build(choice, dataset, seed)
    if choice.weights is not None:
        load_weights(module, Path(choice.weights), choice.place)
        source, card = Path(choice.weights), {"weights": choice.weights}
    elif spec.train is None:
        state = {
            name: value.clone() if isinstance(value, Tensor) else value
            for name, value in module.state_dict().items()
        }
        model = ready(choice, module, dataset, device)
        digest = digest_of_module(module)
        card = _card_of_others(choice, model, dataset, digest)
        return TrainedModel(model, digest, card, lambda: load_state(model, state))
    else:
        folder = folder_of(choice, dataset, seed)
        found = learned(
            folder,
            f"{choice.label} is being trained elsewhere",
            lambda: train_model(choice, module, dataset, seed, device, report),
        )
        module = build(choice, dataset, seed)
        place = f"{choice.place}: weights {folder / 'weights.safetensors'}"
        put_weights(module, found.weights, place)
        model = ready(choice, module, dataset, device)
        if found.file is None:
            restore = partial(put_weights, model.module, found.weights, place)
        else:
            restore = partial(load_weights, model.module, found.file, choice.place)
        return TrainedModel(model, found.digest, found.card, restore)
    model = ready(choice, module, dataset, device)
    digest = digest_of_file(source)
    card |= _card_of_others(choice, model, dataset, digest)
    return TrainedModel(model, digest, card, lambda: load_weights(model.module, source, choice.place))


def _card_of_others(choice: ModelChoice, model: Model, dataset: Dataset, digest: str) -> dict[str, Any]:
    """Return the card of a model that was not trained here, whose images may be other than in training."""
    _, version, parameters = choice.entry.identity(choice.parameters)
    known = {"model": choice.entry.qualified, "version": version, "parameters": parameters, "weights": digest}
    told = preprocessing_of(model)
    card = {**told, **convention_on_card(model, dataset, {**known, **jsonable(told)})}
    if "better_convention" in card:
        say(f"{choice.label} on {dataset.name}: {card['better_convention']['line']}")
    return card
