"""Small sources and mixtures for tests: real 8 x 8 digits, and densities that were not learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.dataset import Dataset
from harness.training import Context, StateDict
from harness_bayes import class_mixtures
from harness_bayes.mfa import Mfa
from harness_faces import sklearn_digits
from tests.flat import flat

SHAPE = (1, 4, 6)
DIMENSION = 24
TINY: dict[str, Any] = {"components": 4, "latent": 3, "steps": 3, "batch_size": 64}
"""Of a fit that takes a fraction of a second."""


def context(
    report: Callable[[float, str], None] = lambda *_: None,
    unit: Callable[..., StateDict] = lambda identity, make: make(),
    seed: int = 0,
) -> Context:
    return Context(seed, torch.device("cpu"), report, unit)


def fitted_digits(pair: list[str], **more: Any) -> tuple[Dataset, StateDict]:
    """scikit-learn's digits, and mixtures of two of them."""
    source = sklearn_digits.load()
    return source, flat(class_mixtures.fit)(source, context(), pair=pair, **TINY, **more)


def source_of(
    labels: list[int], partitions: list[str] | None, attributes: dict[str, list[int]] | None = None
) -> Dataset:
    """Images of SHAPE in which image n has the grey n everywhere, of classes "a", "b", "c"."""

    def read(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        grey = np.asarray(rows, np.uint8)[:, None, None, None]
        return np.broadcast_to(grey, (len(rows), *SHAPE)).copy()

    columns = attributes or {}
    return Dataset(
        name="greys",
        ids=[f"grey-{row}" for row in range(len(labels))],
        shape=SHAPE,
        read=read,
        fingerprint="greys",
        labels=np.array(labels, np.int64),
        class_names=("a", "b", "c"),
        partitions=None if partitions is None else np.array(partitions),
        attribute_names=tuple(columns),
        attributes=np.array(list(columns.values())).T.astype(bool) if columns else None,
    )


def densities(seed: int = 0, components: int = 3, latent: int = 2, scale: float = 0.04) -> tuple[Mfa, Mfa]:
    """Mixtures of images of SHAPE, with unequal weights, that seldom leave [0, 1]."""
    draws = np.random.default_rng(seed)
    both = []
    for _ in range(2):
        weights = draws.dirichlet(np.full(components, 3.0))
        both.append(
            Mfa(
                torch.from_numpy(np.log(weights)),
                torch.from_numpy(draws.uniform(0.35, 0.65, (components, DIMENSION))),
                torch.from_numpy(scale * draws.standard_normal((components, DIMENSION, latent))),
                torch.from_numpy(draws.uniform(1e-4, 1e-3, (components, DIMENSION))),
            )
        )
    return both[0], both[1]


def state_of(both: tuple[Mfa, Mfa]) -> StateDict:
    """As ``fit`` would return them, with a mean and an axis."""
    axis = torch.zeros(DIMENSION, dtype=torch.float64)
    axis[5] = 1.0
    mean = torch.full((DIMENSION,), 0.5, dtype=torch.float64)
    return {**both[0].state("class0."), **both[1].state("class1."), "mean": mean, "axis": axis}


def plain_source(**changed: Any) -> Dataset:
    """A source with two classes in either partition, for mixtures that are given."""
    labels = [row % 3 for row in range(60)]
    partitions = ["train"] * 30 + ["test"] * 30
    return replace(source_of(labels, partitions), **changed)
