"""Support vector machines: against scikit-learn's own, on images of all sizes, and on degenerate data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import SVC

from harness.errors import HarnessError, ModelError
from harness.testing import Case, model_checks
from harness.training import Task
from harness.zoo.trained import obtain
from harness_bayes import svm
from harness_bayes.kernel import inner_products, pixels, squared_distances, widths
from harness_bayes.mixture_data import MixtureDataset
from tests.bayes.two_class_problems import (
    SPECS,
    Kept,
    accuracy,
    choice,
    of_equal_images,
    of_one_class,
    pixels_of,
    problem,
)

DEVICE = torch.device("cpu")
SHAPES = [(1, 8, 8), (3, 9, 13), (1, 28, 28), (3, 64, 64)]
TIGHT = 1e-6


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def drawn() -> MixtureDataset:
    return problem(deviation=0.3)


def linear(dataset: MixtureDataset, **given: Any) -> svm.LinearSvm:
    module = svm.build_linear(Task.of(dataset))
    svm.train_linear(module, dataset, Kept().context(), **given)
    return module.eval()


def rbf(dataset: MixtureDataset, kept: Kept | None = None, **given: Any) -> svm.RbfSvm:
    module = svm.build_rbf(Task.of(dataset))
    svm.train_rbf(module, dataset, (kept or Kept()).context(), **given)
    return module.eval()


def rows_of(dataset: MixtureDataset, partition: str) -> tuple[Any, Any]:
    """Images (N, D) of float64 in [0, 1] and labels (N,), for scikit-learn."""
    assert dataset.labels is not None
    rows = dataset.rows(partition)
    return dataset.images(rows).reshape(len(rows), -1) / 255.0, dataset.labels[rows]


def decisions(module: torch.nn.Module, x: torch.Tensor) -> Any:
    with torch.no_grad():
        logits = module(x)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits[:, 0], -logits[:, 1])
    return (logits[:, 1] - logits[:, 0]).numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("c", [1.0, 0.03])
def test_linear_is_that_of_scikit_learn(shape: tuple[int, int, int], c: float) -> None:
    dataset = problem(shape, train=60, held_out=20, deviation=0.3)
    rows, labels = rows_of(dataset, "train")
    expected = SVC(kernel="linear", C=c, tol=TIGHT).fit(rows, labels)
    found = linear(dataset, c=c)
    others = rows_of(dataset, "test")[0]
    x = pixels_of(dataset, "test")[0]
    assert np.abs(decisions(found, x) - expected.decision_function(others)).max() < 1e-5
    assert np.allclose(found.weight.numpy(), expected.coef_[0], atol=1e-5)
    assert float(found.bias) == pytest.approx(expected.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.25, 4.0])
def test_rbf_is_that_of_scikit_learn(shape: tuple[int, int, int], share: float) -> None:
    dataset = problem(shape, train=60, held_out=20, deviation=0.3)
    rows, labels = rows_of(dataset, "train")
    gamma = share / float(np.median(euclidean_distances(rows, squared=True)))
    expected = SVC(kernel="rbf", C=1.0, gamma=gamma, tol=TIGHT).fit(rows, labels)
    found = rbf(dataset, gamma=gamma)
    others = rows_of(dataset, "test")[0]
    x = pixels_of(dataset, "test")[0]
    assert np.abs(decisions(found, x) - expected.decision_function(others)).max() < 1e-5
    assert float(found.gamma) == gamma
    assert found.support_vectors.dtype == torch.uint8
    assert len(found.coefficients) == len(expected.support_)


def test_extreme_pixels_change_nothing() -> None:
    """All black and all white images, equal to a support vector, and a gamma that is far too large."""
    dataset = problem((3, 32, 32), train=60, held_out=20, deviation=0.3)
    rows, labels = rows_of(dataset, "train")
    plain = np.stack([np.zeros(3072), np.ones(3072), rows[0], rows[1]])
    x = torch.from_numpy(plain).float().view(4, 3, 32, 32)
    for gamma in (1e-4, 1e-2, 1.0):
        expected = SVC(kernel="rbf", gamma=gamma, tol=TIGHT).fit(rows, labels)
        assert (
            np.abs(decisions(rbf(dataset, gamma=gamma), x) - expected.decision_function(plain)).max() < 1e-5
        )


def test_the_gradient_is_the_formula(drawn: MixtureDataset) -> None:
    module = rbf(drawn, gamma=0.5)
    x = pixels_of(drawn, "test")[0][:5].requires_grad_()
    logits = module(x)
    (slope,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), x)
    points = x.detach().flatten(1).double().numpy()
    vectors = module.support_vectors.flatten(1).numpy() / 255.0
    weights = module.coefficients.numpy() * np.exp(-0.5 * euclidean_distances(points, vectors, squared=True))
    expected = 2 * 0.5 * (weights @ vectors - weights.sum(1, keepdims=True) * points)
    assert np.allclose(slope.flatten(1).numpy(), expected, rtol=1e-5, atol=1e-7)


def test_a_small_gradient_is_still_a_direction(drawn: MixtureDataset) -> None:
    """At gamma |x - s|^2 near 80, beyond where the kernel itself has digits left as a float32 of size 1."""
    module = rbf(drawn, gamma=0.5)
    vectors = pixels(module.support_vectors)
    x = torch.zeros(1, 1, 8, 8)
    nearest = float((vectors - 0.0).square().sum(1).min())
    module.gamma.fill_(80 / nearest)
    x.requires_grad_()
    logits = module(x)
    (slope,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), x)
    assert 0 < float(slope.abs().max()) < 1e-30
    assert slope.isfinite().all()


def test_kernels_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    left, right = (torch.from_numpy(random.random((count, 500))) for count in (7, 5))
    centre = torch.full((500,), 0.5, dtype=torch.float64)
    expected = euclidean_distances(left.numpy(), right.numpy(), squared=True)
    assert np.allclose(squared_distances(left, right, centre).numpy(), expected, rtol=1e-12)
    moved = (left - 0.5).numpy() @ (right - 0.5).numpy().T
    assert np.allclose(inner_products(left, right, centre).numpy(), moved)
    assert (squared_distances(left, left, centre).diagonal() >= 0).all()


def test_widths_double_every_second_time() -> None:
    distances = torch.tensor([[0.0, 4.0, 9.0], [4.0, 0.0, 16.0], [9.0, 16.0, 0.0]])
    grid = widths(distances, 1 / 4, 2.0, 2)
    assert np.allclose(grid, [2 ** (power / 2) / 9 for power in range(-4, 3)])
    assert np.allclose(widths(distances, 1 / 4, 3.0, 1), [0.375 / 9, 0.75 / 9, 1.5 / 9, 3 / 9])
    with pytest.raises(ModelError, match="leaves no gamma to try"):
        widths(distances, 1 / 4, 0.2, 1)


class TestGamma:
    def accuracies(self, dataset: MixtureDataset, grid: list[float]) -> list[float]:
        rows, labels = rows_of(dataset, "train")
        others, wanted = rows_of(dataset, "validation")
        return [SVC(gamma=gamma, tol=TIGHT).fit(rows, labels).score(others, wanted) for gamma in grid]

    @pytest.mark.parametrize("keeps", [0.0, 0.05, 0.2])
    def test_it_is_the_largest_that_keeps_the_accuracy(self, drawn: MixtureDataset, keeps: float) -> None:
        rows, _ = rows_of(drawn, "train")
        distances = euclidean_distances(rows, squared=True)
        median = np.median(distances[~np.eye(len(rows), dtype=bool)])
        grid = [2.0 ** (power / 2) / median for power in range(-8, 15)]
        shares = self.accuracies(drawn, grid)
        wanted = max(g for g, share in zip(grid, shares, strict=True) if share >= max(shares) - keeps)
        assert wanted < grid[-1]
        found = rbf(drawn, keeps=keeps, finest=128.0)
        assert float(found.gamma) == pytest.approx(wanted, rel=0.01)

    def test_giving_up_more_gives_a_larger_one(self, drawn: MixtureDataset) -> None:
        found = [float(rbf(drawn, keeps=keeps, finest=128.0).gamma) for keeps in (0.0, 0.1, 0.3)]
        assert found == sorted(found)
        assert found[0] < found[2]

    def test_the_finest_is_not_exceeded(self, drawn: MixtureDataset) -> None:
        rows, _ = rows_of(drawn, "train")
        distances = euclidean_distances(rows, squared=True)
        median = np.median(distances[~np.eye(len(rows), dtype=bool)])
        assert float(rbf(drawn, keeps=0.9).gamma) == pytest.approx(4 / median, rel=0.01)

    def test_what_is_tried_is_told(self, drawn: MixtureDataset) -> None:
        kept = Kept()
        rbf(drawn, kept)
        shares = [share for share, _ in kept.reports]
        assert shares == sorted(shares)
        assert len(shares) == 15  # before, thirteen values of gamma, after
        assert "support vectors" in kept.reports[-1][1]

    def test_without_validation_images_it_must_be_given(self, drawn: MixtureDataset) -> None:
        partitions = np.where(drawn.partitions == "validation", "test", drawn.partitions)
        alone = replace(drawn, partitions=partitions)
        with pytest.raises(HarnessError, match="validation"):
            rbf(alone)
        assert accuracy(rbf(alone, gamma=0.5), alone) > 0.8


def test_they_learn() -> None:
    easy = problem()
    assert accuracy(linear(easy), easy) >= 0.95
    assert accuracy(rbf(easy), easy) >= 0.95


def test_a_limit_is_kept(drawn: MixtureDataset) -> None:
    assert len(rbf(drawn, images=30, gamma=50.0).coefficients) == 30
    assert not torch.equal(linear(drawn, images=30).weight, linear(drawn).weight)


@pytest.mark.parametrize("train", [linear, rbf])
def test_degenerate_data_are_refused_in_one_line(drawn: MixtureDataset, train: Any) -> None:
    labels = np.where(np.arange(len(drawn)) == 3, 1, 0)
    few = replace(drawn, labels=labels)
    cases: list[tuple[MixtureDataset, dict[str, Any], str]] = [
        (of_one_class(drawn), {}, r"classes \[0\]"),
        (of_equal_images(drawn), {} if train is linear else {"gamma": 1.0}, "are equal"),
        (few, {"images": 2} if train is linear else {"images": 2, "gamma": 1.0}, "without images; use more"),
        (replace(drawn, labels=None), {}, "no classes"),
        (replace(drawn, labels=np.arange(len(drawn)) % 3), {}, r"classes \[0, 1, 2\]"),
    ]
    for dataset, given, message in cases:
        with pytest.raises(ModelError, match=message) as caught:
            train(dataset, **given)
        assert "\n" not in str(caught.value)


def test_mostly_equal_images_have_no_scale(drawn: MixtureDataset) -> None:
    def read(rows: Any) -> Any:
        images = np.full((len(rows), *drawn.shape), 77, np.uint8)
        images[rows < 10] = drawn.read(rows)[rows < 10]
        return images

    with pytest.raises(ModelError, match="give gamma"):
        rbf(replace(drawn, read=read))


def test_without_support_vectors_it_answers_nothing() -> None:
    with pytest.raises(ModelError, match="no support vectors; train it"):
        svm.build_rbf(Task((1, 8, 8)))(torch.zeros(1, 1, 8, 8))


def test_autocast_changes_nothing(drawn: MixtureDataset) -> None:
    x = pixels_of(drawn, "test")[0]
    for module in (linear(drawn), rbf(drawn, gamma=0.5)):
        with torch.autocast("cpu", torch.bfloat16):
            coarse = module(x)
        assert torch.equal(coarse, module(x))


@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm"])
def test_the_zoo_keeps_them(
    drawn: MixtureDataset, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    first = obtain(choice(name), drawn, 0, DEVICE)
    again = obtain(choice(name), drawn, 0, DEVICE)
    x = pixels_of(drawn, "test")[0]
    assert torch.equal(first.model.module(x), again.model.module(x))
    assert first.digest == again.digest
    own = linear(drawn) if name == "linear-svm" else rbf(drawn)
    assert torch.equal(own(x), again.model.module(x))
    next(iter(again.model.module.buffers())).zero_()
    again.restore()
    assert torch.equal(own(x), again.model.module(x))


@pytest.mark.parametrize("case", [*model_checks(SPECS["linear-svm"]), *model_checks(SPECS["rbf-svm"])])
def test_contract(case: Case) -> None:
    case()
