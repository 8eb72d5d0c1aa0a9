"""What mixtures are learned from: which images, with which recipe, and what is kept under which identity."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.dataset import Dataset
from harness.errors import DatasetError, ModelError
from harness.training import StateDict
from harness_bayes import class_mixtures, mixture_data
from harness_bayes.class_mixtures import ClassMixtures
from harness_bayes.fitting import MixtureRecipe
from harness_bayes.mfa import Mfa
from harness_faces import celeba, mnist, sklearn_digits, synthetic
from tests.flat import flat

from .mixture_fixture import DIMENSION, TINY, context, source_of

fit = flat(class_mixtures.fit)
load_symmetric = flat(mixture_data.load_symmetric)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each fit, which is replaced by one Gaussian."""
    calls: list[dict[str, Any]] = []

    def fake(images: torch.Tensor, recipe: MixtureRecipe, **arguments: Any) -> Mfa:
        calls.append({"images": images, **recipe.identity(len(images)), **arguments})
        arguments["report"](0.5, "half")
        size = images.shape[1]
        mean = images.mean(0, keepdim=True).double()
        return Mfa(mean.new_zeros(1), mean, mean.new_zeros(1, size, 1), mean.new_ones(1, size))

    monkeypatch.setattr(class_mixtures, "fit_mfa", fake)
    return calls


def greys(count: int, partitions: list[str] | None = None, **attributes: list[int]) -> Dataset:
    return source_of([row % 2 for row in range(count)], partitions, attributes or None)


def grey_levels(call: dict[str, Any]) -> list[int]:
    return [round(float(value) * 255) for value in call["images"][:, 0]]


