"""MOON: eq. 4, what it learns, and that it learns the same twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from harness.dataset import Dataset
from harness.errors import DatasetError, ModelError
from harness.model import wrap_model
from harness.parameters import keyword_parameters
from harness.training import Task
from harness_attributes import PAPER, moon
from harness_attributes.moon import balancing_weights
from tests.flat import flat

QUICK: dict[str, Any] = {"epochs": 12, "batch_size": 16, "flip": False, "precision": "float32"}


def trained(dataset: Dataset, surroundings: Any, seed: int = 0, **recipe: Any) -> moon.Moon:
    torch.manual_seed(seed)
    module = moon.build(Task.of(dataset), width=4)
    flat(moon.train)(module, dataset, surroundings.context(seed), **{**QUICK, **recipe})
    return module


def train_accuracy(module: torch.nn.Module, dataset: Dataset) -> float:
    rows = dataset.rows("train")
    assert dataset.attributes is not None
    decisions = wrap_model(module, "attributes").scores(torch.tensor(dataset.images(rows)) / 255) > 0
    return float((decisions.numpy() == dataset.attributes[rows]).mean())


def test_loss_is_the_squared_error_of_eq_4() -> None:
    torch.manual_seed(0)
    module = moon.build(Task((3, 24, 20), ("A", "B", "C")), width=2)
    scores = torch.randn(5, 3, requires_grad=True)
    labels = torch.randn(5, 3).sign()
    (own,) = torch.autograd.grad(module.training_loss(scores, labels).sum(), scores)
    (reference,) = torch.autograd.grad(F.mse_loss(scores, labels, reduction="sum"), scores)
    assert torch.allclose(own, reference)


def test_a_score_of_zero_is_absent() -> None:
    model = wrap_model(moon.build(Task((3, 24, 20), ("A", "B")), width=2), "attributes")
    assert model.names == ("A", "B")
    assert model.decide(torch.tensor([[0.0, 1e-6]])).tolist() == [[False, True]]


def test_training_learns_what_can_be_seen(dataset: Dataset, surroundings: Any) -> None:
    module = trained(dataset, surroundings)
    assert not module.training
    assert train_accuracy(module, dataset) > 0.95
    shares = [share for share, _ in surroundings.reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert surroundings.reports[-1][1].startswith("epoch 12/12, loss 0.")


def test_published_optimiser_teaches_the_published_stack(dataset: Dataset, surroundings: Any) -> None:
    torch.manual_seed(0)
    design = {**PAPER, "width": 16}
    build, train = keyword_parameters(moon.build), keyword_parameters(moon.train)
    module = moon.build(Task.of(dataset), **{name: design[name] for name in build if name in design})
    recipe = {name: design[name] for name in train if name in design}
    # A hundred steps rather than 25,000, so at ten times the published rate.
    recipe |= {"learning_rate": 1e-4, "batch_size": 16, "epochs": 24, "patience": None}
    flat(moon.train)(module, dataset, surroundings.context(), **recipe)
    assert train_accuracy(module, dataset) > 0.95


@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_the_same_seed_gives_the_same_weights(dataset: Dataset, surroundings: Any, precision: str) -> None:
    recipe = {"precision": precision, "epochs": 2, "flip": True}
    first = trained(dataset, surroundings, **recipe).state_dict()
    torch.rand(7)  # somebody else's use of the global generator
    again = trained(dataset, surroundings, **recipe).state_dict()
    other = trained(dataset, surroundings, seed=1, **recipe).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_global_generators_alone(dataset: Dataset, surroundings: Any) -> None:
    module = moon.build(Task.of(dataset), width=2)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    flat(moon.train)(module, dataset, surroundings.context(), **{**QUICK, "epochs": 1})
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_weights_stay_in_float32_and_in_rows_as_files_want_them(dataset: Dataset, surroundings: Any) -> None:
    state = trained(dataset, surroundings, epochs=1, precision="mixed").state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    assert all(tensor.is_contiguous() for tensor in state.values())


def test_balancing_is_an_option_off_by_default(
    dataset: Dataset, surroundings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(moon, "fit", lambda *_, weights, **__: given.append(weights))
    module = moon.build(Task.of(dataset), width=2)
    moon.train(module, dataset, surroundings.context())
    moon.train(module, dataset, surroundings.context(), balanced=True, target_rate=0.4)
    assert dataset.attributes is not None
    assert given[0] is None
    assert torch.equal(given[1], balancing_weights(dataset.attributes[dataset.rows("train")], 0.4))


def test_data_without_partitions_or_attributes_are_refused(dataset: Dataset, surroundings: Any) -> None:
    module = moon.build(Task.of(dataset), width=2)
    context = surroundings.context()
    with pytest.raises(DatasetError, match="has no partitions"):
        moon.train(module, replace(dataset, partitions=None), context)
    with pytest.raises(DatasetError, match='partition "validation" is empty'):
        flat(moon.train)(module, replace(dataset, partitions=np.array(["train"] * 64)), context, patience=1)
    module.attribute_names = ("Red_Korner", "Green_Corner", "Blue_Corner")
    with pytest.raises(ModelError, match='did you mean "Red_Corner"'):
        moon.train(module, dataset, context)


def test_diverged_training_is_an_error(dataset: Dataset, surroundings: Any) -> None:
    module = moon.build(Task.of(dataset), width=2)
    with torch.no_grad():
        module.network.output.weight.fill_(torch.inf)
    with pytest.raises(ModelError, match=r"diverged in epoch 1.*a lower learning_rate"):
        moon.train(module, dataset, surroundings.context())
