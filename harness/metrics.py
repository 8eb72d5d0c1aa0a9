"""Metrics: numbers of a table of records, with 95 % intervals that know which cases share an image.

Rates follow Wilson (1927) on an effective sample size (Kish 1965; Korn and Graubard 1998), means the cluster
bootstrap. This module is also the plugin "core", which registers these metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from harness.hookspecs import hookimpl
from harness.outcomes import Outcomes, as_outcomes
from harness.specs import MetricSpec

if TYPE_CHECKING:
    import pandas as pd

    Records = pd.DataFrame | Outcomes

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile
RESAMPLES = 1000
GROUPS = 2000  # the most that the bootstrap resamples: with more images, whole groups of images
BOOTSTRAP_SEED = 0

Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.integer[Any]]
Direction = Literal["higher is more robust", "lower is more robust", "neither"]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where there is nothing to estimate from."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """How many cases it is of."""


NOTHING = Estimate(None, None, None, 0)


def wilson(successes: float, n: float) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion; ``n`` may be an effective, fractional sample size."""
    if n <= 0:
        raise ValueError(f"a proportion of {n} cases has no interval")
    p = successes / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17.
    return (0.0 if successes <= 0 else max(0.0, centre - half)), (
        1.0 if successes >= n else min(1.0, centre + half)
    )


def effective_size(hits: Flags, images: Codes) -> float:
    """How many independent cases say as much about a rate as these, of which some share an image.

    It is n / deff, where the design effect deff is the cluster-robust variance of the rate over that of
    independent cases, at least 1. One case per image gives exactly n. With few images the variance is itself
    uncertain: the squared ratio of Student's quantiles, at n - 1 and at images - 1 degrees of freedom,
    accounts for that (Korn and Graubard). At rates of 0 and 1 the variance between images is 0 and says
    nothing; there each image counts as one case, as if its cases always agreed, which is conservative.
    """
    n = hits.size
    cases = np.bincount(images)
    held = cases > 0
    clusters = int(np.count_nonzero(held))
    if clusters == n:
        return float(n)
    p = np.count_nonzero(hits) / n
    if p in (0.0, 1.0) or clusters == 1:
        return float(clusters)
    from scipy.special import stdtrit  # here: the catalogue imports this module

    residuals = np.bincount(images, weights=hits)[held] - p * cases[held]
    variance = clusters / (clusters - 1) * float(residuals @ residuals) / n**2
    deff = max(1.0, variance * (n - 1) / (p * (1 - p)))
    shrink = (stdtrit(n - 1, 0.975) / stdtrit(clusters - 1, 0.975)) ** 2
    return n / deff * float(shrink)


def rate(hits: Flags, images: Codes | None = None) -> Estimate:
    """The share of cases that are hits; ``images`` are codes from 0 of the image that each case is of."""
    n = hits.size
    if n == 0:
        return NOTHING
    successes = int(np.count_nonzero(hits))
    size = float(n) if images is None else effective_size(hits, images)
    low, high = wilson(successes * (size / n), size)
    return Estimate(successes / n, low, high, n)


def mean(values: Floats, images: Codes | None = None) -> Estimate:
    """The mean of the values that are not NaN, with a percentile bootstrap over images.

    Images are resampled, not cases, since the cases of one image are alike. More than 2,000 images are dealt
    at random into 2,000 groups, and groups are resampled: groups are exchangeable too, and the cost is
    bounded. Deterministic. One image has no interval.
    """
    measured = ~np.isnan(values)
    values = values[measured].astype(np.float64)
    n = values.size
    if n == 0:
        return NOTHING
    value = float(values.mean())
    codes = np.arange(n) if images is None else np.unique(images[measured], return_inverse=True)[1]
    clusters = int(codes.max()) + 1
    if clusters == 1:
        return Estimate(value, None, None, n)
    groups = min(clusters, GROUPS)
    if clusters > GROUPS:
        dealt = np.random.default_rng(BOOTSTRAP_SEED).permutation(clusters) % GROUPS
        codes = dealt[codes]
    weights = _resamples(groups)
    totals = weights @ np.bincount(codes, weights=values, minlength=groups)
    counts = weights @ np.bincount(codes, minlength=groups).astype(np.float64)
    low, high = np.quantile(totals / counts, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)


@lru_cache(maxsize=2)
def _resamples(groups: int) -> npt.NDArray[np.float64]:
    """How often each resample draws each group, (1000, groups): 16 MB at most, shared by a row's means."""
    rng = np.random.default_rng([BOOTSTRAP_SEED, groups])
    draws = rng.integers(groups, size=(RESAMPLES, groups)) + np.arange(RESAMPLES)[:, None] * groups
    counts = np.bincount(draws.ravel(), minlength=RESAMPLES * groups)
    return counts.reshape(RESAMPLES, groups).astype(np.float64)


def clean_accuracy(records: Records) -> Estimate:
    """The share of cases that the model answers rightly before the attack; errors left out."""
    cases = as_outcomes(records)
    return rate(cases.correct[cases.covered], cases.images[cases.covered])


