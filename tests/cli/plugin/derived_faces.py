"""A plugin of things that are made from others: a data set fitted to another one, and a model that grows."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

import harness


def fit(
    source: harness.Dataset, context: object, *, attribute: str = "Bright", fail: bool = False
) -> dict[str, Tensor]:
    """The mean image (2, C, H, W) of those that lack an attribute, and of those that have it."""
    if fail:
        raise harness.HarnessError("nothing can be learned")
    with open(os.environ.get("DERIVED_LOG", os.devnull), "a") as log:
        log.write(f"{attribute}\n")
    present = source.attributes[:, source.attribute_names.index(attribute)]
    images = torch.from_numpy(source.images(np.arange(len(source)))).float()

    def mean(value: bool) -> dict[str, Tensor]:
        context.report(0.5, "halfway")
        return {"mean": images[torch.from_numpy(present == value)].mean(0)}

    parts = [
        context.unit({"attribute": attribute, "value": value}, lambda v=value: mean(v))
        for value in (False, True)
    ]
    return {"means": torch.stack([part["mean"] for part in parts])}


def load(
    source: harness.Dataset, weights: Mapping[str, Tensor] | None, *, count: int = 8, noise: int = 2
) -> harness.Dataset:
    """The two means with noise, as two classes."""
    labels = np.arange(count) % 2

    def read(rows: np.ndarray) -> np.ndarray:
        if weights is None:
            raise harness.HarnessError("not fitted yet")
        means = weights["means"].numpy()
        made = [
            means[labels[row]] + np.random.default_rng(row).normal(0, noise, source.shape) for row in rows
        ]
        return np.array(made).reshape(-1, *source.shape).clip(0, 255).astype(np.uint8)

    return harness.Dataset(
        name="derived",
        ids=[f"made-{number}" for number in range(count)],
        shape=source.shape,
        read=read,
        fingerprint=f"{source.fingerprint} {count} {noise} {weights and weights['means'].sum()}",
        labels=labels,
        class_names=("dim", "bright"),
        partitions=np.array(["train", "test"])[np.arange(count) // 2 % 2],
        annotations=lambda rows: {"number": rows.astype(float), "twice": 2.0 * rows},
    )


class Prototypes(nn.Module):
    """(B, C, H, W) to (B, 2): minus the squared distance to the nearest image that it keeps of a class."""

    def __init__(self) -> None:
        super().__init__()
        self.resize({"kept": (0, 1), "component_classes": (0,)})

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for as many images as there are in the weights."""
        self.register_buffer("kept", torch.zeros(shapes["kept"]))
        self.register_buffer("component_classes", torch.zeros(shapes["component_classes"], dtype=torch.int64))

    def components(self, x: Tensor) -> Tensor:
        """(B, P)"""
        return -torch.cdist(x.flatten(1), self.kept).square()

    def forward(self, x: Tensor) -> Tensor:
        scores = self.components(x)
        return torch.stack([scores[:, self.component_classes == label].amax(1) for label in (0, 1)], 1)


def build(task: object) -> nn.Module:
    """One without images."""
    return Prototypes()


def train(module: Prototypes, dataset: harness.Dataset, context: object) -> None:
    """Keep the training images."""
    rows = dataset.rows("train")
    module.resize({"kept": (len(rows), int(np.prod(dataset.shape))), "component_classes": (len(rows),)})
    module.kept.copy_(torch.from_numpy(dataset.images(rows)).float().flatten(1) / 255)
    module.component_classes.copy_(torch.from_numpy(dataset.labels[rows]))


def towards(model: object, x: Tensor, objective: object, threat: object, *, rng: object) -> Tensor:
    """Half way and a little more along the gradient of the other class's best part against one's own."""
    assert model.has_components
    classes = model.component_classes
    own = model(x).argmax(1)

    def gap(scores: Tensor) -> Tensor:
        mine = scores.masked_fill(classes != own[:, None], -torch.inf).amax(1)
        return scores.masked_fill(classes == own[:, None], -torch.inf).amax(1) - mine

    value, slope = model.gradient(x, gap, outputs=model.components)
    size = -value / slope.flatten(1).square().sum(1)
    return threat.project(x + 1.2 * size.view(-1, 1, 1, 1) * slope, x)


SPECS = f"{__name__}:"


@harness.hookimpl
def harness_datasets() -> list[harness.DatasetSpec]:
    """Derived data sets."""
    return [
        harness.DatasetSpec(
            name="derived", summary="two means", load=SPECS + "load", derived=True, fit=SPECS + "fit"
        )
    ]


@harness.hookimpl
def harness_models() -> list[harness.ModelSpec]:
    """Models that grow."""
    return [
        harness.ModelSpec(
            name="prototypes",
            summary="kept images",
            build=SPECS + "build",
            train=SPECS + "train",
            head="classes",
        )
    ]


@harness.hookimpl
def harness_attacks() -> list[harness.AttackSpec]:
    """Attacks on parts."""
    return [
        harness.AttackSpec(
            name="towards", summary="part by part", run=SPECS + "towards", budget="minimal", norms=("l2",)
        )
    ]
