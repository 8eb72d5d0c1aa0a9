"""The numbers of verification: one row for each model without an attack, and one under each attack."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from harness.analysis import Analysis
from harness.analysis.comparisons import Attacked, Verifier
from harness.analysis.reading import estimate_columns, typed
from harness.metrics import NOTHING, Estimate, verification as v
from harness.metrics.resampling import Resampled
from harness.results import Results
from harness_biometrics.analyses.study import ENOUGH, METRICS, Curve, curves, read_study


def run(results: Results) -> Analysis:
    """Compute all verification metrics, with 95 % intervals over persons.

    Rows: model without an attack ("clean") and under each attack, threat and goal. Of an impersonation, the
    attacked impostor comparisons stand against the clean genuine ones; of an evasion, the attacked genuine
    comparisons against the clean impostors. ``auc_roc``, ``eer`` (with ``eer_threshold``), ``d_prime`` and
    ``tar_at_fmr_0.1`` to ``_0.0001`` are what the field calls them; the last are empty where too few impostor
    comparisons could tell the rate from 0. ``average_precision`` is of genuine comparisons,
    ``average_precision_intruders`` of intruders, and ``pr_area_of_rates`` what Arvinte et al. call the area
    under the precision-recall curve. ``accuracy_of_folds`` is the mean over ``folds``, whose thresholds are
    chosen on the other folds, and ``accuracy_standard_error`` its standard error.

    Of impersonations, ``fmr_for_5`` is the FMR of the largest threshold at which at most 5 % of the attacked
    cases are accepted, and ``fnmr_for_5`` the FNMR that it costs. Of evasions, ``evaded_at_fnmr_5`` and
    ``evaded_at_fmr_5`` are the shares of attacked cases that are rejected at the threshold where 5 % of the
    genuine, and of the impostor, comparisons of the calibration split are errors. ``stops_early`` says
    that the attack stops once a case reaches its goal: at stricter thresholds it is then underrated.
    In a transfer, ``surrogate`` is the model on which the adversarials were made, and ``model`` the victim.

    Raises:
        HarnessError: no comparisons are stored.
    """
    rows = [row_of(curve) for verifier in read_study(results) for curve in curves(verifier, transfers=True)]
    return Analysis(typed(rows, ("attack", "threat", "goal", "surrogate")))


def row_of(curve: Curve) -> dict[str, Any]:
    """Return the numbers of a model without an attack, or under one."""
    sampled, counts = curve.sampled, curve.sampled.counts
    row = curve.identity | {
        "surrogate": curve.surrogate,
        "genuine": int(counts.genuine.sum()),
        "impostors": int(counts.impostor.sum()),
        "persons": sampled.persons,
        "coverage": curve.coverage,
    }
    for metric in METRICS:
        row |= estimate_columns(metric.column, sampled.estimate(metric.measured, share=metric.share))
    row["eer_threshold"] = counts.threshold(int(v.equal_error(counts).place))
    row |= _folds(curve)
    row |= _goals(curve.verifier, curve.attacked)
    return row


def _folds(curve: Curve) -> dict[str, Any]:
    found = curve.verifier.fold_accuracy if curve.attacked is None else None
    return {
        "accuracy_of_folds": None if found is None else found.mean,
        "accuracy_standard_error": None if found is None else found.standard_error,
        "folds": None if found is None else found.folds,
    }


def _goals(verifier: Verifier, attacked: Attacked | None) -> dict[str, Any]:
    cost = keeping(verifier, attacked) if attacked and attacked.goal == "impersonate" else (NOTHING, NOTHING)
    row = estimate_columns("fmr_for_5", cost[0]) | estimate_columns("fnmr_for_5", cost[1])
    for name, threshold in verifier.evasion.items():
        found = evaded(attacked, threshold) if attacked and attacked.goal == "evade" else NOTHING
        row |= estimate_columns(f"evaded_at_{name}_5", found)
    return row | {"stops_early": None if attacked is None else attacked.stops_early}


def evaded(attacked: Attacked, threshold: float) -> Estimate:
    """Return the share of attacked genuine comparisons that are rejected at a threshold."""
    if np.isnan(threshold):
        return NOTHING
    return Resampled(attacked.compared, [threshold]).estimate(partial(v.fnmr, threshold=threshold))


def keeping(verifier: Verifier, attacked: Attacked, success: float = ENOUGH) -> tuple[Estimate, Estimate]:
    """Return the FMR that keeps attack success at or below a share, and the FNMR that it costs.

    Both are of the clean comparisons, at the largest threshold at which no more of the attacked cases are
    accepted; their intervals take that threshold as given.
    """
    threshold = v.threshold_at_fmr(Curve(verifier, attacked).counts, success)
    if np.isnan(threshold):
        return NOTHING, NOTHING
    clean = Resampled(verifier.clean, [threshold])
    match, non_match = (clean.estimate(partial(rate, threshold=threshold)) for rate in (v.fmr, v.fnmr))
    return match, non_match
