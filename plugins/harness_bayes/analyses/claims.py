"""The claims are what the paper states of optimal and learned classifiers; records judge them.

Richardson and Weiss, A Bayes-Optimal View on Adversarial Examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.analysis.claims import Claim, Finding, Missing, within
from harness.analysis.drawing import number, percent, points
from harness.errors import HarnessError
from harness.metrics.paired import newcombe, ratio_of_means
from harness_bayes.analyses.accuracies import accuracies
from harness_bayes.analyses.attack_agreement import pairs_of
from harness_bayes.analyses.capacity import curves_of
from harness_bayes.analyses.families import Family
from harness_bayes.analyses.quoted import ALMOST_INDISTINGUISHABLE
from harness_bayes.analyses.study import CLOSEST, CNN, LINEAR, OPTIMAL, RBF, TRADES, Attacked
from harness_bayes.analyses.subspace_distance import halves_of

SYMMETRIC, ASYMMETRIC, REAL = "symmetric", "asymmetric", "real"
Judged = Iterator[Finding | Missing]


@dataclass(frozen=True)
class Bars:
    """Bars say from where on a claim holds; the paper's words are vaguer than these numbers."""

    near: float = 0.99
    """The least accuracy that is near 100 %."""
    accurate: float = 0.95
    """The least accuracy of a model that is called brittle."""
    part: float = 0.5
    """The most that "much less" is, of a mean L2 over another."""
    tolerance: float = 0.15
    """How far from 1 L2 over half the subspace distance may be."""
    gain: float = 1.2
    """The most that a larger CNN's mean L2 may be, over the smallest one's."""
    agreement: float = 1.25
    """The most that one attack's mean L2 may be, over the other's."""
    contrast: float = 1.5
    """The least that the Bayes-optimal model's mean L2 on symmetric data may be, over that on asymmetric."""

    @property
    def told(self) -> dict[str, str]:
        """What the conditions of claims call them."""
        bars = vars(self) | {"indistinguishable": ALMOST_INDISTINGUISHABLE}
        shares = ("near", "accurate", "tolerance")
        return {name: f"{100 * bar:g} %" if name in shares else f"{bar:g}" for name, bar in bars.items()}


def _ratio(first: Attacked, second: Attacked, what: str, *, paired: bool = True, **bars: Any) -> Any:
    """Judge the first mean L2 over the second by ``bars``, bounds of ``within``."""
    l2 = [number(item.l2.value) if item.l2.value is not None else "none" for item in (first, second)]
    ratio = ratio_of_means(first.broken, second.broken, paired=paired)
    return within(ratio, f"{what}: L2 {l2[0]} / {l2[1]} =", used=(first, second), **bars)


def _models(first: Attacked, second: Attacked) -> str:
    return f"{first.model.label} / {second.model.label} on {first.data.label}"


def _accuracy(family: Family, item: Attacked, bar: float) -> Finding | Missing:
    of, (score,) = accuracies(family.study, item)
    what = f"{item.name}: accuracy ({of}, n = {score.n:,})"
    return within(score, what, at_least=bar, form=percent, used=(item,))


def optimal_accurate(family: Family, bars: Bars) -> Judged:
    """The Bayes-optimal model's accuracy is near 100 %."""
    for item in family.of(SYMMETRIC, OPTIMAL):
        yield _accuracy(family, item, bars.near)


def asymmetric_weaker(family: Family, bars: Bars) -> Judged:
    """The Bayes-optimal model needs far less L2 on asymmetric data."""
    for weak in family.of(ASYMMETRIC, OPTIMAL):
        for strong in family.of(SYMMETRIC, OPTIMAL):
            if weak.attack == CLOSEST or (weak.attack, weak.threat) == (strong.attack, strong.threat):
                what = f"{weak.data.label} / {strong.data.label}"
                # The images of one id are different ones.
                yield _ratio(weak, strong, what, paired=False, at_most=1 / bars.contrast)
        if weak.data.attribute is not None:
            bar = ALMOST_INDISTINGUISHABLE
            yield within(weak.l2, f"{weak.data.label}: mean L2", at_most=bar, strict=True, used=(weak,))


