"""The localisation network finds attributes of drawn faces where these are drawn: figures, no times.

pytest tests/benchmarks/test_attribute_places.py --benchmark-enable
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.training import Context, Task
from harness.training.unfinished import part
from harness_faces import synthetic
from harness_faces.located_faces import LocatedFaces
from harness_paw.faces import Faces, Rows
from harness_paw.layers import Design
from harness_paw.models import build_part_only
from harness_paw.recipe import Recipe
from harness_paw.stages import Stages

SIZE = (88, 72)


NAMES = ("Eyeglasses", "Mouth_Slightly_Open", "Wearing_Hat", "Wearing_Necktie")
ALL = "all attributes"
INSIDE = 0.8
"""The share of images in which the maximum must fall inside the attribute's place."""


@dataclass(frozen=True)
class Sizes:
    """How many faces are drawn, and how many of them are learned and judged."""

    names: tuple[str, ...]
    pool: int
    each: int
    """Images learned with each attribute and without it, where only these attributes are learned."""
    first: int
    """Images learned where all attributes are: the first ones, as the quick preset has."""
    judged: int
    """Images judged, with each attribute."""
    epochs: int


FULL = Sizes(names=NAMES, pool=60_000, each=300, first=4_800, judged=200, epochs=Recipe().localiser_epochs)
TINY = Sizes(names=NAMES[1:2], pool=200, each=8, first=32, judged=8, epochs=1)


@pytest.fixture
def faces(sizes: Sizes) -> LocatedFaces:
    """Drawn faces; an image is drawn when it is asked for."""
    return synthetic.load(size=SIZE, count=sizes.pool)


def rows_of(
    faces: Dataset, names: tuple[str, ...], partition: str, each: int, values: tuple[bool, ...]
) -> Rows:
    """Rows of a partition: so many with each value of each attribute, since few wear a hat or a tie."""
    assert faces.attributes is not None
    random, rows, found = np.random.default_rng(0), faces.rows(partition), set()
    for name in names:
        present = faces.attributes[rows, faces.attribute_names.index(name)]
        for value in values:
            own = rows[present == value]
            found |= set(random.choice(own, min(each, len(own)), replace=False).tolist())
    return np.array(sorted(found), np.intp)


def learned(
    faces: LocatedFaces, rows: Rows, names: tuple[str, ...], epochs: int
) -> Callable[[Tensor], Tensor]:
    """Learn these attributes from these rows, and return what finds the heatmaps (B, M, h, w) of images."""
    assert faces.attributes is not None
    few = Dataset(
        name="drawn",
        ids=[faces.ids[row] for row in rows],
        shape=faces.shape,
        read=lambda places: faces.images(rows[places]),
        fingerprint="drawn",
        attribute_names=names,
        attributes=faces.attributes[rows][:, [faces.attribute_names.index(name) for name in names]],
        partitions=np.array(["train"] * len(rows)),
    )
    module = build_part_only(Task.of(few))
    context = Context(0, torch.device("cpu"), lambda share, word: None, lambda own, make: make(), None)
    recipe = replace(Recipe(), localiser_epochs=epochs)
    batches = Faces(few, names, batch_size=recipe.batch_size, flip=True, seed=0, device=context.device)
    stages = Stages(Design(), recipe, batches, context, module.resized, few.shape)
    assert module.localiser is not None
    try:
        module.localiser.load_state_dict(part(stages.localisation(), "net."))
    finally:
        batches.close()
    return lambda x: module.localise(x)[0]


def report_shares(
    faces: LocatedFaces,
    heatmaps_of: Callable[[Tensor], Tensor],
    names: tuple[str, ...],
    sizes: Sizes,
    report: Any,
    preset: str,
) -> None:
    """Report in how many test images of each attribute its heatmap's maximum lies inside its place."""
    judged = rows_of(faces, sizes.names, "test", sizes.judged, (True,))
    x = torch.from_numpy(faces.images(judged)).float() / 255
    with torch.no_grad():
        heatmaps = torch.cat([heatmaps_of(some) for some in torch.split(x, 128)])
    best, width = heatmaps.flatten(2).argmax(2).numpy(), heatmaps.shape[3]
    # Pixel 0 has its middle at 0, as landmarks have it.
    row = (best // width + 0.5) * SIZE[0] / heatmaps.shape[2] - 0.5
    column = (best % width + 0.5) * SIZE[1] / width - 0.5
    for name in sizes.names:
        own = names.index(name)
        left, top, right, bottom = faces.attribute_place(name, judged).T
        there = ~np.isnan(left)
        assert there.sum() >= sizes.judged // 2
        x_inside = (left <= column[:, own]) & (column[:, own] <= right)
        y_inside = (top <= row[:, own]) & (row[:, own] <= bottom)
        share = float((x_inside & y_inside)[there].mean())
        report(f"maxima inside the place of {name}, {preset}", share, "of images", at_least=INSIDE)


def test_maxima_lie_where_attributes_are_drawn(report: Any, sizes: Sizes, faces: LocatedFaces) -> None:
    rows = rows_of(faces, sizes.names, "train", sizes.each, (True, False))
    report_shares(
        faces, learned(faces, rows, sizes.names, sizes.epochs), sizes.names, sizes, report, "four attributes"
    )


def test_those_of_the_quick_preset_lie_there_too(report: Any, sizes: Sizes, faces: LocatedFaces) -> None:
    rows, names = faces.rows("train")[: sizes.first], faces.attribute_names
    report_shares(faces, learned(faces, rows, names, sizes.epochs), names, sizes, report, ALL)