def test_each_class_is_learned_from_its_training_images_in_order(asked: list[dict[str, Any]]) -> None:
    source = greys(10, ["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    state = fit(source, context(), pair=["b", "a"])
    assert [grey_levels(call) for call in asked] == [[1, 3, 5], [0, 2, 4]]
    assert asked[0]["images"].dtype == torch.float32
    assert asked[0]["images"].shape == (3, DIMENSION)
    learned = ClassMixtures.from_state(state, DIMENSION)
    assert learned.mixtures[0].means[0, 0].item() == pytest.approx(3 / 255)
    assert learned.mean.tolist() == pytest.approx([2.5 / 255] * DIMENSION)
    assert learned.axis.tolist() == pytest.approx(
        [DIMENSION**-0.5] * DIMENSION
    )  # greys differ in nothing else


def test_an_attribute_splits_all_images(asked: list[dict[str, Any]]) -> None:
    fit(greys(6, None, Hat=[1, 0, 0, 1, 1, 0]), context(), attribute="Hat")
    assert [grey_levels(call) for call in asked] == [[1, 2, 5], [0, 3, 4]]


def test_recipe(asked: list[dict[str, Any]]) -> None:
    source = greys(9, None, Hat=[1] * 6 + [0] * 3)
    fit(
        source,
        context(),
        attribute="Hat",
        samples_per_component=2,
        latent=4,
        steps=7,
        learning_rate=0.1,
        batch_size=5,
    )
    assert [call["components"] for call in asked] == [1, 3]  # 3 // 2 and 6 // 2
    assert {(call["latent"], call["steps"], call["learning_rate"], call["batch_size"]) for call in asked} == {
        (4, 7, 0.1, 5)
    }
    assert [call["mirror"] for call in asked] == [source.shape] * 2
    assert asked[0]["seed"] != asked[1]["seed"]
    asked.clear()
    fit(source, context(seed=1), pair=["a", "b"], components=2)
    assert [call["components"] for call in asked] == [2, 2]
    assert [call["mirror"] for call in asked] == [None, None]  # digits are not their own mirror images
    asked.clear()
    fit(source, context(), pair=["a", "b"], mirror=True)
    assert [call["mirror"] for call in asked] == [source.shape] * 2
    assert [call["components"] for call in asked] == [1, 1]  # one at least


def identities(source: Dataset, **parameters: Any) -> list[str]:
    seen: list[str] = []

    def unit(identity: dict[str, Any], make: Callable[[], StateDict]) -> StateDict:
        seen.append(repr(identity))
        return make()

    fit(source, context(unit=unit), **parameters)
    return seen


def test_parts_are_shared_where_they_are_the_same(asked: list[dict[str, Any]]) -> None:
    source = source_of([0, 1, 2] * 4, None, {"Hat": [0, 1] * 6, "Tie": [0, 0, 1] * 4})
    ab, ac, ba = (identities(source, pair=pair) for pair in (["a", "b"], ["a", "c"], ["b", "a"]))
    assert ab[0] == ac[0] == ba[1]
    assert ab[2] == ba[2] != ac[2]
    hat, tie = identities(source, attribute="Hat"), identities(source, attribute="Tie")
    assert hat[2] == tie[2]  # all images
    assert len({*hat[:2], *tie[:2], *ab[:2]}) == 6
    for more in (
        {"latent": 3},
        {"steps": 3},
        {"learning_rate": 0.2},
        {"batch_size": 9},
        {"components": 3},
        {"mirror": True},
    ):
        assert not set(identities(source, pair=["a", "b"], **more)[:2]) & set(ab[:2])


def test_what_is_kept_is_not_learned_again(asked: list[dict[str, Any]]) -> None:
    kept: dict[str, StateDict] = {}

    def unit(identity: dict[str, Any], make: Callable[[], StateDict]) -> StateDict:
        key = repr(identity)
        if key not in kept:
            kept[key] = make()
        return kept[key]

    source = greys(8)
    first = fit(source, context(unit=unit), pair=["a", "b"])
    unread = replace(source, read=lambda rows: pytest.fail("images are read"))
    again = fit(unread, context(unit=unit), pair=["a", "b"])
    assert len(asked) == 2
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_progress_rises_to_the_end(asked: list[dict[str, Any]]) -> None:
    told: list[tuple[float, str]] = []
    fit(greys(8), context(report=lambda share, word: told.append((share, word))), pair=["a", "b"])
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] == 1
    assert {"a: half", "b: half"} <= {word for _, word in told}


def test_a_class_without_training_images() -> None:
    source = source_of([0, 0, 1, 1], ["train", "train", "test", "test"])
    with pytest.raises(
        DatasetError, match='greys: class "b" has no image in the partition "train"; choose another'
    ):
        fit(source, context(), pair=["a", "b"])


def test_a_fit_that_cannot_be_names_the_source_and_the_class() -> None:
    with pytest.raises(ModelError) as caught:
        fit(greys(12), context(), pair=["a", "b"], components=9)
    assert str(caught.value).startswith('greys: class "a": ')


def test_images_that_are_all_equal() -> None:
    source = greys(12)

    def read(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        return np.full((len(rows), *source.shape), 7, np.uint8)

    with pytest.raises(DatasetError, match="greys: all images are equal"):
        fit(replace(source, read=read), context(), pair=["a", "b"], components=1, latent=1, steps=0)


def test_the_same_seed_learns_the_same() -> None:
    source = sklearn_digits.load()
    first, again, other = (fit(source, context(seed=seed), pair=["1", "8"], **TINY) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["class0.means"], other["class0.means"])


def test_drawn_faces_can_be_learned() -> None:
    source = synthetic.load(size=(16, 16), crop=(50, 25, 128, 128), count=200)
    state = fit(source, context(), attribute="Smiling", **TINY)
    dataset = load_symmetric(source, state, attribute="Smiling", train=8, test=8)
    assert dataset.class_names == ("not Smiling", "Smiling")
    assert dataset.images(np.arange(8)).shape == (8, 3, 16, 16)


def accuracy(mixtures: tuple[Mfa, Mfa], dataset: Dataset) -> float:
    """On the images of the partition "test"."""
    rows = dataset.rows("test")
    x = torch.from_numpy(dataset.images(rows).reshape(len(rows), -1)).double() / 255
    first, second = (mixture.log_likelihood(x) for mixture in mixtures)
    return float(((second > first).numpy() == np.asarray(dataset.labels)[rows]).mean())


@pytest.mark.real_data
def test_real_digits() -> None:
    folder = os.environ.get("MNIST_ROOT")
    if not folder:
        pytest.skip("MNIST_ROOT is unset")
    source = mnist.load(root=folder)
    state = fit(source, context(), pair=["0", "6"], components=10, latent=6, steps=0)
    dataset = load_symmetric(source, state, pair=["0", "6"])
    assert accuracy(dataset.densities, dataset) == 1  # type: ignore[attr-defined]
    real = load_symmetric(source, state, pair=["0", "6"], train=2, tested_on="real")
    assert accuracy(real.densities, real) > 0.98  # type: ignore[attr-defined]


@pytest.mark.real_data
def test_real_faces() -> None:
    folder = os.environ.get("CELEBA_ROOT")
    if not folder:
        pytest.skip("CELEBA_ROOT is unset")
    source = celeba.load(root=folder, crop=(50, 25, 128, 128), size=(16, 16))
    state = fit(source, context(), attribute="Smiling", components=5, latent=6, steps=0)
    dataset = load_symmetric(source, state, attribute="Smiling")
    assert accuracy(dataset.densities, dataset) > 0.99  # type: ignore[attr-defined]
    real = load_symmetric(source, state, attribute="Smiling", train=2, tested_on="real")
    assert accuracy(ClassMixtures.from_state(state, 768).mixtures, real) > 0.65
