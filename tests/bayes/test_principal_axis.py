"""The direction of the outliers against NumPy's covariance and eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import DatasetError
from harness_bayes import principal_axis as module
from harness_bayes.principal_axis import principal_axis


def images_of(count: int, dimension: int, spread: float = 0.9) -> np.ndarray:
    """(N, D) with falling variances in turned directions, off the origin."""
    draws = np.random.default_rng(count)
    turned = np.linalg.qr(draws.standard_normal((dimension, dimension)))[0]
    return (draws.standard_normal((count, dimension)) * spread ** np.arange(dimension)) @ turned + 3.0


def expected(images: np.ndarray, number: int) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.cov(images.astype(float).T))
    axis = vectors[:, np.argsort(values)[::-1][number - 1]]
    return np.asarray(axis * np.sign(axis[np.abs(axis).argmax()]))


@pytest.mark.parametrize("number", [1, 7, 30])
@pytest.mark.parametrize(("count", "dimension"), [(500, 60), (80, 120)])
@pytest.mark.parametrize("dense", [1024, 10])
def test_axis(count: int, dimension: int, number: int, dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DENSE", dense)
    images = images_of(count, dimension)
    assert np.abs(principal_axis(images, "x", number) - expected(images, number)).max() < 1e-6


def test_the_fiftieth_by_default() -> None:
    images = images_of(300, 110, spread=0.97)
    assert np.abs(principal_axis(images, "x") - expected(images, 50)).max() < 1e-6


@pytest.mark.parametrize(
    ("count", "dimension", "middle"), [(12, 40, 6), (100, 9, 5), (300, 90, 45), (2, 5, 1)]
)
def test_the_middle_one_where_fewer_than_a_hundred_have_variance(
    count: int, dimension: int, middle: int
) -> None:
    images = images_of(count, dimension, spread=0.97)
    assert np.abs(principal_axis(images, "x") - expected(images, middle)).max() < 1e-6


def test_pixels_that_never_change_are_no_direction() -> None:
    images = np.concatenate([images_of(200, 20), np.full((200, 40), 0.25)], axis=1)
    axis = principal_axis(images, "x")
    assert np.abs(axis[20:]).max() == 0
    assert np.linalg.norm(axis) == pytest.approx(1)


def test_equal_images_have_no_direction() -> None:
    with pytest.raises(DatasetError, match="digits: all images are equal, so no direction has variance"):
        principal_axis(np.ones((5, 8)), "digits")
