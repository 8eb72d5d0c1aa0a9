"""CNN: its layers as the paper has them, what it learns, that it learns the same twice and after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.dataset import Dataset
from harness.errors import DatasetError, ModelError
from harness.randomness import derived_seed
from harness.testing import Case, model_checks
from harness.training import Task
from harness.zoo.trained import obtain
from harness_bayes import cnn
from harness_bayes.mixture_data import MixtureDataset
from harness_bayes.two_class_images import first_of_each, training_images, two_class_images
from tests.bayes.two_class_problems import SPECS, Kept, accuracy, choice, of_one_class, pixels_of, problem
from tests.flat import flat

DEVICE = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def drawn() -> MixtureDataset:
    return problem()


def trained(dataset: Dataset, kept: Kept | None = None, seed: int = 0, **recipe: Any) -> cnn.Cnn:
    torch.manual_seed(seed)
    module = cnn.build(Task.of(dataset))
    flat(cnn.train)(module, dataset, (kept or Kept()).context(seed), **{"batch_size": 16, **recipe})
    return module


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("edge", "given", "filters", "strides"),
    [
        (64, {"width": 64, "depth": 6}, [64, 128, 128, 256, 256, 512], [1, 2, 1, 2, 1, 2]),
        (64, {}, [8, 16, 32, 64], [1, 2, 2, 2]),
        (28, {}, [8, 16, 16, 32], [1, 2, 1, 2]),
        (8, {}, [8, 8, 8, 16], [1, 1, 1, 2]),
        (64, {"depth": 2}, [16, 32], [2, 2]),
        (9, {"depth": 3, "halvings": 0}, [8, 8, 8], [1, 1, 1]),
    ],
)
def test_layers(edge: int, given: dict[str, int], filters: list[int], strides: list[int]) -> None:
    module = cnn.build(Task((3, edge, edge), class_names=("a", "b")), **given)
    layers = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == filters
    assert [layer.stride[0] for layer in layers] == strides
    assert all(layer.kernel_size == (3, 3) for layer in layers)
    activations = [part for part in module.features if not isinstance(part, nn.Conv2d)]
    assert len(activations) == len(layers)
    assert all(isinstance(part, nn.LeakyReLU) for part in activations)
    assert [type(part) for part in module.children()] == [nn.Sequential, nn.Linear]
    last = -(-edge // int(np.prod(strides)))
    assert module.classify.in_features == filters[-1] * last * last


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 11), (1, 28, 28), (3, 37, 9), (3, 64, 64)])
def test_it_answers_images_of_any_size(shape: tuple[int, int, int]) -> None:
    module = cnn.build(Task(shape))
    x = torch.rand(3, *shape)
    assert module(x).shape == (3, 2)
    assert module(x).dtype == torch.float32
    assert torch.allclose(module(x)[:1], module(x[:1]), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ((1, 7, 20), {}, "7 pixels are too small"),
        ((1, 8, 8), {"halvings": 5}, "too many for depth = 4"),
        ((1, 8, 8), {"halvings": 4}, "8 pixels; give fewer"),
    ],
)
def test_impossible_networks_are_refused(shape: Any, given: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        cnn.build(Task(shape), **given)


def test_it_learns(drawn: MixtureDataset) -> None:
    kept = Kept()
    module = trained(drawn, kept)
    assert accuracy(module, drawn) >= 0.95
    assert not module.training
    shares = [share for share, _ in kept.reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) == 6 * 15 + 6  # every step, and every epoch


def test_a_step_is_adam_on_the_cross_entropy(drawn: MixtureDataset) -> None:
    """The first epoch, written out with formulas."""
    torch.manual_seed(5)
    module = cnn.build(Task.of(drawn), width=2, depth=2)
    torch.manual_seed(5)
    own = cnn.build(Task.of(drawn), width=2, depth=2)
    flat(cnn.train)(module, drawn, Kept().context(3), epochs=1, batch_size=100, learning_rate=0.01)
    x, labels = pixels_of(drawn, "train")
    order = np.random.default_rng(derived_seed(3, "order", 1)).permutation(len(x))
    weights = list(own.parameters())
    first = [torch.zeros_like(weight) for weight in weights]
    second = [torch.zeros_like(weight) for weight in weights]
    for step, batch in enumerate(np.split(order, [100, 200]), 1):
        rows = torch.from_numpy(batch)
        logits = own(x[rows])
        loss = -logits.log_softmax(1)[torch.arange(len(rows)), labels[rows]].mean()
        slopes = torch.autograd.grad(loss, weights)
        for index, slope in enumerate(slopes):
            first[index] = 0.9 * first[index] + 0.1 * slope
            second[index] = 0.999 * second[index] + 0.001 * slope**2
            mean = first[index] / (1 - 0.9**step)
            square = second[index] / (1 - 0.999**step)
            with torch.no_grad():
                weights[index] -= 0.01 * mean / (square.sqrt() + 1e-8)
    assert not same(module, cnn.build(Task.of(drawn), width=2, depth=2))
    for a, b in zip(module.parameters(), own.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_same_seed_gives_the_same_weights(drawn: MixtureDataset) -> None:
    one = trained(drawn, epochs=2)
    torch.randn(7)
    assert same(one, trained(drawn, epochs=2))
    assert not same(one, trained(drawn, epochs=2, seed=1))


def test_the_next_batch_is_made_while_one_is_learned(drawn: MixtureDataset) -> None:
    asked: list[int] = []

    def draw(numbers: Any) -> Any:
        asked.append(len(numbers))
        if len(asked) == 3:
            raise DatasetError("no more")
        return drawn.images(numbers % 240).copy()

    kept = Kept()
    with pytest.raises(DatasetError, match="no more"):
        trained(replace(drawn, draw=draw), kept, images=80, batch_size=32, fresh=True)
    assert asked == [32, 32, 16]
    assert len(kept.reports) == 2  # those that were there were learned
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        trained(
            replace(drawn, draw=draw), Kept(stop=lambda share: True), images=80, batch_size=32, fresh=True
        )
    assert asked == [32, 32]  # killed in the first step


def test_a_killed_training_goes_on(drawn: MixtureDataset) -> None:
    kept = Kept(stop=lambda share: share > 0.5)
    with pytest.raises(KeyboardInterrupt):
        trained(drawn, kept, epochs=4)
    assert [made["epoch"] for made in kept.made] == [1, 2]
    kept.stop = lambda share: False
    module = trained(drawn, kept, epochs=4)
    assert [made["epoch"] for made in kept.made] == [1, 2, 3, 4]
    assert same(module, trained(drawn, epochs=4))
    longer = trained(drawn, kept, epochs=5)
    assert [made["epoch"] for made in kept.made] == [1, 2, 3, 4, 5]
    assert same(longer, trained(drawn, epochs=5))


@pytest.mark.parametrize(
    "changed", [{"learning_rate": 2e-3}, {"batch_size": 17}, {"images": 99}, {"fresh": True}]
)
def test_another_training_shares_nothing(drawn: MixtureDataset, changed: dict[str, Any]) -> None:
    kept = Kept()
    trained(drawn, kept, epochs=1)
    trained(drawn, kept, epochs=1, **changed)
    assert len(kept.made) == 2


def test_divergence_is_said_in_one_line(drawn: MixtureDataset) -> None:
    with pytest.raises(ModelError, match=r"diverged in epoch 1.*lower learning_rate than 100000") as caught:
        trained(drawn, learning_rate=1e5)
    assert "\n" not in str(caught.value)


def test_mixed_precision_learns_too(drawn: MixtureDataset) -> None:
    assert accuracy(trained(drawn, precision="mixed"), drawn) >= 0.95


def test_each_epoch_may_have_new_images(drawn: MixtureDataset) -> None:
    asked: list[int] = []

    def draw(numbers: Any) -> Any:
        asked.extend(numbers.tolist())
        return drawn.images(numbers % 240).copy()

    endless = replace(drawn, draw=draw)
    module = trained(endless, epochs=3, images=241, fresh=True)
    assert sorted(asked) == list(range(3 * 241))  # each number once
    assert sorted(asked[:241]) == list(range(241))
    assert accuracy(module, drawn) >= 0.9
    asked.clear()
    fixed = trained(endless, epochs=2)
    assert asked == []  # not unless asked for
    assert same(fixed, trained(drawn, epochs=2, fresh=True))  # of what cannot be drawn, the same again
    trained(endless, epochs=1, fresh=True)
    assert len(asked) == 240  # as many as the partition has


def test_new_images_have_the_labels_of_their_numbers(drawn: MixtureDataset) -> None:
    found = training_images(replace(drawn, draw=lambda numbers: numbers), 5, True)
    numbers, labels = found.batch(np.array([4, 0, 1]), 2)
    assert numbers.tolist() == [9, 5, 6]
    assert labels.tolist() == [1, 1, 0]


def test_a_limit_takes_the_first_of_each_class(drawn: MixtureDataset) -> None:
    found = two_class_images(drawn, "train", 11)
    assert found.rows.tolist() == [*range(11)] or found.rows.tolist() == [*range(10), 11]
    assert len(two_class_images(drawn, "train", 10_000)) == 240
    labels = np.array([0] * 30 + [1] * 10)
    kept = first_of_each(labels, 8)
    assert kept.tolist() == [0, 1, 2, 3, 4, 5, 30, 31]  # in order, and as balanced as before


def test_images_that_do_not_fit_into_memory_are_read(
    drawn: MixtureDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = trained(drawn, epochs=1)
    monkeypatch.setattr("harness_bayes.two_class_images.LARGEST_COPY", 100)
    assert two_class_images(drawn, "train").copy is None
    assert same(trained(drawn, epochs=1), module)


def test_other_data_are_refused(drawn: MixtureDataset) -> None:
    with pytest.raises(ModelError, match=r"images of the classes \[0\]"):
        trained(of_one_class(drawn))
    with pytest.raises(ModelError, match="has no classes to learn"):
        trained(replace(drawn, labels=None))
    labels = np.where(np.arange(len(drawn)) == 3, 1, 0)
    with pytest.raises(ModelError, match="leaves a class of drawn without images"):
        trained(replace(drawn, labels=labels), images=4)


def test_the_zoo_keeps_it(drawn: MixtureDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    chosen = choice("cnn", epochs=2, batch_size=16)
    first = obtain(chosen, drawn, 0, DEVICE)
    again = obtain(chosen, drawn, 0, DEVICE)
    x: Tensor = pixels_of(drawn, "test")[0]
    assert torch.equal(first.model.module(x), again.model.module(x))
    assert same(again.model.module, trained(drawn, epochs=2))
    assert len(list((tmp_path / "zoo" / "parts").glob("*.safetensors"))) == 2


@pytest.mark.parametrize("case", model_checks(SPECS["cnn"]))
def test_contract(case: Case) -> None:
    case()
