"""The localisation network finds attributes of drawn faces where these are drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
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

NAMES = ("Eyeglasses", "Mouth_Slightly_Open", "Wearing_Hat", "Wearing_Necktie")
SIZE = (88, 72)
POOL, EACH, JUDGED = 20_000, 300, 100
INSIDE = 0.8
"""The share of images in which the maximum must fall inside the attribute's place."""


def chosen(faces: Dataset, partition: str, each: int) -> npt.NDArray[np.intp]:
    """Rows of a partition: of each attribute as many with it as without, since few wear a hat or a tie."""
    assert faces.attributes is not None
    random, rows, found = np.random.default_rng(0), faces.rows(partition), set()
    for name in NAMES:
        present = faces.attributes[rows, faces.attribute_names.index(name)]
        for value in (True, False):
            own = rows[present == value]
            found |= set(random.choice(own, min(each, len(own)), replace=False).tolist())
    return np.array(sorted(found), np.intp)


@pytest.mark.slow
def test_maxima_lie_where_attributes_are_drawn() -> None:
    faces = synthetic.load(size=SIZE, count=POOL)
    train, judged = chosen(faces, "train", EACH), chosen(faces, "validation", JUDGED)
    rows = np.concatenate([train, judged])
    assert faces.attributes is not None
    few = Dataset(
        name="drawn",
        ids=[faces.ids[row] for row in rows],
        shape=faces.shape,
        read=lambda places: faces.images(rows[places]),
        fingerprint="drawn",
        attribute_names=NAMES,
        attributes=faces.attributes[rows][:, [faces.attribute_names.index(name) for name in NAMES]],
        partitions=np.array(["train"] * len(train) + ["validation"] * len(judged)),
    )
    module = build_part_only(Task.of(few))
    context = Context(0, torch.device("cpu"), lambda share, word: None, lambda own, make: make(), None)
    recipe = Recipe()
    learned = Faces(few, NAMES, batch_size=recipe.batch_size, flip=True, seed=0, device=context.device)
    stages = Stages(Design(), recipe, learned, context, module.resized, few.shape)
    assert module.localiser is not None
    try:
        module.localiser.load_state_dict(part(stages.localisation(), "net."))
    finally:
        learned.close()
    x = torch.from_numpy(faces.images(judged)).float() / 255
    with torch.no_grad():
        heatmaps = torch.cat([module.localise(some)[0] for some in x.split(128)])  # (N, 4, h, w)
    best, width = heatmaps.flatten(2).argmax(2).numpy(), heatmaps.shape[3]
    # Pixel 0 has its middle at 0, as landmarks have it.
    row = (best // width + 0.5) * SIZE[0] / heatmaps.shape[2] - 0.5
    column = (best % width + 0.5) * SIZE[1] / width - 0.5
    shares = {}
    for place, name in enumerate(NAMES):
        left, top, right, bottom = faces.attribute_place(name, judged).T
        there = ~np.isnan(left)
        assert there.sum() >= 50
        x_inside = (left <= column[:, place]) & (column[:, place] <= right)
        y_inside = (top <= row[:, place]) & (row[:, place] <= bottom)
        shares[name] = float((x_inside & y_inside)[there].mean())
    assert all(share >= INSIDE for share in shares.values()), shares
