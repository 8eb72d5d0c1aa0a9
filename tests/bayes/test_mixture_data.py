"""Images drawn from known mixtures: the same however they are read, and distributed as promised."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import chi2, kstest

from harness.dataset import Dataset
from harness.errors import DatasetError, ModelError
from harness.parameters import check, keyword_parameters
from harness.testing import dataset_contract
from harness_bayes import mixture_data
from harness_bayes.drawn_images import DrawnImages
from harness_bayes.mfa import Mfa
from harness_bayes.mixture_data import MixtureDataset
from harness_bayes.two_classes import load as load_two_classes
from tests.flat import flat

from .mixture_fixture import DIMENSION, SHAPE, densities, fitted_digits, plain_source, state_of

PAIR = ["a", "b"]
load_symmetric = flat(mixture_data.load_symmetric)
LOADS = {"symmetric": load_symmetric, "asymmetric": flat(mixture_data.load_asymmetric)}
SIZES = {"train": 40, "validation": 10, "test": 20}


def made(kind: str = "symmetric", **parameters: Any) -> MixtureDataset:
    """From mixtures of images of SHAPE that were not learned."""
    weights = parameters.pop("weights", state_of(densities()))
    dataset = LOADS[kind](plain_source(), weights, pair=PAIR, **{**SIZES, **parameters})
    assert isinstance(dataset, MixtureDataset)
    return dataset


@pytest.fixture(scope="module", params=sorted(LOADS))
def digits(request: pytest.FixtureRequest) -> MixtureDataset:
    """Of scikit-learn's 0 and 6."""
    source, weights = fitted_digits(["0", "6"])
    dataset = LOADS[request.param](source, weights, pair=["0", "6"], train=300, validation=0, test=300)
    assert isinstance(dataset, MixtureDataset)
    return dataset


def vectors(dataset: Dataset, rows: npt.NDArray[np.intp]) -> torch.Tensor:
    return torch.from_numpy(dataset.images(rows).reshape(len(rows), -1)).double() / 255


# --- reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LOADS))
def test_an_image_does_not_depend_on_its_company(kind: str) -> None:
    dataset = made(kind, train=400)
    rows = np.arange(len(dataset))
    together = dataset.images(rows)
    order = np.random.default_rng(0).permutation(rows)
    assert np.array_equal(dataset.images(order), together[order])
    for row in (0, 1, 399, 400, len(rows) - 1):
        assert np.array_equal(dataset.images(rows[row : row + 1])[0], together[row])
    twice = np.array([7, 7, 411, 7])
    assert np.array_equal(dataset.images(twice), together[twice])
    assert dataset.images(rows[:0]).shape == (0, *SHAPE)
    assert len(np.unique(together.reshape(len(rows), -1), axis=0)) == len(rows)


def test_an_image_is_of_its_partition_and_number_alone() -> None:
    small, large = made(train=4, validation=2, test=6), made(train=500, validation=40, test=6)
    for partition, count in (("train", 4), ("validation", 2), ("test", 6)):
        ours, theirs = small.rows(partition)[:count], large.rows(partition)[:count]
        assert np.array_equal(small.images(ours), large.images(theirs))
        assert [small.ids[row] for row in ours] == [large.ids[row] for row in theirs]
    assert not np.array_equal(small.images(small.rows("train")[:2]), small.images(small.rows("test")[:2]))
    assert not np.array_equal(made(seed=1).images(np.arange(2)), small.images(np.arange(2)))


def test_symmetric_and_asymmetric_images_are_pairs() -> None:
    rows = np.arange(60)
    first, second = made("symmetric").images(rows), made("asymmetric", outlier_weight=1e-9).images(rows)
    assert np.array_equal(first, second)


_OTHER_PROCESS = """
import hashlib, numpy as np, sys
sys.path[:0] = {path!r}
from tests.bayes.test_mixture_data import made
for kind in {kinds!r}:
    dataset = made(kind)
    print(hashlib.sha256(dataset.images(np.arange(70)[::-1]).tobytes()).hexdigest(), dataset.fingerprint)
"""


