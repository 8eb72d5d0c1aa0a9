"""How often 95 % intervals cover the truth, by simulation; ``make audit`` prints the whole table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from math import sqrt

import numpy as np
import pytest
from scipy.special import stdtrit

from harness.metrics import mean, rate, wilson

WHOLE = bool(os.environ.get("AUDIT"))
REPLICATIONS = 2000 if WHOLE else 150
RATES = (0.02, 0.5, 0.98)
IMAGES, CASES = ((10, 25, 50, 200), (4, 8, 40)) if WHOLE else ((10, 50), (4, 40))
CORRELATIONS = (0.0, 0.1, 0.3, 0.7, 1.0) if WHOLE else (0.0, 0.3, 1.0)
COVERED = 0.93
CHANCE = 3 * sqrt(COVERED * (1 - COVERED) / REPLICATIONS)
"""By how much a simulated share may lie below the true one: three standard deviations."""


def hits(rng: np.random.Generator, p: float, images: int, cases: int, correlation: float) -> np.ndarray:
    """Hits (images,) of so many cases each, from a beta-binomial distribution."""
    if correlation in (0.0, 1.0):
        chances = np.full(images, p) if correlation == 0 else (rng.random(images) < p).astype(float)
    else:
        spread = (1 - correlation) / correlation
        chances = rng.beta(p * spread, (1 - p) * spread, images)
    return rng.binomial(cases, chances)


def flags(counts: np.ndarray, cases: int) -> tuple[np.ndarray, np.ndarray]:
    """The cases of these counts, and the image of each."""
    return (np.arange(cases) < counts[:, None]).ravel(), np.repeat(np.arange(counts.size), cases)


def design_effect(counts: np.ndarray, cases: int) -> tuple[float, float]:
    """The interval that boards had before: Wilson with an effective size; images at rates of 0 and 1."""
    images, n = counts.size, counts.size * cases
    p = counts.sum() / n
    if p in (0.0, 1.0):
        return wilson(p * images, images)
    variance = images / (images - 1) * ((counts - p * cases) ** 2).sum() / n**2
    size = n / max(1.0, variance * (n - 1) / (p * (1 - p)))
    size *= (stdtrit(n - 1, 0.975) / stdtrit(images - 1, 0.975)) ** 2
    return wilson(p * size, size)


def cells() -> Iterator[tuple[float, int, int, float]]:
    yield from product(RATES, IMAGES, CASES, CORRELATIONS)


@pytest.mark.parametrize(("p", "images", "cases", "correlation"), list(cells()))
def test_rates(p: float, images: int, cases: int, correlation: float) -> None:
    rng = np.random.default_rng([7, int(1000 * p), images, cases, int(10 * correlation)])
    covered, width, before, width_before = 0, 0.0, 0, 0.0
    known: dict[tuple[int, ...], tuple[float, float]] = {}
    for _ in range(REPLICATIONS):
        counts = np.sort(hits(rng, p, images, cases, correlation))
        key = tuple(counts.tolist())
        if key not in known:
            found = rate(*flags(counts, cases))
            assert found.low is not None
            assert found.high is not None
            known[key] = found.low, found.high
        low, high = known[key]
        covered += low - 1e-12 <= p <= high + 1e-12
        width += high - low
        low, high = design_effect(counts, cases)
        before += low - 1e-12 <= p <= high + 1e-12
        width_before += high - low
    share, share_before = covered / REPLICATIONS, before / REPLICATIONS
    print(
        f"\n{p:4.2f} {images:4d} x {cases:2d} correlation {correlation:.1f}: covered {share:.3f}, width "
        f"{width / REPLICATIONS:.4f}; before {share_before:.3f}, {width / width_before:.2f} times as wide"
    )
    assert share >= COVERED - CHANCE


@pytest.mark.parametrize("images", [5, 8, 10, 20, 50, 200] if WHOLE else [5, 50])
def test_means_of_skewed_values(images: int) -> None:
    """Lognormal image means (sigma .6), four equal cases each."""
    rng = np.random.default_rng([8, images])
    truth = np.exp(0.6**2 / 2)
    covered = 0
    for _ in range(REPLICATIONS):
        found = mean(np.repeat(rng.lognormal(0, 0.6, images), 4), np.repeat(np.arange(images), 4))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    print(f"\nmean of {images} images: covered {covered / REPLICATIONS:.3f}")
    assert covered / REPLICATIONS >= 0.90 - CHANCE


def test_a_rate_above_0_is_not_known_better_than_one_of_0_by_far() -> None:
    """0, 1, 2, 3 and 13 hits of 200 in 50 images: the ends do not jump, and lower ends rise."""
    found = [rate(*flags(np.bincount(np.arange(k) % 50, minlength=50), 4)) for k in (0, 1, 2, 3, 13)]
    highs = [estimate.high for estimate in found]
    lows = [estimate.low for estimate in found]
    assert lows == sorted(lows)
    assert highs[1:] == sorted(highs[1:])
    assert highs[0] / highs[1] < 2  # it was 2.5
    print("\n0, 1, 2, 3, 13 of 200: " + ", ".join(f"[{100 * e.low:.2f}, {100 * e.high:.2f}]" for e in found))
