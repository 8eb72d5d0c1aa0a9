"""What data sets of mixtures tell of their draws: which are outliers, and new ones without end."""

from __future__ import annotations

import numpy as np
import torch

from harness_bayes import mixture_data
from harness_bayes.drawn_images import labels_of
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
