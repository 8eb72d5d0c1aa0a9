"""The localisation network finds attributes of drawn faces where these are drawn: a figure, no time.

pytest tests/benchmarks/test_attribute_places.py --benchmark-enable
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.dataset import Dataset
from harness.training import Context, Task
from harness.training.unfinished import part
from harness_faces import synthetic
from harness_paw.faces import Faces
from harness_paw.layers import Design
from harness_paw.models import build_part_only
from harness_paw.recipe import Recipe
from harness_paw.stages import Stages

SIZE = (88, 72)


@dataclass(frozen=True)
class Sizes:
    """How many faces are drawn, and how many of each attribute with it and without are learned and judged."""

    names: tuple[str, ...]
    pool: int
    each: int
    judged: int
    epochs: int


FULL = Sizes(
    names=("Eyeglasses", "Mouth_Slightly_Open", "Wearing_Hat", "Wearing_Necktie"),
    pool=20_000,
    each=300,
    judged=100,
    epochs=Recipe().localiser_epochs,
)
TINY = Sizes(names=("Mouth_Slightly_Open",), pool=200, each=8, judged=8, epochs=1)
INSIDE = 0.8
"""The share of images in which the maximum must fall inside the attribute's place."""


def chosen(faces: Dataset, names: tuple[str, ...], partition: str, each: int) -> npt.NDArray[np.intp]:
    """Rows of a partition: of each attribute as many with it as without, since few wear a hat or a tie."""
    assert faces.attributes is not None
    random, rows, found = np.random.default_rng(0), faces.rows(partition), set()
    for name in names:
        present = faces.attributes[rows, faces.attribute_names.index(name)]
        for value in (True, False):
            own = rows[present == value]
            found |= set(random.choice(own, min(each, len(own)), replace=False).tolist())
    return np.array(sorted(found), np.intp)


def test_maxima_lie_where_attributes_are_drawn(report: Any, sizes: Sizes) -> None:
    faces = synthetic.load(size=SIZE, count=sizes.pool)
    train, judged = (
        chosen(faces, sizes.names, partition, each)
        for partition, each in (("train", sizes.each), ("test", sizes.judged))
    )
    rows = np.concatenate([train, judged])
    assert faces.attributes is not None
    few = Dataset(
        name="drawn",
        ids=[faces.ids[row] for row in rows],
        shape=faces.shape,
        read=lambda places: faces.images(rows[places]),
        fingerprint="drawn",
        attribute_names=sizes.names,
        attributes=faces.attributes[rows][:, [faces.attribute_names.index(name) for name in sizes.names]],
        partitions=np.array(["train"] * len(train) + ["validation"] * len(judged)),
    )
    module = build_part_only(Task.of(few))
    context = Context(0, torch.device("cpu"), lambda share, word: None, lambda own, make: make(), None)
    recipe = replace(Recipe(), localiser_epochs=sizes.epochs)
    learned = Faces(few, sizes.names, batch_size=recipe.batch_size, flip=True, seed=0, device=context.device)
    stages = Stages(Design(), recipe, learned, context, module.resized, few.shape)
    assert module.localiser is not None
    try:
        module.localiser.load_state_dict(part(stages.localisation(), "net."))
    finally:
        learned.close()
    x = torch.from_numpy(faces.images(judged)).float() / 255
    with torch.no_grad():
        heatmaps = torch.cat([module.localise(some)[0] for some in torch.split(x, 128)])  # (N, 4, h, w)
    best, width = heatmaps.flatten(2).argmax(2).numpy(), heatmaps.shape[3]
    # Pixel 0 has its middle at 0, as landmarks have it.
    row = (best // width + 0.5) * SIZE[0] / heatmaps.shape[2] - 0.5
    column = (best % width + 0.5) * SIZE[1] / width - 0.5
    for place, name in enumerate(sizes.names):
        left, top, right, bottom = faces.attribute_place(name, judged).T
        there = ~np.isnan(left)
        assert there.sum() >= sizes.judged // 4
        x_inside = (left <= column[:, place]) & (column[:, place] <= right)
        y_inside = (top <= row[:, place]) & (row[:, place] <= bottom)
        share = float((x_inside & y_inside)[there].mean())
        report(f"maxima inside the place of {name}", share, "of images", at_least=INSIDE)
