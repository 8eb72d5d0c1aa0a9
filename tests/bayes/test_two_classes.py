"""Real images as two classes: which, in what order, with what labels; and what is asked wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.testing.dataset_contract import fingerprint, ids, images, labels
from harness_bayes.class_pair import class_pair
from harness_bayes.two_classes import load
from harness_faces import sklearn_digits, synthetic

from .mixture_fixture import source_of

LABELS = [0, 1, 0, 2, 0, 1, 0, 0, 2, 1, 0, 1]
PARTITIONS = ["train"] * 8 + ["test"] * 4
HAT = {"Hat": [1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0], "Tie": [0] * 12}


@pytest.fixture
def source() -> Dataset:
    return source_of(LABELS, PARTITIONS, HAT)


def test_a_pair_of_classes(source: Dataset) -> None:
    dataset = load(source, pair=["b", "a"], balanced=False)
    assert dataset.class_names == ("b", "a")
    assert list(dataset.ids) == [f"grey-{row}" for row in (0, 1, 2, 4, 5, 6, 7, 9, 10, 11)]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 0, 1, 1, 0, 1, 1, 0, 1, 0]
    assert dataset.images(np.array([3, 8]))[:, 0, 0, 0].tolist() == [4, 10]
    assert dataset.rows("test").tolist() == [7, 8, 9]


def test_an_attribute(source: Dataset) -> None:
    dataset = load(source, attribute="Hat", balanced=False)
    assert dataset.class_names == ("not Hat", "Hat")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == HAT["Hat"]
    assert len(dataset) == 12


def test_balanced_in_each_partition_and_by_turns(source: Dataset) -> None:
    dataset = load(source, attribute="Hat")
    assert dataset.partitions is not None
    assert dataset.partitions.tolist() == ["train"] * 4 + ["test"] * 2
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 1]
    rows = [int(name.partition("-")[2]) for name in dataset.ids]
    assert rows[1::2] == [0, 4, 9]  # all of the smaller class, in order
    assert set(rows[0:4:2]) <= {1, 2, 3, 5, 6, 7}
    assert rows[4] in (8, 10, 11)
    assert dataset.images(np.arange(6))[:, 0, 0, 0].tolist() == rows


def test_which_are_left_out_depends_on_the_seed_alone() -> None:
    source = synthetic.load(size=(16, 16), count=400)
    first, again = (list(load(source, attribute="Bangs", seed=3).ids) for _ in range(2))
    assert first == again
    assert first != list(load(source, attribute="Bangs", seed=4).ids)


def test_the_person_in_each_image_is_the_sources() -> None:
    source = replace(source_of(LABELS, PARTITIONS, HAT), identities=np.arange(12) // 3)
    dataset = load(source, attribute="Hat")
    rows = [int(name.partition("-")[2]) for name in dataset.ids]
    assert dataset.identities is not None
    assert dataset.identities.tolist() == [row // 3 for row in rows]
    assert load(source_of(LABELS, PARTITIONS, HAT), attribute="Hat").identities is None


def test_those_left_out_are_spread_over_the_source() -> None:
    source = sklearn_digits.load()
    pair = class_pair(replace(source, labels=np.arange(len(source)) // 1400), None, ["0", "1"])
    kept = pair.balanced(None, seed=0)[::2]  # 397 of 1,400
    assert (np.diff(kept) > 0).all()
    counts = np.histogram(kept, bins=4, range=(0, 1400))[0]
    assert (abs(counts - 397 / 4) < 4 * np.sqrt(397 / 4)).all()


def test_without_partitions_all_images_are_one(source: Dataset) -> None:
    dataset = load(source_of(LABELS, None), pair=["a", "b"])
    assert dataset.partitions is None
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1] * 4


def test_a_partition_that_lacks_a_class_is_left_out(source: Dataset) -> None:
    dataset = load(source, attribute="Hat", balanced=True)
    lonely = source_of([0, 1, 0, 0], ["train", "train", "test", "test"])
    assert load(lonely, pair=["a", "b"]).partitions.tolist() == ["train", "train"]  # type: ignore[union-attr]
    assert len(dataset) == 6
    apart = source_of([0, 0, 1, 1], ["train", "train", "test", "test"])
    with pytest.raises(DatasetError, match="no partition has images of both a and b; set balanced = false"):
        load(apart, pair=["a", "b"])


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({}, 'greys: of "attribute" and "pair" none is given; give one, such as attribute = "Smiling"'),
        ({"attribute": "Hat", "pair": ["a", "b"]}, 'greys: of "attribute" and "pair" both are given'),
        ({"attribute": "hat"}, 'greys: attribute "hat" is unknown; did you mean "Hat"?'),
        ({"attribute": "Tie"}, 'greys: class "Tie" has no images; choose another attribute or pair'),
        ({"pair": ["a", "B"]}, 'greys: class "B" is unknown; did you mean "b"?'),
        ({"pair": ["a", "a"]}, 'greys: pair names "a" twice; name two classes'),
        ({"pair": ["a"]}, "greys: pair = ['a'] must be the names of two classes"),
        ({"pair": ["a", "b", "c"]}, "greys: pair = ['a', 'b', 'c'] must be the names of two classes"),
        ({"pair": []}, "greys: pair = [] must be the names of two classes"),
    ],
)
def test_what_is_asked_wrongly(source: Dataset, parameters: dict[str, Any], fault: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load(source, **parameters)
    assert str(caught.value).startswith(fault)


def test_a_class_without_images() -> None:
    with pytest.raises(DatasetError, match='greys: class "c" has no images; choose another'):
        load(source_of([0, 1, 0], None), pair=["a", "c"])


def test_a_source_that_lacks_what_is_asked() -> None:
    digits, faces = sklearn_digits.load(), synthetic.load(size=(16, 16), count=30)
    with pytest.raises(DatasetError, match='has no attributes, and no attribute "Male"; give a pair'):
        load(digits, attribute="Male")
    with pytest.raises(
        DatasetError, match=r"has no classes, and no pair of classes \['0', '6'\]; give an attribute"
    ):
        load(faces, pair=["0", "6"])


def test_fingerprint_follows_parameters_and_source(source: Dataset) -> None:
    calls: list[dict[str, Any]] = [
        {"attribute": "Hat"},
        {"pair": ["a", "b"]},
        {"pair": ["b", "a"]},
        {"attribute": "Hat", "balanced": False},
        {"attribute": "Hat", "seed": 1},
    ]
    prints = [load(source, **call).fingerprint for call in calls]
    prints.append(load(replace(source, fingerprint="other"), attribute="Hat").fingerprint)
    assert len(set(prints)) == len(prints)
    assert load(source, attribute="Hat").fingerprint == prints[0]


class Derived:
    """A derived data set as the contract kit looks at one."""

    name = "two-classes"

    def __init__(self) -> None:
        self.dataset = self.load()

    def load(self) -> Dataset:
        return load(sklearn_digits.load(), pair=["2", "7"])


@pytest.mark.parametrize("check", [ids, images, labels, fingerprint], ids=lambda check: str(check.__name__))
def test_contract(check: Any) -> None:
    check(Derived(), "")
