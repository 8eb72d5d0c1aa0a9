"""Two classes of small images, drawn from known mixtures, and what the zoo needs to train models on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.catalog import Plugin
from harness.errors import ModelError
from harness.model import wrap_model
from harness.parameters import check, jsonable
from harness.plan.models import ModelChoice
from harness.plan.tables import preset_values
from harness.testing.contract import Given
from harness.training import Context, StateDict
from harness_bayes import harness_models
from harness_bayes.mfa import Mfa
from harness_bayes.mixture_data import MixtureDataset

SPECS = {spec.name: spec for spec in harness_models()}


def mixture(components: int, dimension: int, latent: int, seed: int, deviation: float) -> Mfa:
    draws = torch.Generator().manual_seed(seed)

    def drawn(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=draws, dtype=torch.float64)

    weights = drawn(components).log_softmax(0)
    noise = torch.full((components, dimension), deviation**2, dtype=torch.float64)
    means = 0.5 + 0.12 * drawn(components, dimension)
    return Mfa(weights, means, 0.06 * drawn(components, dimension, latent), noise)


def problem(
    shape: tuple[int, int, int] = (1, 8, 8),
    train: int = 240,
    held_out: int = 80,
    deviation: float = 0.05,
    seed: int = 0,
) -> MixtureDataset:
    """Images of two classes that take turns; as many to validate as to test."""
    size = int(np.prod(shape))
    densities = (mixture(2, size, 3, 10 * seed, deviation), mixture(3, size, 2, 10 * seed + 1, deviation))
    number = train + 2 * held_out
    labels = np.arange(number) % 2
    random = np.random.default_rng(seed)
    vectors = np.empty((number, size))
    for side, density in enumerate(densities):
        rows = np.flatnonzero(labels == side)
        weights = density.log_weights.exp().numpy()
        component = torch.tensor(random.choice(len(weights), len(rows), p=weights / weights.sum()))
        z = torch.tensor(random.standard_normal((len(rows), density.factors.shape[2])))
        noise = torch.tensor(random.standard_normal((len(rows), size)))
        vectors[rows] = density.generate(component, z, noise).numpy()
    images = (vectors.clip(0, 1) * 255).round().astype(np.uint8).reshape(number, *shape)
    images.setflags(write=False)  # a recipe must not write into what a data set keeps
    return MixtureDataset(
        name="drawn",
        ids=[f"{row:04}" for row in range(number)],
        shape=shape,
        read=lambda rows: images[rows] if len(rows) != 1 else images[rows[0] : rows[0] + 1],
        fingerprint=f"drawn {shape} {train} {held_out} {deviation} {seed}",
        labels=labels.astype(np.int64),
        class_names=("without", "with"),
        partitions=np.repeat(["train", "validation", "test"], [train, held_out, held_out]),
        densities=densities,
        manifolds=densities,
    )


def pixels_of(dataset: MixtureDataset, partition: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, C, H, W) in [0, 1] and labels (B,) of a partition."""
    rows = dataset.rows(partition)
    assert dataset.labels is not None
    return torch.from_numpy(dataset.images(rows)).float() / 255, torch.from_numpy(dataset.labels[rows])


def accuracy(module: nn.Module, dataset: MixtureDataset, partition: str = "test") -> float:
    x, labels = pixels_of(dataset, partition)
    return float((wrap_model(module, "classes").scores(x).argmax(1) == labels).double().mean())


def of_one_class(dataset: MixtureDataset) -> MixtureDataset:
    assert dataset.labels is not None
    return replace(dataset, labels=np.zeros_like(dataset.labels))


def of_equal_images(dataset: MixtureDataset) -> MixtureDataset:
    def read(rows: Any) -> Any:
        return np.full((len(rows), *dataset.shape), 77, np.uint8)

    return replace(dataset, read=read)


def choice(name: str, **given: Any) -> ModelChoice:
    """A model as a suite would choose it."""
    entry = Given(SPECS[name], Plugin("bayes", "face-robustness-harness", "0"))
    values = {**preset_values("here", entry.spec.presets, None), **given}
    parameters = check("here", values, entry.parameters(), ModelError)
    return ModelChoice(name, entry, parameters, f'suite.toml: model "{name}"', None)


@dataclass
class Kept:
    """A context whose units are kept by identity, as the zoo keeps them; ``made`` lists what was made."""

    units: dict[str, StateDict] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    reports: list[tuple[float, str]] = field(default_factory=list)
    stop: Callable[[float], bool] = lambda share: False

    def context(self, seed: int = 0) -> Context:
        def unit(identity: Mapping[str, Any], make: Callable[[], StateDict]) -> StateDict:
            known = str(jsonable(identity))
            if known not in self.units:
                self.units[known] = {name: tensor.detach().clone() for name, tensor in make().items()}
                self.made.append(dict(identity))
            return {name: tensor.clone() for name, tensor in self.units[known].items()}

        def report(share: float, word: str) -> None:
            self.reports.append((share, word))
            if self.stop(share):
                raise KeyboardInterrupt

        return Context(seed=seed, device=torch.device("cpu"), report=report, unit=unit)