@pytest.fixture(scope="module")
def drawn_elsewhere() -> dict[str, list[str]]:
    """What another process draws of each kind: a digest of all images, and the fingerprint."""
    kinds, path = sorted(LOADS), [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    code = _OTHER_PROCESS.format(path=path, kinds=kinds)
    environment = {**os.environ, "PYTHONHASHSEED": "3", "OMP_NUM_THREADS": "2"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    return {kind: line.split() for kind, line in zip(kinds, ran.stdout.splitlines(), strict=True)}


@pytest.mark.parametrize("kind", sorted(LOADS))
def test_another_process_draws_the_same(kind: str, drawn_elsewhere: dict[str, list[str]]) -> None:
    dataset = made(kind)
    digest = hashlib.sha256(dataset.images(np.arange(70)[::-1]).tobytes()).hexdigest()
    assert drawn_elsewhere[kind] == [digest, dataset.fingerprint]


def test_a_million_images_take_no_time_and_no_memory() -> None:
    source, weights = plain_source(), state_of(densities())
    tracemalloc.start()
    start = time.perf_counter()
    dataset = load_symmetric(source, weights, pair=PAIR, train=1_000_000)
    assert dataset.ids[999_999] == "train-1000000"
    assert dataset.images(np.array([999_999, 3])).shape == (2, *SHAPE)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2
    assert peak < 150e6  # labels and partitions alone; the images would be 24 MB here, and 12 GB of faces
    assert len(dataset.rows("train")) == 1_000_000


@pytest.mark.parametrize("row", [-1, 70])
def test_rows_that_there_are_not(row: int) -> None:
    with pytest.raises(DatasetError, match="mfa-symmetric: rows must be from 0 to 69"):
        made().images(np.array([0, row]))


def test_ids_labels_and_partitions() -> None:
    dataset = made()
    names = [f"{name}-{number:06d}" for name, count in SIZES.items() for number in range(1, count + 1)]
    assert list(dataset.ids) == names
    assert dataset.ids[-1] == "test-000020"
    assert dataset.ids[38:42] == ("train-000039", "train-000040", "validation-000001", "validation-000002")
    with pytest.raises(IndexError):
        dataset.ids[70]
    assert dataset.partitions is not None
    assert dataset.partitions.tolist() == ["train"] * 40 + ["validation"] * 10 + ["test"] * 20
    assert dataset.labels is not None
    for partition in SIZES:  # every beginning is balanced
        assert dataset.labels[dataset.rows(partition)].tolist() == [0, 1] * (SIZES[partition] // 2)
    assert dataset.class_names == ("a", "b")
    assert dataset.shape == SHAPE


class Derived:
    """A derived data set as the contract kit looks at one."""

    def __init__(self, kind: str) -> None:
        self.name = self.kind = kind
        self.dataset = self.load()

    def load(self) -> Dataset:
        return made(self.kind)


@pytest.mark.parametrize("name", ["ids", "images", "labels", "fingerprint"])
@pytest.mark.parametrize("kind", sorted(LOADS))
def test_contract(kind: str, name: str) -> None:
    getattr(dataset_contract, name)(Derived(kind), "")


# --- distribution -----------------------------------------------------------------------------------------


def test_samples_have_the_moments_of_their_component() -> None:
    """Per component of either class: frequency, mean, and Mahalanobis distances as chi-squared numbers."""
    dataset = made(train=6000, sigma=0.02)
    rows = dataset.rows("train")
    x = vectors(dataset, rows)
    drawn = DrawnImages(dataset.densities, SHAPE, 0, 2 * 0.02 * DIMENSION**0.5).components("train", rows)
    assert dataset.labels is not None
    for side, density in enumerate(dataset.densities):
        assert torch.equal(density.noise, torch.full_like(density.noise, 0.02**2))
        mine = np.asarray(dataset.labels)[rows] == side
        for component, weight in enumerate(density.log_weights.exp().tolist()):
            own = x[mine & (drawn == component)].numpy()
            assert abs(len(own) - 3000 * weight) < 4 * np.sqrt(3000 * weight)
            factors, mean = density.factors[component].numpy(), density.means[component].numpy()
            covariance = factors @ factors.T + 0.02**2 * np.eye(DIMENSION) + np.eye(DIMENSION) / 255**2 / 12
            error = own.mean(0) - mean
            assert chi2.sf(len(own) * error @ np.linalg.solve(covariance, error), DIMENSION) > 1e-4
            squared = np.einsum("nd,nd->n", own - mean, np.linalg.solve(covariance, (own - mean).T).T)
            assert kstest(squared, chi2(DIMENSION).cdf).pvalue > 1e-4


def test_pixels_are_clipped_and_rounded() -> None:
    dataset = made("asymmetric", outlier_weight=0.5, train=200)
    images = dataset.images(dataset.rows("train"))
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)  # half the images are noise of deviation 0.5
    at_edge = np.isin(images, (0, 255)).mean()
    assert 0.1 < at_edge < 0.25  # half of P(|N(0, 1)| > 1) = 0.32; wrapping round would leave next to none
    exact = made(train=2, sigma=1e-6)
    one = exact.densities[0]
    point = exact.images(np.array([0])).reshape(-1) / 255
    distances = one.subspace_distances(torch.from_numpy(point)[None]).min().item()
    assert (
        distances < np.sqrt(DIMENSION) * 0.5 / 255
    )  # to the nearest grey level; cutting off would double it


def simulated(density: Mfa, limit: float) -> npt.NDArray[np.float64]:
    """Frequencies of components among points that lie within ``limit`` of [0, 1], by other means."""
    draws = np.random.default_rng(9)
    weights = density.log_weights.exp().numpy()
    kept = np.zeros(len(weights))
    for component, count in enumerate(draws.multinomial(200_000, weights / weights.sum())):
        z = draws.standard_normal((count, density.factors.shape[2]))
        points = density.means[component].numpy() + z @ density.factors[component].numpy().T
        outside = np.maximum(points - 1, 0) + np.maximum(-points, 0)
        kept[component] = (np.sqrt((outside**2).sum(1)) <= limit).sum()
    return np.asarray(kept / kept.sum())


def test_samples_far_outside_are_drawn_again() -> None:
    wide = state_of(densities(components=3, scale=0.25))
    dataset = made(weights=wide, train=4000, sigma=0.02)
    limit = 2 * 0.02 * DIMENSION**0.5
    images = DrawnImages(dataset.densities, SHAPE, 0, limit)
    rows = dataset.rows("train")
    drawn = images.components("train", rows)
    for side, density in enumerate(dataset.densities):
        found = np.bincount(drawn[side::2], minlength=3) / 2000
        assert np.abs(found - simulated(density, limit)).max() < 4 * np.sqrt(0.25 / 2000)
        x = images._samples("train", rows[side::2], side)
        moved = (x - x.clamp(0, 1)).norm(dim=1)
        assert moved.max() < limit + 0.02 * DIMENSION**0.5 * 2
    everything = DrawnImages(dataset.densities, SHAPE, 0, float("inf"))._samples("train", rows[::2], 0)
    assert ((everything - everything.clamp(0, 1)).norm(dim=1) > 2 * limit).float().mean() > 0.2
    assert not np.array_equal(
        made(weights=wide, largest_clip=float("inf")).images(rows[:40]), dataset.images(rows[:40])
    )


def test_where_no_sample_is_near_the_nearest_counts() -> None:
    far = state_of(densities())
    far = {**far, "class0.means": far["class0.means"] + 5, "class1.means": far["class1.means"] + 5}
    assert made(weights=far).images(np.arange(4)).min() == 255


@pytest.mark.parametrize(("given", "share"), [(None, 1 / 4), (0.1, 0.1)])
def test_outliers_keep_their_share(given: float | None, share: float) -> None:
    """Also where most others are drawn again."""
    dataset = made("asymmetric", weights=state_of(densities(scale=0.25)), train=4000, outlier_weight=given)
    x = vectors(dataset, dataset.rows("train")).numpy()
    far = np.array(
        [density.subspace_distances(torch.from_numpy(x)).amin(1).numpy() for density in dataset.manifolds]
    )
    outliers = (far.min(0) > 1).mean()  # 0.5 * sqrt(24) = 2.4, less clipping; others stay within 0.4
    assert abs(outliers - share) < 4 * np.sqrt(share * (1 - share) / 4000)


def test_outliers_lie_beside_the_mean() -> None:
    first, second = made("asymmetric", outlier_offset=0.3, outlier_sigma=0.4).densities
    for density, sign in ((first, 1), (second, -1)):
        expected = np.full(DIMENSION, 0.5)
        expected[5] += sign * 0.3
        assert density.means[-1].tolist() == pytest.approx(expected.tolist())
        assert density.factors[-1].abs().max() == 0
        assert density.noise[-1].sqrt().tolist() == pytest.approx([0.4] * DIMENSION)
        assert density.log_weights.exp()[-1].item() == pytest.approx(1 / 4)
        assert density.noise[:-1].sqrt().unique().tolist() == pytest.approx([0.01])


def test_the_larger_density_is_the_true_class(digits: MixtureDataset) -> None:
    rows = digits.rows("test")
    assert digits.labels is not None
    x = vectors(digits, rows)
    first, second = (density.log_likelihood(x) for density in digits.densities)
    assert ((second > first).numpy() == digits.labels[rows]).mean() > 0.99
    means = x[digits.labels[rows] == 0].mean(0), x[digits.labels[rows] == 1].mean(0)
    assert torch.linalg.vector_norm(means[0] - means[1]) > 1  # they differ in more than the labels


def test_distance_to_the_other_class_by_least_squares(digits: MixtureDataset) -> None:
    assert digits.annotations is not None
    assert digits.labels is not None
    rows = digits.rows("test")[:40][::-1]
    noted = digits.annotations(rows)
    assert set(noted) - {"outlier"} == {"subspace_distance", "class"}
    assert noted["class"].tolist() == digits.labels[rows].tolist()
    for row, distance in zip(rows, noted["subspace_distance"], strict=True):
        x = digits.images(np.array([row])).reshape(-1) / 255
        other = digits.manifolds[1 - digits.labels[row]]
        residuals = []
        for mean, factors in zip(other.means.numpy(), other.factors.numpy(), strict=True):
            z = np.linalg.lstsq(factors, x - mean, rcond=None)[0]
            residuals.append(np.linalg.norm(x - mean - factors @ z))
        assert distance == pytest.approx(min(residuals), rel=1e-9)
    assert digits.annotations(rows[:0])["subspace_distance"].shape == (0,)


# --- real test images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LOADS))
def test_real_images_to_test_on(kind: str) -> None:
    source, weights = fitted_digits(["0", "6"])
    dataset = LOADS[kind](source, weights, pair=["0", "6"], train=30, validation=6, tested_on="real")
    real = load_two_classes(source, pair=["0", "6"])
    ours, theirs = dataset.rows("test"), real.rows("test")
    assert [dataset.ids[row] for row in ours] == [real.ids[row] for row in theirs]
    assert np.array_equal(dataset.images(ours), real.images(theirs))
    assert dataset.labels is not None
    assert real.labels is not None
    assert dataset.labels[ours].tolist() == real.labels[theirs].tolist() == [0, 1] * (len(ours) // 2)
    assert dataset.partitions is not None
    assert dataset.partitions.tolist() == ["train"] * 30 + ["validation"] * 6 + ["test"] * len(ours)
    assert dataset.annotations is not None
    assert (dataset.annotations(ours)["subspace_distance"] > 0).all()
    assert "identity" not in dataset.annotations(ours)  # the source knows none
    known = replace(source, identities=np.arange(len(source)) // 3)
    dataset = LOADS[kind](known, weights, pair=["0", "6"], train=30, validation=6, tested_on="real")
    assert dataset.annotations is not None
    people = load_two_classes(known, pair=["0", "6"]).identities
    assert people is not None
    assert dataset.annotations(ours[5:9])["identity"].tolist() == people[theirs[5:9]].tolist()
    assert "identity" not in dataset.annotations(np.arange(3))  # drawn images show nobody
    assert dataset.identities is None
    drawn = LOADS[kind](source, weights, pair=["0", "6"], train=30, validation=6)
    mixed = np.array([ours[3], 2, 31, ours[0]])
    assert np.array_equal(dataset.images(mixed)[[0, 3]], dataset.images(ours[[3, 0]]))
    assert np.array_equal(dataset.images(mixed)[1:3], drawn.images(np.array([2, 31])))
    fewer = LOADS[kind](source, weights, pair=["0", "6"], train=0, test=4, tested_on="real")
    assert [fewer.ids[row] for row in fewer.rows("test")] == [real.ids[row] for row in theirs[:4]]


def test_real_images_need_a_test_partition() -> None:
    weights = state_of(densities())
    source = plain_source(partitions=None)
    with pytest.raises(DatasetError, match='greys has no partition "test"; set tested_on = "samples"'):
        load_symmetric(source, weights, pair=PAIR, tested_on="real")
    labels = np.array([row % 3 for row in range(30)] + [0] * 30)
    with pytest.raises(
        DatasetError, match='greys: class "b" has no image in the partition "test"; set tested_on'
    ):
        load_symmetric(plain_source(labels=labels), weights, pair=PAIR, tested_on="real")


# --- planning, identity, faults ---------------------------------------------------------------------------


@pytest.mark.parametrize("tested_on", ["samples", "real"])
@pytest.mark.parametrize("kind", sorted(LOADS))
def test_planned_without_weights(kind: str, tested_on: str) -> None:
    plan = LOADS[kind](plain_source(), None, pair=PAIR, **SIZES, tested_on=tested_on)  # type: ignore[arg-type]
    dataset = made(kind, tested_on=tested_on)
    assert list(plan.ids) == list(dataset.ids)
    assert plan.shape == dataset.shape
    assert plan.class_names == dataset.class_names
    assert np.array_equal(np.asarray(plan.labels), np.asarray(dataset.labels))
    assert np.array_equal(np.asarray(plan.partitions), np.asarray(dataset.partitions))
    assert plan.fingerprint != dataset.fingerprint
    assert plan.annotations is None
    with pytest.raises(DatasetError, match=f"mfa-{kind} has no images before its mixtures are fitted"):
        plan.images(np.array([0]))


@pytest.mark.parametrize("kind", sorted(LOADS))
def test_fingerprint_follows_all_that_decides_the_images(kind: str) -> None:
    nudged = state_of(densities())
    nudged["class1.means"][1, 3] += 1e-15
    calls: list[dict[str, Any]] = [
        {},
        *({"train": 41}, {"validation": 11}, {"test": 21}, {"seed": 1}, {"sigma": 0.011}),
        *({"tested_on": "real"}, {"largest_clip": 1.0}, {"weights": nudged}),
    ]
    if kind == "asymmetric":
        calls += [{"outlier_sigma": 0.4}, {"outlier_offset": 1.0}, {"outlier_weight": 0.2}]
    prints = [made(kind, **call).fingerprint for call in calls]
    other = replace(plain_source(), fingerprint="other")
    prints.append(LOADS[kind](other, state_of(densities()), pair=PAIR, **SIZES).fingerprint)
    prints.append(LOADS[kind](plain_source(), state_of(densities()), pair=["a", "c"], **SIZES).fingerprint)
    assert len(set(prints)) == len(prints)
    assert made(kind).fingerprint == prints[0]


def test_kinds_differ_in_fingerprint() -> None:
    assert made("symmetric").fingerprint != made("asymmetric").fingerprint


@pytest.mark.parametrize("kind", sorted(LOADS))
@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"pair": ["a", "d"]}, 'greys: class "d" is unknown; valid: a, b, c'),
        ({"pair": None}, 'greys: of "attribute" and "pair" none is given'),
        ({"attribute": "Male", "pair": None}, 'greys has no attributes, and no attribute "Male"'),
        ({"train": 0, "validation": 0, "test": 0}, "train, validation and test are all 0; set one of them"),
    ],
)
def test_what_is_asked_wrongly(kind: str, parameters: dict[str, Any], fault: str) -> None:
    with pytest.raises(DatasetError) as caught:
        LOADS[kind](plain_source(), None, **{"pair": PAIR, **parameters})
    assert fault in str(caught.value)


@pytest.mark.parametrize("kind", sorted(LOADS))
@pytest.mark.parametrize(
    "parameters",
    [
        {"sigma": 0},
        {"train": -1},
        {"tested_on": "photographs"},
        {"seed": -1},
        {"largest_clip": 0},
        {"pair": [0, 6]},
    ],
)
def test_bounds_are_checked_when_the_suite_is_planned(kind: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match=next(iter(parameters))):
        check(
            "dataset x", parameters, keyword_parameters(getattr(mixture_data, f"load_{kind}")), DatasetError
        )


def test_weights_of_other_images() -> None:
    weights = state_of(densities())
    source, _ = fitted_digits(["0", "6"])
    with pytest.raises(ModelError, match="mixtures have 24 numbers, but images have 64; fit again"):
        load_symmetric(source, weights, pair=["0", "6"])
    del weights["axis"]
    with pytest.raises(ModelError, match='have no "axis" of 24 finite numbers; fit again'):
        made(weights=weights)
    with pytest.raises(ModelError, match="class0"):
        made(weights={})
