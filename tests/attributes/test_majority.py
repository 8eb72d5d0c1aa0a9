"""The trivial classifier: what it counts, and that attacks find nothing to change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness.dataset import Dataset
from harness.errors import DatasetError, ModelError
from harness.goals import FlipAttribute
from harness.threat import Linf, Minimal
from harness.training import Task
from harness_attributes import majority


def counted(dataset: Dataset, surroundings: Any, attributes: list[str] | None = None) -> majority.Majority:
    module = majority.build(Task.of(dataset), attributes=attributes)
    majority.train(module, dataset, surroundings.context())
    return module.eval()


def test_scores_are_the_majority_of_the_training_set_alone(dataset: Dataset, surroundings: Any) -> None:
    """Of 48 training images 25, 24 (a tie is absent) and 23 have the attributes; all others the opposite."""
    attributes = np.arange(64)[:, None] < (25, 24, 23)
    attributes[48:] = (False, True, True)
    module = counted(replace(dataset, attributes=attributes), surroundings)
    scores = module(torch.rand(5, 3, 24, 20))
    assert scores.tolist() == [[1, -1, -1]] * 5
    assert surroundings.reports == [(1.0, "48 images counted")]


def test_what_it_counted_is_a_buffer(dataset: Dataset, surroundings: Any) -> None:
    module = counted(dataset, surroundings)
    again = majority.build(Task.of(dataset))
    assert again.scores.tolist() == [-1, -1, -1]
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.scores, module.scores)
    assert not list(module.parameters())


def test_chosen_attributes_are_answered_in_their_order(dataset: Dataset, surroundings: Any) -> None:
    attributes = np.broadcast_to((False, False, True), (64, 3))
    module = counted(replace(dataset, attributes=attributes), surroundings, ["Blue_Corner", "Red_Corner"])
    assert module.attribute_names == ("Blue_Corner", "Red_Corner")
    assert module(torch.rand(1, 3, 24, 20)).tolist() == [[1, -1]]
    with pytest.raises(ModelError, match='did you mean "Red_Corner"'):
        majority.build(Task.of(dataset), attributes=["Red_Korner"])


def test_data_without_partitions_or_attributes_are_refused(dataset: Dataset, surroundings: Any) -> None:
    module = majority.build(Task.of(dataset))
    with pytest.raises(DatasetError, match="has no partitions"):
        majority.train(module, replace(dataset, partitions=None), surroundings.context())
    with pytest.raises(ModelError, match="has no attributes to count"):
        majority.train(module, replace(dataset, attributes=None), surroundings.context())
    with pytest.raises(ModelError, match="a data set with attributes"):
        majority.build(Task((1, 28, 28), class_names=("0", "1")))


def test_its_gradient_is_zero_and_there(dataset: Dataset, surroundings: Any) -> None:
    x = torch.rand(4, 3, 24, 20).requires_grad_()
    (slope,) = torch.autograd.grad(counted(dataset, surroundings)(x).sum(), x)
    assert torch.equal(slope, torch.zeros_like(x))


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize(
    ("name", "threat", "more"),
    [
        ("ffa", Minimal("linf"), {}),
        ("ffa", Minimal("linf"), {"search": "iterative"}),
        ("fgs", Minimal("linf"), {}),
        ("fgs", Minimal("linf"), {"search": "iterative"}),
        ("pgd", Linf(8 / 255), {}),
    ],
    ids=["ffa", "iterative ffa", "fgs", "iterative fgs", "pgd"],
)
def test_attacks_find_nothing_and_raise_nothing(
    dataset: Dataset, surroundings: Any, name: str, threat: Any, more: dict[str, Any], column: int
) -> None:
    model = harness.wrap_model(counted(dataset, surroundings), "attributes")
    images = torch.tensor(dataset.images(np.arange(6))) / 255
    truth = torch.tensor(dataset.attributes)[:6, column]
    goal = FlipAttribute(torch.tensor(column), truth)
    outcome = harness.attack(name, model, images, goal=goal, threat=threat, **more)
    assert not outcome.reached.any()
    assert not outcome.success.any()
    assert outcome.errors == ("",) * 6
    assert outcome.adversarials.isfinite().all()