def half_distance(family: Family, bars: Bars) -> Judged:
    """L2 is half the distance to the other class's nearest subspace."""
    try:
        known = halves_of(family.study, family.attack)
    except HarnessError as error:
        yield Missing(str(error).partition(": ")[2])
        return
    low, high = 1 - bars.tolerance, 1 + bars.tolerance
    for halves in known:
        item = halves.item
        if item.data in family.data and item.data.group == SYMMETRIC:
            what = f"{item.data.label}: L2 over half the distance"
            yield within(halves.ratio, what, at_least=low, at_most=high, used=(item,))


def brittle(family: Family, bars: Bars, kind: str) -> Judged:
    """A kind of model is accurate, and needs at most half of the optimal L2."""
    for item, optimal in family.pairs(SYMMETRIC, kind, OPTIMAL):
        yield _ratio(item, optimal, _models(item, optimal), at_most=bars.part)
        yield _accuracy(family, item, bars.accurate)


def rbf_robust(
    family: Family, bars: Bars, group: str = SYMMETRIC, others: tuple[str, ...] = (CNN,)
) -> Judged:
    """RBF SVMs need more L2 than others on data sets of a group."""
    for other in others:
        for first, second in family.pairs(group, RBF, other):
            yield _ratio(first, second, _models(first, second), at_least=1.0, strict=True)


def no_gain(family: Family, bars: Bars, variable: str) -> Judged:
    """CNNs that are larger in one parameter need no more L2."""
    for curve in curves_of(family.study, family.attack):
        if curve.variable == variable and curve.data in family.data:
            (least, small), *more = curve.points
            for value, large in more:
                setting = "all" if value is None else f"{value:g}"
                what = f"{curve.data.label}, {variable} {setting} / {least:g}"
                yield _ratio(large, small, what, at_most=bars.gain)


def trades_costs(family: Family, bars: Bars) -> Judged:
    """The most robust TRADES model needs more L2 than the plain CNN, and is less accurate."""
    for data in family.data:
        plain = [item for item in family.of(data.group, CNN) if item.data == data]
        trained = [item for item in family.items if item.data == data and item.model.kind == TRADES]
        if not plain or not trained:
            continue
        trades, cnn = max(trained, key=lambda item: item.l2.value or 0.0), plain[0]
        yield _ratio(trades, cnn, _models(trades, cnn), at_least=1.0, strict=True)
        of, scores = accuracies(family.study, trades, cnn)
        told = [percent(score.value) if score.value is not None else "none" for score in scores]
        names = f"{trades.model.label} − {cnn.model.label} on {data.label}"
        what = f"{names}: accuracy ({of}) {told[0]} − {told[1]} ="
        yield within(newcombe(*scores), what, at_most=0.0, strict=True, form=points, used=(trades, cnn))


def attacks_agree(family: Family, bars: Bars) -> Judged:
    """The gradient attack and CW-L2 find similar distances."""
    low, high = 1 / bars.agreement, bars.agreement
    for both in pairs_of(family.study):
        item = both.gradient
        if item.data in family.data and item.model.kind in (OPTIMAL, LINEAR, RBF):
            what = f"{item.name}: {item.attack} / {both.carlini.attack}"
            yield within(both.ratio, what, at_least=low, at_most=high, used=(item, both.carlini))


