"""The claims are what the paper states of robust verifiers; records judge them.

Arvinte et al., Robust Face Verification via Disentangled Representations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.analysis import Analysis, claims as kit
from harness.analysis.comparisons import Attacked
from harness.results import Results
from harness_biometrics.analyses import claimed_attacks, claimed_recipes
from harness_biometrics.analyses.evidence import Evidence
from harness_biometrics.analyses.study import read_study

CLAIMS = (*claimed_recipes.CLAIMS, *claimed_attacks.CLAIMS)


def run(results: Results) -> Analysis:
    """Judge the paper's claims: one row per claim and data set.

    ``paper`` and ``ours`` give the figures in words. ``verdict`` is "holds" if every one of the
    ``comparisons`` that could be made clearly holds, by the 95 % interval of its difference over persons;
    "does not hold" if one is clearly against it; and else "cannot be judged". ``held``, ``undecided`` and
    ``against`` count them. ``coverage`` is the smallest share of planned cases that any number rests on.
    ``detail`` names the attacks that stop once a case is accepted: areas under them are too large.

    Raises:
        HarnessError: no comparisons are stored.
    """
    verifiers = read_study(results)
    places = dict.fromkeys((verifier.dataset, verifier.stand_in_for) for verifier in verifiers)
    subjects = [
        Evidence(
            *place,
            tuple(one for one in verifiers if (one.dataset, one.stand_in_for) == place),
            tuple(verifiers),
        )
        for place in places
    ]
    table = kit.table(CLAIMS, subjects, None, _reservations)
    return Analysis(table, kit.figure(table, CLAIMS, columns="dataset"))


def _reservations(used: Sequence[Any]) -> Iterable[str]:
    early = [one.name for one in used if isinstance(one, Attacked) and one.stops_early]
    if early:
        yield f"areas are flattered by attacks that stop at their goal: {', '.join(early)}"
