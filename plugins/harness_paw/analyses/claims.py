"""The claims are what the paper states of the cascade; cards and records judge them (Ding et al.)."""

from __future__ import annotations

from harness.analysis import Analysis, claims as kit
from harness.results import Results
from harness_paw.analyses import claimed_accuracy, claimed_layers, claimed_robustness
from harness_paw.analyses.study import read_studies

CLAIMS = (*claimed_accuracy.CLAIMS, *claimed_layers.CLAIMS, *claimed_robustness.CLAIMS)


def run(results: Results) -> Analysis:
    """Judge the paper's claims: one row per data set and claim.

    ``paper`` and ``ours`` give the figures in words. ``verdict`` is "holds" if every one of the
    ``comparisons`` that could be made clearly holds, "does not hold" if one is clearly against it, and else
    "cannot be judged"; ``held``, ``undecided`` and ``against`` count them, and ``detail`` names those that do
    not clearly hold. What is clear follows from 95 % intervals, and of a single network's weights from the
    bounds that ``conditions`` tells.

    Raises:
        HarnessError: no model of the cascade is in the suite.
    """
    table = kit.table(CLAIMS, read_studies(results))
    return Analysis(table, kit.figure(table, CLAIMS, columns="dataset"))
