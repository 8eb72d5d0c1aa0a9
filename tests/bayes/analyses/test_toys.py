"""Figures 2, 3, 5 and 10: distances in the plane by another route, and which drawn images are shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.errors import HarnessError
from harness_bayes.analyses import drawn_samples, toy_distributions
from harness_bayes.analyses.toys import (
    CELLS,
    LEVELS,
    STEP,
    Quantised,
    blobs,
    distances,
    one_sided,
    squares,
    toys,
)

from .two_class_fixture import cases, cell, picture, texts, write

RNG = np.random.default_rng(0)


def test_gaussians_in_the_plane_are_scipys() -> None:
    own = blobs([[0.3, -0.2], [1.0, 0.5]], 0.8, 0.1, 30, 100)
    axis = np.array([np.cos(np.radians(30)), np.sin(np.radians(30))])
    assert axis @ own.covariances[0] @ axis == pytest.approx(0.8**2)
    x = RNG.uniform(-2, 2, (50, 2))
    both = zip(own.means, own.covariances, strict=True)
    parts = [stats.multivariate_normal(mean, covariance).pdf(x) for mean, covariance in both]
    assert own.log_density(x) - np.log(np.mean(parts, 0)) == pytest.approx(np.log(2 * np.pi))
    drawn = own.draw(20_000, RNG)
    assert drawn.mean(0) == pytest.approx(own.means.mean(0), abs=0.02)
    away = own.means - own.means.mean(0)
    expected = own.covariances.mean(0) + away.T @ away / 2
    assert np.cov(drawn.T) == pytest.approx(expected, abs=0.03)


def test_a_quantised_class_is_a_table() -> None:
    table = Quantised(blobs([[0.0, 0.0]], 0.1, 0.1, 0), 0.2)
    weights = np.exp(table.log_density(squares(LEVELS)))
    assert weights.sum() == pytest.approx(1)
    assert weights.min() == pytest.approx(0.2 / LEVELS**2)
    drawn = table.draw(4000, RNG)
    assert set(map(tuple, drawn.round(6))) <= set(map(tuple, squares(LEVELS).round(6)))
    assert (np.linalg.norm(drawn, axis=1) > 0.6).mean() == pytest.approx(0.2, abs=0.03)


def test_distances_in_the_plane() -> None:
    def decide(x: Any) -> Any:
        return (x @ np.array([0.6, 0.8]) > 0.5).astype(np.intp)

    decided = decide(squares(CELLS))
    x = RNG.uniform(-1, 1, (200, 2))
    for side in (0, 1):
        own = x[decide(x) == side]
        assert distances(own, side, decided) == pytest.approx(abs(own @ [0.6, 0.8] - 0.5), abs=2 * STEP)


def test_asymmetry_brings_the_optimal_boundary_near_and_symmetry_does_not(
    tmp_path: Path, saved: Callable[[Any], int]
) -> None:
    found = toy_distributions.run(write(tmp_path, []))
    table = found.table.set_index(["panel", "class"])
    assert list(dict.fromkeys(found.table["panel"])) == [
        *(f"3{letter}" for letter in "abcdefgh"), "5 left", "5 right",
    ]  # fmt: skip
    for toy in toys():
        near = table.loc[(toy.place, 0), "mean_distance"]
        assert (near < 0.2) == (not toy.symmetric)
        assert table.loc[(toy.place, 0), "accuracy"] > 0.99
    # of equal spheres the boundary is half-way between the means
    assert table.loc[("3a", 0), "mean_distance"] == pytest.approx(1.2, abs=0.05)
    brittle = table.loc[("5 right", 0)]
    assert (brittle["classifier"], brittle["accuracy"]) == ("one-sided", 1.0)
    assert brittle["mean_distance"] < 0.2 * table.loc[("3b", 0), "mean_distance"]
    assert table.loc[("5 left", 0), "classifier"] == "optimal"
    again = toy_distributions.run(write(tmp_path, []), seed=1).table
    assert not again.equals(found.table)
    assert "5 right: flat, symmetric" in texts(found.figure)
    assert saved(found.figure)


def test_a_one_sided_classifier_is_right_on_the_points_that_it_knows() -> None:
    toy = toys()[1]
    points = toy.classes[0].draw(100, RNG)
    decide = one_sided(toy, points)
    assert (decide(points) == 0).all()
    assert (decide(toy.classes[1].draw(100, RNG)) == 1).all()
    assert (decide(points + np.array([0.5, 0.0])) == 1).all()


def test_drawn_images_by_class_and_outlier(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    kept = {f"i{n:03}": picture(10 * n) for n in range(8)}
    side = {f"i{n:03}": n % 2 for n in range(8)}
    far = {f"i{n:03}": float(n in (3, 6)) for n in range(8)}
    cells = [
        cell(cases([1.0] * 8)),
        cell(cases([1.0] * 8), data="asymmetric"),
        cell(cases([1.0] * 8), data="real", model="cnn"),
        cell(cases([1.0] * 8), tested_on="real", model="cnn"),
    ]
    numbers = {
        "class": {"symmetric[Smiling]": side, "asymmetric[Smiling]": side},
        "outlier": {"asymmetric[Smiling]": far},
    }
    results = write(tmp_path / "0", cells, originals=kept, numbers=numbers)
    found = drawn_samples.run(results, images=3)
    table = found.table
    assert set(table["dataset"]) == {"symmetric[Smiling]", "asymmetric[Smiling]"}
    shown = {key: own["sample_id"].tolist() for key, own in table.groupby(["kind", "outlier", "class"])}
    assert shown == {
        ("symmetric", False, 0): ["i000", "i002", "i004"],
        ("symmetric", False, 1): ["i001", "i003", "i005"],
        ("asymmetric", False, 0): ["i000", "i002", "i004"],
        ("asymmetric", False, 1): ["i001", "i005", "i007"],
        ("asymmetric", True, 0): ["i006"],
        ("asymmetric", True, 1): ["i003"],
    }
    assert table["kept"].tolist()[0] == 4
    assert "class 1, from its outlier (1 kept)" in texts(found.figure)
    assert saved(found.figure)
    bare = drawn_samples.run(write(tmp_path / "1", cells[:1], originals=kept)).table
    assert bare["class"].isna().all()
    assert bare["reason"].notna().all()
    for number, (rows, originals) in enumerate([(cells[2:3], kept), (cells[:1], None)]):
        with pytest.raises(HarnessError, match="keep = true"):
            drawn_samples.run(write(tmp_path / f"none{number}", rows, originals=originals))
