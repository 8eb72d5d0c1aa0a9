"""Operating points are the thresholds of a suite: what each was chosen for, and what it lets through here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.analysis import Analysis
from harness.analysis.comparisons import Attacked, Verifier
from harness.analysis.reading import estimate_columns, typed
from harness.errors import HarnessError
from harness.metrics import NOTHING, Estimate, verification as v
from harness.metrics.resampling import Resampled
from harness.results import Results
from harness_biometrics.analyses.study import Curve, curves, read_study

STORED = ("squared_euclidean", "cosine", "false_matches", "impostors", "identities", "flag")


def run(results: Results) -> Analysis:
    """Compute the error rates and the attack success at each threshold, with 95 % intervals over persons.

    Rows: model without an attack ("clean") or under one x threshold. ``chosen_for`` is the FMR that the
    threshold was calibrated for (empty where it was given); what it rests on stands beside it, and ``flag``.
    ``fmr`` and ``fnmr`` (``far`` and ``frr`` are the same) are of the clean comparisons of the attacked
    split. ``success`` is the share of attacked cases that reach their goal there: an intruder is
    accepted, or a person is rejected. Intervals take thresholds as given. In a transfer, ``surrogate`` is the
    model on which the adversarials were made, and ``model`` the victim, whose threshold it is.

    Raises:
        HarnessError: no comparisons or no thresholds are stored.
    """
    rows = [row for verifier in read_study(results) for row in rows_of(verifier)]
    if not rows:
        raise HarnessError(f"{results.path}: no thresholds are stored; run the suite again to write them")
    return Analysis(typed(rows, ("attack", "threat", "goal", "flag", "surrogate")))


def rows_of(verifier: Verifier) -> list[dict[str, Any]]:
    """Return a row for each threshold of a model, without an attack and under each."""
    clean = Curve(verifier, None).sampled
    return [
        _row(clean, curve, stored)
        for curve in curves(verifier, transfers=True)
        for stored in verifier.thresholds.to_dict("records")
    ]


def _row(clean: Resampled, curve: Curve, stored: Mapping[Any, Any]) -> dict[str, Any]:
    threshold = float(stored["threshold"])
    row = curve.identity | {"surrogate": curve.surrogate}
    row |= {"chosen_for": stored.get("fmr"), "threshold": threshold}
    row |= {name: stored.get(name) for name in STORED}
    for names, rate in ((("fmr", "far"), v.fmr), (("fnmr", "frr"), v.fnmr)):
        found = clean.estimate(partial(rate, threshold=threshold))
        row |= estimate_columns(names[0], found) | {names[1]: found.value}
    reached = NOTHING if curve.attacked is None else success(curve.attacked, threshold)
    return row | estimate_columns("success", reached) | {"cases": reached.n}


def success(attacked: Attacked, threshold: float) -> Estimate:
    """Return the share of attacked cases that reach their goal at a threshold."""
    rate = v.fmr if attacked.goal == "impersonate" else v.fnmr
    return Resampled(attacked.compared, [threshold]).estimate(partial(rate, threshold=threshold))
