"""Optimality claims judge what the paper states of optimal and learned classifiers."""

from __future__ import annotations

from harness.analysis import Analysis, claims, drawing
from harness.results import Results
from harness_bayes.analyses.claims import CLAIMS
from harness_bayes.analyses.families import families, reservations
from harness_bayes.analyses.judges import Bars
from harness_bayes.analyses.study import CLOSEST, read_study

DEFAULT = Bars()


def run(results: Results, *, attack: str = CLOSEST, bars: Bars = DEFAULT) -> Analysis:
    """Judge the paper's claims: one row per claim and task (data sets of the same images and classes).

    ``paper`` and ``ours`` give the figures in words, ``conditions`` from where on a claim is said to hold.
    ``verdict`` is "holds" if every one of the ``comparisons`` that could be made clearly holds, "does not
    hold" if one is clearly against it, "cannot be judged" else; ``held``, ``undecided`` and ``against``
    count them. Clear is what the 95 % interval over images, or persons where they are known, leaves no
    doubt of. ``coverage`` is the smallest share of planned cases that any number rests on.
    ``detail`` has the reasons and reservations.

    Args:
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks, and so is
            as fair to models that other attacks suit.
        bars: from where on claims hold.

    Raises:
        HarnessError: nothing tells two classes apart, or there is no such attack.
    """
    table = claims.table(CLAIMS, families(read_study(results), attack), bars, reservations)
    figure = claims.figure(table, CLAIMS)
    drawing.title(figure, "Claims of the Bayes-optimal study on these records")
    return Analysis(table, figure)
