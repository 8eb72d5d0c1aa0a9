"""What models with crops tell of an image, and models of some attributes of a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training import Task
from harness_paw.models import build_grid, build_paw, build_whole_only
from harness_paw.training import train

from .conftest import DESIGN, RECIPE, Surroundings

TASK = Task((3, 24, 20), ("A", "B", "C"))


def test_the_crop_of_the_asked_attribute_is_told() -> None:
    torch.manual_seed(0)
    module = build_paw(TASK, design=DESIGN).eval()
    x = torch.rand(5, 3, 24, 20)
    _, centres = module.localise(x)
    asked = torch.tensor([2, 0, 1, -1, 2])
    told = module.observe(x, asked)
    for row, column in enumerate(asked.tolist()):
        if column < 0:
            assert told[row].isnan().all()
        else:
            assert told[row].tolist() == centres[row, column].tolist()
    assert len({tuple(place) for place in centres.flatten(0, 1).tolist()}) > 1


def test_some_attributes_of_a_data_set_are_learned_as_if_it_had_no_others(
    dataset: Dataset, surroundings: Surroundings
) -> None:
    recipe = replace(RECIPE, localiser_epochs=1, hint_epochs=1, whole_epochs=1)
    chosen = ["Blue_Corner", "Red_Corner"]
    columns = [dataset.attribute_names.index(name) for name in chosen]
    assert dataset.attributes is not None
    alone = replace(
        dataset,
        attribute_names=tuple(chosen),
        attributes=np.ascontiguousarray(dataset.attributes[:, columns]),
    )
    weights = []
    for data, more in ((dataset, {"attributes": chosen}), (alone, {})):
        torch.manual_seed(0)
        module = build_whole_only(Task.of(data), design=DESIGN, **more)  # type: ignore[arg-type]
        before = len(surroundings.made)
        train(module, data, surroundings.context(), recipe=recipe)
        weights.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        # Stages of some attributes are no stages of all.
        assert surroundings.made[before:] == ["localisation", "hint", "whole"]
        assert set(module.training_notes["stages"]["whole"]["accuracy"]) == set(module.attribute_names)
        assert module.attribute_names == tuple(chosen)
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        (["A", "D"], 'attribute "D" is unknown'),
        ([], "must name at least one attribute"),
        (["A", "A"], "none twice"),
    ],
)
def test_wrong_attributes_are_refused(attributes: Any, error: str) -> None:
    with pytest.raises(ModelError, match=error):
        build_grid(TASK, design=DESIGN, attributes=attributes)
