"""Intervals against scipy, brute force and simulation; metrics on frames of records."""

from __future__ import annotations

import subprocess
import sys
from math import comb, log

import numpy as np
import pandas as pd
import pytest
from scipy.stats import betabinom, binomtest, t as student

from harness import metrics
from harness.catalog import catalog
from harness.metrics import (
    CORE,
    GROUPS,
    Estimate,
    beta_binomial,
    core,
    effective_size,
    mean,
    outcomes,
    rate,
    wilson,
)
from harness.store.schema import RECORD_SCHEMA


@pytest.mark.parametrize("n", [1, 2, 7, 40, 1000])
def test_wilson_is_scipys(n: int) -> None:
    for k in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_ends_exactly_at_0_and_1() -> None:
    assert wilson(0, 13)[0] == 0.0
    assert wilson(13, 13)[1] == 1.0


def test_wilson_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 cases"):
        wilson(0, 0)


@pytest.mark.parametrize("k", [0, 3, 29, 30])
def test_one_case_per_image_is_plain_wilson(k: int) -> None:
    hits = np.arange(30) < k
    images = np.random.default_rng(0).permutation(30)
    assert effective_size(hits, images) == 30.0
    estimate = rate(hits, images)
    expected = binomtest(k, 30).proportion_ci(method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (estimate.value, estimate.n) == (k / 30, 30)


def test_cases_that_always_agree_count_as_one() -> None:
    """Repeating every case tells nothing new: the interval stays about that of the images."""
    verdicts = np.random.default_rng(1).random(200) < 0.3
    images = np.repeat(np.arange(200), 10)
    size = effective_size(np.repeat(verdicts, 10), images)
    # the remaining difference is Student's t at 199 and 1999 degrees of freedom, and n - 1 against n
    assert size == pytest.approx(200, rel=0.02)


def test_few_images_widen_by_students_quantile() -> None:
    """The definition, written out for four images of three cases."""
    table = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1]], bool)
    n, images, p = 12, 4, 0.5
    variance = images / (images - 1) * ((table.sum(axis=1) - 3 * p) ** 2).sum() / n**2
    deff = variance / (p * (1 - p) / (n - 1))
    assert deff > 1
    expected = n / deff * (student.ppf(0.975, n - 1) / student.ppf(0.975, images - 1)) ** 2
    assert effective_size(table.ravel(), np.repeat(np.arange(4), 3)) == pytest.approx(expected)


def test_cases_that_disagree_are_not_counted_as_more_than_there_are() -> None:
    hits = np.tile([True, False], 100)  # one hit in each image: no variance between images at all
    assert effective_size(hits, np.repeat(np.arange(100), 2)) <= 200


@pytest.mark.parametrize("hit", [True, False])
def test_unanimous_rates_count_images(hit: bool) -> None:
    hits = np.full(200, hit)
    images = np.repeat(np.arange(20), 10)
    assert effective_size(hits, images) == 20
    # the images may agree within themselves: the end is that of so many images, one-sided
    far = 1 - 0.05 ** (1 / 20)
    estimate = rate(hits, images)
    assert (estimate.low, estimate.high) == pytest.approx((1 - far, 1) if hit else (0, far), abs=1e-12)


def test_one_image_is_one_case() -> None:
    assert effective_size(np.array([True, False, True]), np.zeros(3, int)) == 1


def test_images_without_cases_do_not_count() -> None:
    hits = np.array([True, False, True, True])
    assert effective_size(hits, np.array([0, 0, 9, 9])) == effective_size(hits, np.array([0, 0, 1, 1]))