def robust_accuracy(records: Records) -> Estimate:
    """The share of all cases that are right before the attack and that it does not succeed on.

    Errors are left out: they are neither robust nor broken.
    """
    cases = as_outcomes(records)
    return rate((cases.correct & ~cases.success)[cases.covered], cases.images[cases.covered])


def success_rate(records: Records) -> Estimate:
    """Successes over the cases that were right before the attack; errors left out."""
    cases = as_outcomes(records)
    among = cases.covered & cases.correct
    return rate(cases.success[among], cases.images[among])


def natural_rate(records: Records) -> Estimate:
    """Successes over the cases that were wrong before the attack (natural adversarials); errors left out."""
    cases = as_outcomes(records)
    among = cases.covered & ~cases.correct
    return rate(cases.success[among], cases.images[among])


def transfer_rate(records: Records) -> Estimate:
    """Of the adversarials that fooled the model they were made on, the share that fools this one too.

    Over cases that this model had right before; none where nothing was transferred. Errors left out.
    """
    cases = as_outcomes(records)
    made = cases.values["surrogate_success"]
    among = cases.covered & cases.correct & (np.nan_to_num(made) > 0)
    return rate(cases.success[among], cases.images[among])


def valid_rate(records: Records) -> Estimate:
    """The share of judged images that keep to the box, the budget and the region."""
    cases = as_outcomes(records)
    valid = cases.values["valid"]
    among = cases.covered & ~np.isnan(valid)
    return rate(valid[among] > 0, cases.images[among])


def mean_l2(records: Records) -> Estimate:
    """Mean L2 distance of the adversarials: of successful cases that were right before the attack."""
    return _of_adversarials(records, "l2")


def mean_linf(records: Records) -> Estimate:
    """Mean L-infinity distance, in [0, 1], of successful cases that were right before the attack."""
    return _of_adversarials(records, "linf")


def mean_pass(records: Records) -> Estimate:
    """Mean perceptual similarity PASS of successful cases that were right before the attack."""
    return _of_adversarials(records, "pass")


def mean_forwards(records: Records) -> Estimate:
    """Mean forward passes per case that the attack cost; without interval."""
    return _of_all(records, "forwards")


def mean_backwards(records: Records) -> Estimate:
    """Mean backward passes per case that the attack cost; without interval."""
    return _of_all(records, "backwards")


def mean_seconds(records: Records) -> Estimate:
    """Mean seconds per case that the attack took; without interval, since a batch shares its time."""
    return _of_all(records, "seconds")


def _of_adversarials(records: Records, column: str) -> Estimate:
    cases = as_outcomes(records)
    among = cases.covered & cases.correct & cases.success
    return mean(cases.values[column][among], cases.images[among])


def _of_all(records: Records, column: str) -> Estimate:
    cases = as_outcomes(records)
    values = cases.values[column][cases.covered]
    values = values[~np.isnan(values)]
    return Estimate(float(values.mean(dtype=np.float64)), None, None, values.size) if values.size else NOTHING


CORE: dict[str, Callable[[Records], Estimate]] = {
    "clean-accuracy": clean_accuracy,
    "robust-accuracy": robust_accuracy,
    "success-rate": success_rate,
    "natural-rate": natural_rate,
    "transfer-rate": transfer_rate,
    "valid-rate": valid_rate,
    "mean-l2": mean_l2,
    "mean-linf": mean_linf,
    "mean-pass": mean_pass,
    "mean-forwards": mean_forwards,
    "mean-backwards": mean_backwards,
    "mean-seconds": mean_seconds,
}
"""The metrics of every board; a board's column is the name with underscores."""

_OUTCOME = ("sample_id", "error", "clean_correct", "success")


@hookimpl
def harness_metrics() -> list[MetricSpec]:
    """The metrics of every board."""

    def spec(
        name: str, summary: str, *columns: str, unit: str = "", direction: Direction = "neither"
    ) -> MetricSpec:
        run = f"{__name__}:{name.replace('-', '_')}"
        return MetricSpec(
            name=name,
            summary=summary,
            run=run,
            columns=(*_OUTCOME, *columns),
            unit=unit,
            direction=direction,
        )

    higher: Direction = "higher is more robust"
    lower: Direction = "lower is more robust"
    return [
        spec("clean-accuracy", "share of cases that are right before the attack"),
        spec("robust-accuracy", "share of all cases that are right and stay so", direction=higher),
        spec("success-rate", "successes over the cases that were right before the attack", direction=lower),
        spec("natural-rate", "successes over the cases that were wrong before the attack"),
        spec(
            "transfer-rate",
            "of the adversarials that fooled the surrogate, the share that fools this model",
            "surrogate_success",
            direction=lower,
        ),
        spec("valid-rate", "share of images that keep to box, budget and region", "valid"),
        spec("mean-l2", "mean L2 distance of the adversarials", "l2", direction=higher),
        spec("mean-linf", "mean L-infinity distance of the adversarials", "linf", direction=higher),
        spec("mean-pass", "mean perceptual similarity of the adversarials", "pass", direction=lower),
        spec("mean-forwards", "mean forward passes per case", "forwards", unit="passes"),
        spec("mean-backwards", "mean backward passes per case", "backwards", unit="passes"),
        spec("mean-seconds", "mean time per case", "seconds", unit="s"),
    ]
