"""Separate networks: nothing of one attribute reaches another, in scores, gradients or training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.model import wrap_model
from harness.training import Task
from harness_attributes import separate
from harness_attributes.separate import Loss, Separate
from tests.flat import flat

TASK = Task((3, 24, 20), ("Bald", "Male", "Young"))
COLUMNS = torch.tensor([2, 0, 2, 0, 0])
LOSSES: list[Loss] = ["euclidean", "softmax"]


def built(loss: Loss = "euclidean", seed: int = 0, **design: Any) -> Separate:
    torch.manual_seed(seed)
    return separate.build(TASK, loss=loss, width=2, **design).eval()


def images(count: int = len(COLUMNS)) -> Tensor:
    return torch.rand(count, 3, 24, 20, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("loss", LOSSES)
def test_select_is_the_column_of_forward(loss: Loss) -> None:
    module = built(loss)
    scores = module(images())
    assert scores.shape == (5, 3)
    assert torch.allclose(
        module.select(images(), COLUMNS), scores.gather(1, COLUMNS[:, None])[:, 0], atol=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_an_attribute_sees_its_network_alone(loss: Loss) -> None:
    module = built(loss)
    module(images())[:, 1].sum().backward()
    for position, network in enumerate(module.networks):
        used = [p.grad is not None and bool(p.grad.abs().max() > 0) for p in network.parameters()]
        assert any(used) is (position == 1)


@pytest.mark.parametrize("loss", LOSSES)
def test_select_runs_no_other_network_and_each_image_once(loss: Loss) -> None:
    module = built(loss)
    seen: dict[int, int] = {}
    for position, network in enumerate(module.networks):
        network.register_forward_hook(
            lambda _, inputs, __, position=position: seen.update({position: len(inputs[0])})
        )
    x = images().requires_grad_()
    (slope,) = torch.autograd.grad(module.select(x, COLUMNS).sum(), x)
    assert seen == {0: 3, 2: 2}
    for row, column in enumerate(COLUMNS.tolist()):
        alone = images()[row : row + 1].requires_grad_()
        (expected,) = torch.autograd.grad(module(alone)[0, column], alone)
        assert torch.allclose(slope[row : row + 1], expected, atol=1e-5)


def test_select_of_nothing_is_nothing() -> None:
    assert built().select(images(0), COLUMNS[:0]).shape == (0,)
    assert built("softmax").logits(images(0), COLUMNS[:0]).shape == (0, 2)


def test_softmax_score_is_the_difference_of_its_logits() -> None:
    module = built("softmax")
    logits = module.logits(images(), COLUMNS)
    assert logits.shape == (5, 2)
    assert torch.allclose(logits[:, 1] - logits[:, 0], module.select(images(), COLUMNS), atol=1e-6)
    present = wrap_model(module, "attributes").decide(module.select(images(), COLUMNS))
    assert torch.equal(present, logits.argmax(1) == 1)


def test_only_softmax_has_logits() -> None:
    assert not callable(getattr(built("euclidean"), "logits", None))
    assert callable(getattr(built("softmax"), "logits", None))


def test_losses_are_torchs_own() -> None:
    labels = torch.tensor([[1.0], [-1.0], [-1.0], [1.0], [1.0]])
    scores = torch.randn(5, 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (own,) = torch.autograd.grad(built().training_loss(scores, labels).sum(), scores)
    (reference,) = torch.autograd.grad(F.mse_loss(scores, labels, reduction="sum"), scores)
    assert torch.allclose(own, reference)

    module = built("softmax")
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (own,) = torch.autograd.grad(module.training_loss(module.score(logits), labels).sum(), logits)
    classes = (labels[:, 0] > 0).long()
    (reference,) = torch.autograd.grad(F.cross_entropy(logits, classes, reduction="sum"), logits)
    assert torch.allclose(own, reference, atol=1e-6)


def test_chosen_attributes_are_answered_in_their_order() -> None:
    module = built(attributes=["Young", "Bald"])
    assert module.attribute_names == ("Young", "Bald")
    assert module(images()).shape == (5, 2)
    assert wrap_model(module, "attributes").names == ("Young", "Bald")


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [(["Yuong"], 'did you mean "Young"'), ([], "at least one"), (["Male", "Male"], "none twice")],
)
def test_wrong_attributes_are_refused(attributes: list[str], fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        separate.build(TASK, attributes=attributes)


def trained(dataset: Dataset, surroundings: Any, attributes: list[str], **recipe: Any) -> Separate:
    torch.manual_seed(0)
    module = separate.build(Task.of(dataset), attributes=attributes, width=4)
    recipe = {"epochs": 12, "batch_size": 16, "flip": False, "precision": "float32", **recipe}
    flat(separate.train)(module, dataset, surroundings.context(), **recipe)
    return module


@pytest.mark.parametrize("loss", LOSSES)
def test_training_learns_what_can_be_seen(dataset: Dataset, surroundings: Any, loss: Loss) -> None:
    module = separate.build(Task.of(dataset), attributes=["Blue_Corner", "Red_Corner"], width=4, loss=loss)
    recipe: dict[str, Any] = {"epochs": 12, "batch_size": 16, "flip": False, "precision": "float32"}
    flat(separate.train)(module, dataset, surroundings.context(), **recipe)
    assert not any(part.training for part in module.modules())
    rows = dataset.rows("train")
    assert dataset.attributes is not None
    decisions = wrap_model(module, "attributes").scores(torch.tensor(dataset.images(rows)) / 255) > 0
    assert (decisions.numpy() == dataset.attributes[rows][:, [2, 0]]).mean() > 0.95
    assert surroundings.reports[-1] == (1.0, "Red_Corner: done")


def test_one_attribute_more_changes_none_of_the_others(dataset: Dataset, surroundings: Any) -> None:
    alone = trained(dataset, surroundings, ["Blue_Corner"], epochs=1)
    second = trained(dataset, surroundings, ["Red_Corner", "Blue_Corner"], epochs=1)
    state = alone.networks[0].state_dict()
    for name, tensor in second.networks[1].state_dict().items():
        assert torch.equal(state[name], tensor), name
    first = second.networks[0].state_dict()
    assert any(not torch.equal(first[name], state[name]) for name in state)


def test_each_attribute_is_a_unit_of_its_own(dataset: Dataset, surroundings: Any) -> None:
    trained(dataset, surroundings, ["Red_Corner", "Green_Corner"], epochs=1)
    red, green = surroundings.units
    assert red["attribute"] == "Red_Corner"
    assert green == {**red, "attribute": "Green_Corner"}
    surroundings.units.clear()
    trained(dataset, surroundings, ["Red_Corner"], epochs=1)
    trained(dataset, surroundings, ["Red_Corner"], epochs=2)
    assert surroundings.units[0] == red
    assert surroundings.units[1] != red


def test_kept_weights_are_loaded_and_not_trained_again(dataset: Dataset, surroundings: Any) -> None:
    first = trained(dataset, surroundings, ["Red_Corner"], epochs=1)
    context = surroundings.context()
    object.__setattr__(context, "unit", lambda identity, make: first.networks[0].state_dict())
    second = separate.build(Task.of(dataset), attributes=["Red_Corner"], width=4)
    flat(separate.train)(second, dataset, context, epochs=1, precision="float32")
    x = images()
    assert torch.equal(first.eval()(x), second(x))
