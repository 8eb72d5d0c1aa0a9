"""Lemmas 1 to 3 and Theorem 1 of the study where the answer is known, by the project's attack and by scipy.

Richardson and Weiss 2021 (https://arxiv.org/abs/2002.10563), section 2.1. Images of two or three pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

import harness
from harness.goals import Untargeted
from harness.threat import Minimal
from harness_bayes.mfa import Mfa

Floats = npt.NDArray[np.float64]
CASES = 12


class Classifier(nn.Module):
    """Images (B, 1, 1, D) to the log densities (B, 2) of two mixtures, less their mean: Bayes-optimal."""

    def __init__(self, one: Mfa, two: Mfa) -> None:
        super().__init__()
        self.mixtures = (one, two)

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.stack([mixture.log_likelihood(x.flatten(1)) for mixture in self.mixtures], 1)
        return (logits - logits.mean(1, keepdim=True)).float()

    def lead(self, x: Floats) -> Floats:
        """By how much the first class is likelier (B,)."""
        point = torch.from_numpy(x)
        return (self.mixtures[0].log_likelihood(point) - self.mixtures[1].log_likelihood(point)).numpy()

    def slope(self, x: Floats) -> Floats:
        """Gradient (D,) of the lead at x (D,)."""
        point = torch.from_numpy(x)[None].requires_grad_()
        one, two = (mixture.log_likelihood(point)[0] for mixture in self.mixtures)
        return torch.autograd.grad(one - two, point)[0][0].numpy()


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gaussian(mean: Sequence[float], columns: Sequence[Sequence[float]], deviations: Sequence[float]) -> Mfa:
    """N(mean, A A' + D) with the columns of A and the square roots of D."""
    factors = tensor(columns).reshape(len(columns), len(mean)).T
    return Mfa(tensor([0.0]), tensor(mean)[None], factors[None], tensor(deviations).square()[None])


def mixed(parts: Sequence[Mfa]) -> Mfa:
    """With equal weights."""
    whole = parts[0]
    for number, part in enumerate(parts[1:], start=2):
        whole = whole.joined(part, 1 / number)
    return whole


def samples(mixture: Mfa, number: int = CASES, seed: int = 0) -> Tensor:
    """(N, D) as float32 images have them, inside of [0, 1]."""
    draws = torch.Generator().manual_seed(seed)
    components, dimension, latent = mixture.factors.shape
    component = torch.arange(number) % components
    z = torch.randn(number, latent, generator=draws)
    x = mixture.generate(component, z, torch.randn(number, dimension, generator=draws)).float()
    assert x.min() > 0.05
    assert x.max() < 0.95
    return x


def attacked(classifier: Classifier, x: Tensor, label: int, step: float) -> Floats:
    """L2 distances (N,) at which the project's gradient descent brings all of x (N, D) over the boundary."""
    images = x[:, None, None]
    outcome = harness.attack(
        "gradient-descent",
        harness.wrap_model(classifier),
        images,
        goal=Untargeted(torch.full((len(x),), label)),
        threat=Minimal("l2", levels=None),
        step_size=step,
        tests=20,
    )
    assert outcome.success.all()
    return outcome.distances["l2"].to_numpy(dtype=float)


def nearest(classifier: Classifier, x: Tensor) -> Floats:
    """Distances (N,) of x (N, D) to the surface: many rays, and scipy's SLSQP from the shortest."""
    draws = np.random.default_rng(0)
    dimension = x.shape[1]
    rays = np.concatenate([np.eye(dimension), -np.eye(dimension), draws.normal(size=(80, dimension))])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    radii = np.geomspace(1e-5, 1, 200)
    found = []
    for point in x.double().numpy():
        along = point + radii[:, None, None] * rays  # (R, V, D)
        crossed = classifier.lead(along.reshape(-1, dimension)).reshape(along.shape[:2])
        crossed = np.sign(crossed) != np.sign(classifier.lead(point[None]))
        ends = np.where(crossed.any(0), radii[crossed.argmax(0)], np.inf)
        best = [ends[ray] * _polished(classifier, point, ends[ray], rays[ray]) for ray in ends.argsort()[:3]]
        found.append(min(best))
    return np.array(found)


def _polished(classifier: Classifier, point: Floats, radius: float, ray: Floats) -> float:
    """The least |u| with x + radius u on the surface, u near the ray; infinite where SLSQP finds none."""
    unit = np.linalg.norm(classifier.slope(point + radius * ray)) * radius
    result = minimize(
        lambda u: u @ u,
        ray,
        jac=lambda u: 2 * u,
        constraints={
            "type": "eq",
            "fun": lambda u: classifier.lead((point + radius * u)[None]) / unit,
            "jac": lambda u: classifier.slope(point + radius * u)[None] * radius / unit,
        },
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 50},
    )
    off = abs(classifier.lead((point + radius * result.x)[None])[0]) / unit
    return float(np.linalg.norm(result.x)) if off < 1e-6 else np.inf


