"""The claims are what the paper states of attribute networks and their attacks; records judge them.

Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis import Analysis, claims as kit
from harness.results import Results
from harness_attributes.analyses import (
    claimed_correlation,
    claimed_errors,
    claimed_flips,
    claimed_training,
)
from harness_attributes.analyses.evidence import Bars, Evidence
from harness_attributes.analyses.flippability import TABLE_1
from harness_attributes.analyses.study import read_study

CLAIMS = (
    *claimed_flips.CLAIMS,
    *claimed_correlation.CLAIMS,
    *claimed_training.CLAIMS,
    *claimed_errors.CLAIMS,
)


def run(results: Results, *, threshold: float = 0.95, thresholds: Sequence[float] = TABLE_1) -> Analysis:
    """Judge the paper's claims: one row per claim and data set.

    ``paper`` and ``ours`` give the figures in words. ``verdict`` is "holds" if every one of the
    ``comparisons`` that could be made clearly holds, by the 95 % interval of its difference; "does not hold"
    if one is clearly against it; and else "cannot be judged". ``held``, ``undecided`` and ``against`` count
    them: of many comparisons, one in twenty lies outside its interval by chance. ``coverage`` is the smallest
    share of planned cases that any number rests on. ``detail`` names the comparisons that do not.

    Args:
        threshold: of PASS, from which on a flip counts as adversarial.
        thresholds: of PASS, for what is claimed of every threshold.

    Raises:
        HarnessError: nothing flips attributes, or PASS was not measured.
    """
    study = read_study(results, (threshold, *thresholds), transfers=True)
    subjects = [Evidence(study, *dataset) for dataset in study.datasets]
    return Analysis(kit.table(CLAIMS, subjects, Bars(threshold, sorted(thresholds))))