CLAIMS = (
    Claim(
        "the Bayes-optimal classifier is right on nearly all samples of symmetric data",
        short="Bayes-optimal: accuracy near 100 %",
        paper="100 % on all 15 symmetric data sets (table 1)",
        conditions="accuracy on symmetric samples of at least {near}",
        judge=optimal_accurate,
        missing="the Bayes-optimal model was not attacked on symmetric samples",
    ),
    Claim(
        "asymmetric data make the Bayes-optimal classifier vulnerable",
        short="asymmetric: far less L2 than symmetric",
        paper="faces: below 1.5 asymmetric, about 3 symmetric (section 2.1, figures 1 and 4)",
        conditions="mean L2 of the Bayes-optimal model on symmetric data at least {contrast} times that on "
        "asymmetric; of faces also below {indistinguishable} on asymmetric data",
        judge=asymmetric_weaker,
        missing="the Bayes-optimal model was not attacked on both kinds of samples",
    ),
    Claim(
        "what fools the Bayes-optimal classifier is half the distance to the other class's nearest subspace",
        short="L2 is half the subspace distance",
        paper="Male: mean distance 6.2, mean L2 3 (figure 11, appendix D.1); other symmetric data sets the "
        "same",
        conditions="mean over cases of L2 over half the distance within {tolerance} of 1, on symmetric "
        "samples",
        judge=half_distance,
        missing="no distances are known of symmetric samples that were attacked",
    ),
    Claim(
        "CNNs are accurate and brittle where the optimal classifier is robust",
        short="CNN: accurate, at most half of the L2",
        paper="accuracy 98 to 100 % on all 15 symmetric data sets, vulnerable on all (table 1, figure 6, "
        "which gives no numbers of L2)",
        conditions="symmetric samples: mean L2 at most {part} of the Bayes-optimal model's, accuracy at "
        "least {accurate}; the CNN that others are variants of",
        judge=partial(brittle, kind=CNN),
        missing="no CNN was attacked beside the Bayes-optimal model on symmetric samples",
    ),
    Claim(
        "linear SVMs are accurate and brittle where the optimal classifier is robust",
        short="linear SVM: accurate, at most half of the L2",
        paper="accuracy 100 % on all 15 symmetric data sets, vulnerable on all (table 1, figure 6, which "
        "gives no numbers of L2)",
        conditions="symmetric samples: mean L2 at most {part} of the Bayes-optimal model's, accuracy at "
        "least {accurate}",
        judge=partial(brittle, kind=LINEAR),
        missing="no linear SVM was attacked beside the Bayes-optimal model on symmetric samples",
    ),
    Claim(
        "RBF SVMs are more robust than CNNs on the same data",
        short="RBF SVM: more L2 than CNN",
        paper="consistently robust, at accuracies of 86 to 100 % (section 3, table 1, figure 6; no numbers "
        "of L2)",
        conditions="symmetric samples: mean L2 of the RBF SVM over the CNN's above 1",
        judge=rbf_robust,
        missing="no RBF SVM was attacked beside a CNN on symmetric samples",
    ),
    Claim(
        "wider CNNs are not more robust",
        short="CNN: width does not help",
        paper="no improvement by the number of filters (section 3, figure 8; no numbers)",
        conditions="CNNs that differ in width alone: mean L2 of each at most {gain} of the narrowest one's",
        judge=partial(no_gain, variable="width"),
        missing="no two CNNs differ in width alone",
    ),
    Claim(
        "deeper CNNs are not more robust",
        short="CNN: depth does not help",
        paper="no improvement by the number of layers (section 3, figure 8; no numbers)",
        conditions="CNNs that differ in depth alone: mean L2 of each at most {gain} of the shallowest one's",
        judge=partial(no_gain, variable="depth"),
        missing="no two CNNs differ in depth alone",
    ),
    Claim(
        "more training images do not make CNNs more robust",
        short="CNN: more images do not help",
        paper="no significant improvement up to 1 million images (section 3, figure 8; no numbers)",
        conditions="CNNs that differ in training images alone: mean L2 of each at most {gain} of that of the "
        "fewest",
        judge=partial(no_gain, variable="images"),
        missing="no two CNNs differ in training images alone",
    ),
    Claim(
        "adversarial training buys robustness with accuracy",
        short="TRADES: robustness for accuracy",
        paper="depending on β robust, at lowered accuracy (section 3, figure 8 right; no numbers)",
        conditions="the β of the largest mean L2: mean L2 over the plain CNN's above 1, and accuracy below "
        "the plain CNN's",
        judge=trades_costs,
        missing="no CNN was trained by TRADES beside a plain one",
    ),
    Claim(
        "the gradient attack and CW-L2 find similar distances",
        short="gradient attack and CW-L2 agree",
        paper="similar perturbation magnitudes (section 2.1, appendix C.2; no numbers)",
        conditions="Bayes-optimal and SVMs, cases that both broke: mean L2 of the gradient attack over "
        "CW-L2's between 1/{agreement} and {agreement}",
        judge=attacks_agree,
        missing="no such model was attacked by a gradient attack and CW-L2",
    ),
    Claim(
        "on real images the models stand in the same order",
        short="real images: RBF SVM above CNN, linear",
        paper="CNN and linear SVM vulnerable, RBF SVM robust (section 3, figure 9; no numbers)",
        conditions="real images: mean L2 of the RBF SVM over the CNN's and over the linear SVM's above 1",
        judge=partial(rbf_robust, group=REAL, others=(CNN, LINEAR)),
        missing="no RBF SVM was attacked beside a CNN or a linear SVM on real images",
    ),
)