WIDE, NARROW = 0.1, (0.02, 0.005, 0.001)
CORRELATED = gaussian([0.52, 0.5, 0.5], [[0.06, 0.03, 0.0], [0.0, 0.05, 0.02]], [0.05, 0.04, 0.06])
"""p2 of Lemma 1 in three dimensions: of full rank, and no axis is its own."""


def narrow(sigma: float) -> Mfa:
    """p1 of Lemma 1: its direction of least variance is the first axis."""
    return gaussian([0.5, 0.5, 0.5], [[0.0, 0.06, 0.03]], [sigma, 0.05, 0.04])


def roots_of_equation_1(sigma: float, x: Floats) -> Floats:
    """First coordinates (N, 2) at which the surface cuts the lines through x (N, 3) along the first axis.

    Equation (1) with p2(s | t) by equations (2) and (3), in which the paper's right side must be
    2 (log p1(s) - log p2(s | t)): its sign and a factor of 2 are lost in print. It stays quadratic in t.
    """
    cov1, cov2 = (
        (mixture.factors[0] @ mixture.factors[0].T + mixture.noise[0].diag()).numpy()
        for mixture in (narrow(sigma), CORRELATED)
    )
    mean1, mean2 = np.full(3, 0.5), np.array([0.52, 0.5, 0.5])
    var1, var2, t1, t2 = cov1[0, 0], cov2[0, 0], mean1[0], mean2[0]
    slope = cov2[1:, 0] / var2  # of E(s | t), by t
    rest = cov2[1:, 1:] - np.outer(slope, cov2[0, 1:])  # covariance of s given t, under p2
    found = []
    for s in x[:, 1:]:
        deviation = s - mean2[1:] + slope * t2  # s - E(s | t) is deviation - slope t
        precision = np.linalg.inv(rest)
        # 2 log p1(s) - 2 log p2(s | t) = c0 + c1 t + c2 t²
        alone = (s - mean1[1:]) @ np.linalg.solve(cov1[1:, 1:], s - mean1[1:])
        c0 = deviation @ precision @ deviation - alone
        c0 += np.linalg.slogdet(rest)[1] - np.linalg.slogdet(cov1[1:, 1:])[1]
        c1, c2 = -2 * deviation @ precision @ slope, slope @ precision @ slope
        a = 1 / var1 - 1 / var2 - c2
        b = 2 * (t2 / var2 - t1 / var1) - c1
        c = t1**2 / var1 - t2**2 / var2 + log(var1 / var2) - c0
        found.append(np.sort(np.roots([a, b, c]).real))
    return np.array(found)


@pytest.mark.parametrize("sigma", NARROW)
def test_lemma_1_the_surface_is_where_equation_1_says(sigma: float) -> None:
    x = samples(narrow(sigma)).double().numpy()
    classifier = Classifier(narrow(sigma), CORRELATED)
    for root in roots_of_equation_1(sigma, x).T:
        crossing = np.column_stack([root, x[:, 1:]])
        lead = classifier.lead(crossing)
        np.testing.assert_allclose(lead, 0, atol=1e-6)


