"""Ratios: one mean over another, with a percentile bootstrap over images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.metrics import NOTHING, Estimate

Floats = npt.NDArray[np.float64]
RESAMPLES = 1000
GROUPS = 2000  # more images are dealt into so many groups, and groups are resampled
SEED = 0


def ratio_of_means(first: pd.DataFrame, second: pd.DataFrame, *, paired: bool = True) -> Estimate:
    """Mean ``l2`` of the first over that of the second, ``n`` being the smaller number of cases.

    Args:
        first: columns sample_id, l2.
        second: the same.
        paired: an image of one id is the same in both, and is resampled in both at once.
    """
    if first.empty or second.empty:
        return NOTHING
    value = float(first["l2"].mean() / second["l2"].mean())
    n = min(len(first), len(second))
    if n == 1:
        return Estimate(value, None, None, n)
    if paired:
        codes, _ = pd.factorize(pd.concat([first["sample_id"], second["sample_id"]]))
        groups = int(codes.max()) + 1
        weights = _weights(groups, 0)
        above, below = codes[: len(first)], codes[len(first) :]
        means = [_means(own["l2"], at, weights, groups) for own, at in ((first, above), (second, below))]
    else:
        means = []
        for stream, own in enumerate((first, second)):
            codes, _ = pd.factorize(own["sample_id"])
            groups = int(codes.max()) + 1
            means.append(_means(own["l2"], codes, _weights(groups, stream), groups))
    # A resample may hold no case of one side, where the sides share few images: it says nothing.
    low, high = np.nanquantile(means[0] / means[1], [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)


def _weights(groups: int, stream: int) -> Floats:
    """How often each resample draws each group, (1000, min(groups, 2000))."""
    held = min(groups, GROUPS)
    rng = np.random.default_rng([SEED, stream, groups])
    return rng.multinomial(held, np.full(held, 1 / held), size=RESAMPLES).astype(np.float64)


def _means(values: pd.Series[Any], codes: npt.NDArray[np.intp], weights: Floats, groups: int) -> Floats:
    """The mean of each resample, (1000,); NaN where it holds no case."""
    held = weights.shape[1]
    if groups > held:
        codes = (np.random.default_rng(SEED).permutation(groups) % held)[codes]
    totals = weights @ np.bincount(codes, weights=values.to_numpy(float), minlength=held)
    counts = weights @ np.bincount(codes, minlength=held).astype(np.float64)
    found: Floats = np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0)
    return found