def _beta_binomial(rng: np.random.Generator, images: int, cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Cases whose images are easy or hard: p ~ Beta(0.7, 0.3), so intra-class correlation 0.5, rate 0.7."""
    p = np.repeat(rng.beta(0.7, 0.3, images), cases)
    return rng.random(images * cases) < p, np.repeat(np.arange(images), cases)


@pytest.mark.parametrize("cases", [1, 4, 40, 300])
def test_the_likelihood_is_scipys_in_either_form(cases: int) -> None:
    rng = np.random.default_rng(cases)
    hits, misses = rng.integers(cases + 1, size=(2, 6))
    hits[0] = misses[1] = 0
    counts, p = np.array([1, 2, 3, 1, 1, 5]), np.array([[1e-4], [0.3], [0.5], [0.999]])
    alpha, beta = p * beta_binomial._SPREAD, (1 - p) * beta_binomial._SPREAD
    chances = [
        times * (betabinom.logpmf(h, h + m, alpha, beta) - log(comb(int(h + m), int(h))))
        for h, m, times in zip(hits, misses, counts, strict=True)
    ]
    for form in (beta_binomial._likelihood_by_terms, beta_binomial._likelihood_by_kinds):
        np.testing.assert_allclose(form(p, hits, misses, counts), sum(chances), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("images", [12, 60])
def test_rate_interval_covers_where_plain_wilson_does_not(images: int) -> None:
    rng = np.random.default_rng(2)
    covered = plain = 0
    repeats = 600
    for _ in range(repeats):
        hits, codes = _beta_binomial(rng, images, 20)
        ours, naive = rate(hits, codes), rate(hits)
        covered += ours.low <= 0.7 <= ours.high  # type: ignore[operator]
        plain += naive.low <= 0.7 <= naive.high  # type: ignore[operator]
    assert 0.92 <= covered / repeats <= 0.985
    assert plain / repeats < 0.6


def test_mean_interval_covers_under_clusters() -> None:
    rng = np.random.default_rng(3)
    covered = plain = 0
    repeats = 120
    codes = np.repeat(np.arange(60), 8)
    for _ in range(repeats):
        values = np.repeat(rng.normal(2.0, 1.0, 60), 8) + rng.normal(0, 0.5, 480)
        ours, naive = mean(values, codes), mean(values)
        covered += ours.low <= 2.0 <= ours.high  # type: ignore[operator]
        plain += naive.low <= 2.0 <= naive.high  # type: ignore[operator]
    assert 0.88 <= covered / repeats <= 0.99
    assert plain / repeats < 0.75


def test_many_images_are_grouped_without_bias() -> None:
    rng = np.random.default_rng(4)
    images = 3 * GROUPS + 7
    values = np.repeat(rng.normal(1.0, 1.0, images), 2)
    estimate = mean(values, np.repeat(np.arange(images), 2))
    half = 1.96 * values.std() / np.sqrt(images)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_mean_is_deterministic_and_ignores_what_is_not_measured() -> None:
    values = np.array([1.0, 2.0, np.nan, 4.0, 9.0])
    assert mean(values) == mean(values)
    assert mean(values).n == 4
    assert mean(values).value == 4.0


def test_mean_of_one_image_has_no_interval() -> None:
    assert mean(np.array([1.0, 3.0]), np.array([5, 5])) == Estimate(2.0, None, None, 2)


def test_labels_stand_for_the_images_that_they_name() -> None:
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 12, 60)
    labels = pd.Series([f"image {code}" for code in codes])
    met = pd.factorize(labels)[0]
    hits, values = pd.Series(rng.random(60) < 0.5), pd.Series(rng.random(60))
    assert rate(hits, labels) == rate(hits.to_numpy(), met)
    assert mean(values, labels) == mean(values.to_numpy(), met)
    renamed = labels.map({name: f"{n}" for n, name in enumerate(sorted(set(labels), reverse=True))})
    assert mean(values, renamed) == mean(values, labels)  # names do not move a bootstrap
    assert rate(hits[:0], labels[:0]).value is None


def test_nothing_gives_nothing() -> None:
    assert rate(np.zeros(0, bool)) == Estimate(None, None, None, 0)
    assert mean(np.array([np.nan])) == Estimate(None, None, None, 0)


FRAME = pd.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d", "e"],
        "clean_correct": [True, True, False, True, True],
        "success": [True, False, True, None, False],
        "valid": [True, False, True, None, True],
        "error": [None, None, None, "RuntimeError", None],
        "l2": [2.0, 5.0, 7.0, None, 5.0],
        "linf": [0.25, 0.5, 0.5, None, 0.5],
        "forwards": [2, 4, 6, None, 8],
        "backwards": [1, 1, 1, None, 1],
        "seconds": [0.5, 0.5, 0.5, None, 0.5],
    }
)


@pytest.mark.parametrize(
    ("metric", "value", "n"),
    [
        ("clean-accuracy", 3 / 4, 4),
        ("robust-accuracy", 2 / 4, 4),
        ("success-rate", 1 / 3, 3),
        ("natural-rate", 1 / 1, 1),
        ("valid-rate", 3 / 4, 4),
        ("mean-l2", 2.0, 1),  # of the one adversarial whose image was classified correctly before
        ("mean-linf", 0.25, 1),
        ("mean-pass", None, 0),
        ("mean-forwards", 5.0, 4),
        ("mean-backwards", 1.0, 4),
        ("mean-seconds", 0.5, 4),
        (
            "forwards-per-success",
            20 / 2,
            4,
        ),  # the cost of failures, too; a success that was wrong before counts
        ("backwards-per-success", 4 / 2, 4),
        ("seconds-per-success", 2.0 / 2, 4),
    ],
)
def test_metric_of_a_frame(metric: str, value: float | None, n: int) -> None:
    estimate = CORE[metric](FRAME)
    assert estimate.value == (None if value is None else pytest.approx(value))
    assert estimate.n == n


def test_without_a_success_there_is_no_cost_of_one() -> None:
    for cost in ("forwards", "backwards", "seconds"):
        assert CORE[f"{cost}-per-success"](FRAME.assign(success=False)) == metrics.NOTHING
        free = FRAME.drop(columns=cost)  # not measured, and not 0
        assert CORE[f"{cost}-per-success"](free) == metrics.NOTHING


def test_frames_are_clustered_by_image() -> None:
    images = [f"{number % 10}.jpg" for number in range(100)]
    hits = [number % 10 < 5 for number in range(100)]
    frame = pd.DataFrame({"sample_id": images, "clean_correct": True, "success": hits, "error": None})
    expected = binomtest(5, 10).proportion_ci(method="wilson")
    estimate = metrics.success_rate(frame)
    assert estimate.low is not None
    assert estimate.low < expected.low + 0.01


def test_an_error_is_left_out_even_where_it_has_an_outcome() -> None:
    frame = FRAME.assign(error="RuntimeError")
    assert {metric: CORE[metric](frame).n for metric in CORE} == dict.fromkeys(CORE, 0)


def test_registered_specs_load() -> None:
    specs = {spec.name: spec for spec in metrics.harness_metrics()}
    assert list(specs) == list(CORE)
    for name, spec in specs.items():
        entry = catalog().metrics[f"core/{name}"]
        columns = [column for column in spec.columns if column in FRAME.columns]
        assert entry.load(spec.run)(FRAME[columns]) == CORE[name](FRAME)


def test_every_record_column_of_a_metric_is_read() -> None:
    read = {*outcomes.OUTCOMES, *core.NUMBERS}
    named = {column for spec in metrics.SPECS.values() for column in spec.columns}
    assert read == named | {"target", "fault"}
    assert read <= {*RECORD_SCHEMA.names, "pass"}


def test_registering_imports_neither_torch_nor_pandas() -> None:
    heavy = {"torch", "pandas", "scipy", "pyarrow"}
    code = f"import harness.metrics, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