def test_lemma_1_the_surface_comes_as_close_as_equation_1_says() -> None:
    """|t - t1| is σ1 √(2 log(σ2/σ1) + …), so that the distance vanishes almost as fast as σ1."""
    medians = []
    for sigma in NARROW:
        classifier = Classifier(narrow(sigma), CORRELATED)
        x = samples(narrow(sigma))
        first = x[:, 0].double().numpy()
        along = np.abs(roots_of_equation_1(sigma, x.double().numpy()) - first[:, None]).min(1)
        exact = nearest(classifier, x)
        inside = classifier.lead(x.double().numpy()) > 0
        assert inside.mean() > 0.75  # the others are on the wrong side, as close
        found = attacked(classifier, x[torch.from_numpy(inside)], 0, step=sigma / 20)
        assert (exact <= along * (1 + 1e-5)).all()
        np.testing.assert_array_less(exact[inside] * (1 - 1e-3), found)
        assert np.median(found / exact[inside]) < 1.02
        # As the variance vanishes, the nearest way is the direction of least variance.
        assert np.median(along / exact) - 1 < 3 * sigma / NARROW[0] * 0.2
        medians.append((np.median(exact), np.median(found)))
    for which in zip(*medians, strict=True):
        for (wide, wider), (sigma, previous) in zip(
            zip(which[1:], which[:-1], strict=True), zip(NARROW[1:], NARROW[:-1], strict=True), strict=True
        ):
            assert sigma / previous < wide / wider < sigma / previous * 2
    assert medians[-1][1] < 4 * NARROW[-1]


def test_lemma_1_in_closed_form_in_one_direction() -> None:
    """Equal but for the variance of t: the surface is a pair of planes, and the distances have a formula."""
    for sigma in NARROW:
        one = gaussian([0.5, 0.5], [], [sigma, 0.05])
        two = gaussian([0.5, 0.5], [], [WIDE, 0.05])
        classifier = Classifier(one, two)
        half = sqrt(2 * log(WIDE / sigma) / (sigma**-2 - WIDE**-2))
        x = samples(one)
        offset = (x[:, 0].double() - 0.5).abs().numpy()
        inside = offset < half
        expected = np.abs(half - offset)
        np.testing.assert_allclose(nearest(classifier, x), expected, rtol=1e-4, atol=1e-7)
        found = attacked(classifier, x[torch.from_numpy(inside)], 0, step=sigma / 20)
        np.testing.assert_allclose(found, expected[inside], rtol=0.02, atol=1e-6)


def test_lemma_2_equal_spheres_are_half_their_distance_from_the_surface() -> None:
    centres = [0.35, 0.4, 0.5], [0.65, 0.6, 0.5]
    between = np.subtract(centres[1], centres[0])
    distance = float(np.linalg.norm(between))
    spread = []
    for sigma in (0.05, 0.01, 0.001):
        one, two = (gaussian(centre, [], [sigma] * 3) for centre in centres)
        classifier = Classifier(one, two)
        for label, mixture in enumerate((one, two)):
            x = samples(mixture)
            expected = np.abs((x.double().numpy() - np.mean(centres, 0)) @ between) / distance
            np.testing.assert_allclose(nearest(classifier, x), expected, rtol=1e-5)
            np.testing.assert_allclose(attacked(classifier, x, label, 0.01), expected, rtol=1e-3)
        spread.append(np.abs(expected - distance / 2).max())
        assert spread[-1] < 4 * sigma
    assert spread[0] / 50 == pytest.approx(spread[1] / 10, rel=0.01)
    assert spread[1] / 10 == pytest.approx(spread[2], rel=0.01)


def subspace_distance(one: Mfa, two: Mfa) -> float:
    """d of Lemma 3: of the affine subspaces of two Gaussians, by numpy's least squares."""
    columns = torch.cat([one.factors[0], -two.factors[0]], 1).numpy()
    gap = (two.means[0] - one.means[0]).numpy()
    return float(np.linalg.norm(gap - columns @ np.linalg.lstsq(columns, gap)[0]))


