"""Optimality claims: what the paper states of optimal and learned classifiers, judged on these records."""

from __future__ import annotations

from harness.analysis import Analysis, claims, drawing
from harness.results import Results
from harness_bayes.analyses.claims import CLAIMS, Bars
from harness_bayes.analyses.families import families, reservations
from harness_bayes.analyses.study import CLOSEST, read_study


def run(
    results: Results,
    *,
    attack: str = CLOSEST,
    near: float = Bars.near,
    accurate: float = Bars.accurate,
    part: float = Bars.part,
    tolerance: float = Bars.tolerance,
    gain: float = Bars.gain,
    agreement: float = Bars.agreement,
    contrast: float = Bars.contrast,
) -> Analysis:
    """The paper's claims, one row per claim and task (data sets made of the same images and classes).

    ``paper`` and ``ours`` give the figures in words, ``conditions`` from where on a claim is said to hold.
    ``verdict`` is "holds" if every one of the ``comparisons`` that could be made holds in the numbers, "does
    not hold" if one does not, "cannot be judged" where none could be made. ``clear`` says whether the 95 %
    intervals leave no doubt. ``coverage`` is the smallest share of planned cases that any number rests on.
    ``detail`` has the reasons and reservations.

    Args:
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks, and so is
            as fair to models that other attacks suit.
        near: the least accuracy that is near 100 %.
        accurate: the least accuracy of a model that is called brittle.
        part: the most that "much less" is, of a mean L2 over another.
        tolerance: how far from 1 L2 over half the subspace distance may be.
        gain: the most that a larger CNN's mean L2 may be, over the smallest one's.
        agreement: the most that one attack's mean L2 may be, over the other's.
        contrast: the least that the Bayes-optimal model's mean L2 on symmetric data may be, over that on
            asymmetric data.

    Raises:
        HarnessError: nothing tells two classes apart, or there is no such attack.
    """
    bars = Bars(near, accurate, part, Bars.indistinguishable, tolerance, gain, agreement, contrast)
    table = claims.table(CLAIMS, families(read_study(results), attack), bars, reservations)
    figure = claims.figure(table, CLAIMS)
    drawing.title(figure, "Claims of the Bayes-optimal study on these records")
    return Analysis(table, figure)
