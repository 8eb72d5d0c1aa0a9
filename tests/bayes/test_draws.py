"""What data sets of mixtures tell of their draws: which are outliers, and new ones without end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.dataset import UInt8Images
from harness_bayes import drawn_images, mixture_data
from harness_bayes.drawn_images import DrawnImages, labels_of
from harness_bayes.mixture_data import MixtureDataset
from tests.flat import flat

from .mixture_fixture import fitted_digits

load_symmetric, load_asymmetric = flat(mixture_data.load_symmetric), flat(mixture_data.load_asymmetric)


def test_which_images_an_outlier_drew() -> None:
    source, weights = fitted_digits(["0", "6"])
    given = {"pair": ["0", "6"], "train": 40, "validation": 6, "test": 60, "outlier_weight": 0.3}
    dataset = load_asymmetric(source, weights, **given)
    assert dataset.annotations is not None
    rows = np.arange(106)[::-1]
    told = dataset.annotations(rows)["outlier"]
    assert 0.15 < told.mean() < 0.45
    x = torch.from_numpy(dataset.images(rows).reshape(106, -1) / 255)
    own = [dataset.manifolds[row % 2] for row in rows]
    far = np.array([float(m.subspace_distances(one[None]).amin()) for m, one in zip(own, x, strict=True)])
    assert (told == (far > 1)).all()  # an outlier's noise is 50 times as wide
    real = load_asymmetric(source, weights, **given, tested_on="real")
    assert real.annotations is not None
    assert real.annotations(real.rows("test"))["outlier"].max() == 0


def test_images_are_drawn_without_end() -> None:
    source, weights = fitted_digits(["0", "6"])
    dataset = load_symmetric(source, weights, pair=["0", "6"], train=8, test=6)
    assert isinstance(dataset, MixtureDataset)
    assert dataset.draw is not None
    numbers = np.array([7, 2, 8, 900_001])
    drawn = dataset.draw(numbers)
    assert np.array_equal(drawn[:2], dataset.images(numbers[:2]))
    rest = dataset.images(np.arange(len(dataset)))
    assert not (drawn[2:, None] == rest[None]).all((2, 3, 4)).any()
    assert labels_of(numbers).tolist() == [1, 0, 0, 1]


def test_kept_images_are_those_that_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training images are drawn once; what a caller does to its copy stays with the caller."""
    source, weights = fitted_digits(["0", "6"])
    monkeypatch.setattr(drawn_images, "KEPT_BYTES", 10 * int(np.prod(source.shape)) + 5)
    drawn: list[int] = []
    plain = DrawnImages.draw

    def counted(self: DrawnImages, partition: str, index: npt.NDArray[np.intp]) -> UInt8Images:
        drawn.extend(index.tolist())
        return plain(self, partition, index)

    monkeypatch.setattr(DrawnImages, "draw", counted)
    given = {"pair": ["0", "6"], "train": 20, "seed": 77}  # no other test keeps these
    dataset = load_symmetric(source, weights, test=6, **given)
    numbers = np.array([11, 3, 9, 10, 3])
    first = dataset.draw(numbers)
    expected = first.copy()
    assert drawn == numbers.tolist()
    assert np.array_equal(expected[1], expected[4])
    first[:] = 0
    drawn.clear()
    assert np.array_equal(dataset.draw(numbers), expected)
    assert drawn == []
    more = np.arange(12)
    dataset.draw(more)
    assert drawn == [0, 1, 2, 4, 5, 6, 7, 8]
    drawn.clear()
    dataset.draw(more)
    assert drawn == [7, 8]  # ten are kept: 11, 3, 9, 10, and 0, 1, 2, 4, 5, 6
    drawn.clear()
    assert np.array_equal(dataset.images(numbers), expected)  # the training images are the same ones
    alike = load_symmetric(source, weights, tested_on="real", **given)
    assert np.array_equal(alike.draw(numbers), expected)
    assert drawn == []  # another data set of the same training images draws them no more
    other = load_symmetric(source, weights, sigma=0.02, **given)
    assert not np.array_equal(other.draw(numbers), expected)