def lines(sigma: float, angle: float) -> tuple[Mfa, Mfa]:
    """Around two lines 0.3 apart, with equal singular values, at an angle."""
    turned = [0.06 * np.cos(angle), 0.06 * np.sin(angle), 0.0]
    one = gaussian([0.5, 0.5, 0.35], [[0.06, 0.0, 0.0]], [sigma] * 3)
    return one, gaussian([0.5, 0.5, 0.65], [turned], [sigma] * 3)


def test_lemma_3_parallel_subspaces_are_half_their_distance_from_the_surface() -> None:
    off = []
    for sigma in (0.03, 0.01, 0.001):
        one, two = lines(sigma, 0.0)
        distance = subspace_distance(one, two)
        assert distance == pytest.approx(0.3)
        x = samples(one)
        exact = nearest(Classifier(one, two), x)
        found = attacked(Classifier(one, two), x, 0, 0.005)
        np.testing.assert_allclose(found, exact, rtol=5e-3)
        off.append(np.abs(exact - distance / 2).max())
        assert off[-1] < 4 * sigma
    assert off[0] > 2 * off[1] > 10 * off[2]


@pytest.mark.parametrize("angle", [0.3, np.pi / 2])
def test_lemma_3_skew_subspaces_are_at_least_half_their_distance_from_the_surface(angle: float) -> None:
    """d/2 is a bound, reached where the subspaces are nearest; so is half of a point's own distance."""
    sigma = 0.001
    one, two = lines(sigma, angle)
    distance = subspace_distance(one, two)
    assert distance == pytest.approx(0.3)
    x = samples(one)
    x[0] = one.means[0]  # the foot of the common perpendicular
    classifier = Classifier(one, two)
    exact, found = nearest(classifier, x), attacked(classifier, x, 0, 0.002)
    own = two.subspace_distances(x)[:, 0].numpy()
    noise = one.subspace_distances(x)[:, 0].numpy()
    assert (exact >= (own - noise) / 2 - 1e-4).all()
    assert (exact >= distance / 2 - 4 * sigma).all()
    assert exact[0] == pytest.approx(distance / 2, abs=1e-4)
    np.testing.assert_array_less(exact * (1 - 1e-4), found)
    np.testing.assert_allclose(found, exact, rtol=0.02)
    assert (exact / (own / 2)).max() > 1.003  # no equality away from the foot


def test_theorem_1_narrow_components_are_close_to_the_surface_and_symmetric_ones_are_not() -> None:
    places = [0.25, 0.5, 0.75]
    for sigma in (0.01, 0.002):
        thin = mixed([gaussian([place, 0.5], [[0.0, 0.05]], [sigma, sigma]) for place in places])
        broad = mixed([gaussian([place, 0.5], [], [0.1, 0.1]) for place in (0.3, 0.7)])
        classifier = Classifier(thin, broad)
        x = samples(thin)
        exact, found = nearest(classifier, x), attacked(classifier, x, 0, sigma / 20)
        np.testing.assert_array_less(exact * (1 - 1e-3), found)
        assert np.median(found / exact) < 1.02
        assert found.max() < 5 * sigma

    sigma = 0.002
    own = mixed([gaussian([place, 0.5], [[0.0, 0.05]], [sigma, sigma]) for place in (0.2, 0.6)])
    other = mixed([gaussian([place, 0.5], [[0.0, 0.05]], [sigma, sigma]) for place in (0.3, 0.8)])
    classifier = Classifier(own, other)
    x = samples(own)  # by turns 0.1 and 0.2 from the nearest component of the other class
    halves = other.subspace_distances(x).min(1).values.numpy() / 2
    assert halves[::2].mean() == pytest.approx(0.05, abs=0.002)
    assert halves[1::2].mean() == pytest.approx(0.1, abs=0.002)
    np.testing.assert_allclose(nearest(classifier, x), halves, atol=3 * sigma)
    np.testing.assert_allclose(attacked(classifier, x, 0, 0.001), nearest(classifier, x), rtol=0.01)
