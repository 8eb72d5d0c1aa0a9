"""Judges hold what the paper states of optimal and learned classifiers against records.

Richardson and Weiss, A Bayes-Optimal View on Adversarial Examples. Each function yields a finding for every
comparison that the records of one family of data sets allow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.analysis.claims import Finding, Missing, within
from harness.analysis.drawing import number, percent, points
from harness.errors import HarnessError
from harness.metrics import Estimate
from harness.metrics.paired import ratio_of_means
from harness_bayes.analyses.accuracies import accuracies, accuracy_difference, accuracy_text
from harness_bayes.analyses.attack_agreement import CARLINI, pairs_of
from harness_bayes.analyses.capacity import curves_of
from harness_bayes.analyses.families import Family
from harness_bayes.analyses.pixel_change import change_of
from harness_bayes.analyses.quoted import ALMOST_INDISTINGUISHABLE, PERCEPTIBLE, WITHIN_GREY_LEVELS, published
from harness_bayes.analyses.study import CLOSEST, CNN, LINEAR, OPTIMAL, RBF, TRADES, Attacked
from harness_bayes.analyses.subspace_distance import halves_of
from harness_bayes.analyses.training_data import sides_of
from harness_bayes.analyses.variants import wider_kernels

SYMMETRIC, ASYMMETRIC, REAL = "symmetric", "asymmetric", "real"
Judged = Iterator[Finding | Missing]


@dataclass(frozen=True)
class Bars:
    """Bars say from where on a claim holds; the paper's words are vaguer than these numbers."""

    near: float = 0.99
    """The least accuracy that is near 100 %."""
    accurate: float = 0.95
    """The least accuracy of a model that is called brittle."""
    rbf: float = 0.86
    """The least accuracy of an RBF SVM: the lowest of table 1."""
    part: float = 0.5
    """The most that "much less" is, of a mean L2 over another; robust is at least as much of the optimum."""
    tolerance: float = 0.15
    """How far from 1 L2 over half the subspace distance may be."""
    gain: float = 1.2
    """The most that a larger CNN's mean L2 may be, over the smallest one's."""
    agreement: float = 1.25
    """The most that one mean L2 may be over another that is called similar."""
    contrast: float = 1.5
    """The least that the Bayes-optimal model's mean L2 on symmetric data may be, over that on asymmetric."""
    loss: float = 0.05
    """The most accuracy that training on samples may cost, and that two similar accuracies differ by."""
    majority: float = 0.9
    """The least share of values that is "the vast majority"; "many" are more than what this leaves."""
    around: float = 0.5
    """How far below 3 a mean L2 still is "around 3"."""

    @property
    def told(self) -> dict[str, str]:
        """What the conditions of claims call them."""
        bars = vars(self) | {"indistinguishable": ALMOST_INDISTINGUISHABLE, "levels": WITHIN_GREY_LEVELS}
        bars |= {"perceptible": PERCEPTIBLE - self.around}
        shares = ("near", "accurate", "rbf", "tolerance", "majority")
        told = {name: f"{100 * bar:g} %" if name in shares else f"{bar:g}" for name, bar in bars.items()}
        return told | {"loss": f"{100 * self.loss:g} points"}


# --- parts of comparisons ---------------------------------------------------------------------------------


def _ratio(
    family: Family, first: Attacked, second: Attacked, what: str, *, paired: bool = True, **bars: Any
) -> Finding | Missing:
    """Judge the first mean L2 over the second by ``bars``, bounds of ``within``; accuracies are told, too."""
    l2 = [number(item.l2.value) if item.l2.value is not None else "none" for item in (first, second)]
    ratio = ratio_of_means(first.broken, second.broken, paired=paired)
    what = f"{what} ({accuracy_text(family.study, first, second)}): L2 {l2[0]} / {l2[1]} ="
    return within(ratio, what, used=(first, second), **bars)


def _models(first: Attacked, second: Attacked) -> str:
    return f"{first.model.label} / {second.model.label} on {first.data.label}"


def _accuracy(
    family: Family, item: Attacked, at_least: float, at_most: float = float("inf"), note: str = ""
) -> Finding | Missing:
    of, (score,) = accuracies(family.study, item)
    what = f"{item.name}: accuracy{note} ({of}, n = {score.n:,})"
    return within(score, what, at_least=at_least, at_most=at_most, form=percent, used=(item,))


def _accuracy_gap(family: Family, first: Attacked, second: Attacked, what: str, **bars: Any) -> Any:
    """Judge the first accuracy minus the second by ``bars``, bounds of ``within``."""
    of, scores = accuracies(family.study, first, second)
    told = [percent(score.value) if score.value is not None else "none" for score in scores]
    gap = accuracy_difference(first, second, of, scores)
    what = f"{what}: accuracy ({of}) {told[0]} − {told[1]} ="
    return within(gap, what, form=points, used=(first, second), **bars)


def _carlini_alone(family: Family, item: Attacked) -> str:
    """Return what CW-L2 alone found on a model, the paper's attack on CNNs; nothing where that is meant."""
    if item.attack != CLOSEST:
        return ""
    own = [
        other
        for other in family.study.attacked
        if (other.data, other.model.label, other.attack_kind) == (item.data, item.model.label, CARLINI)
    ]
    told = [f"{other.attack} alone {_mean_text(other.l2)}" for other in own]
    return f" [{', '.join(told) or 'CW-L2 was not run'}]"


def _mean_text(l2: Estimate) -> str:
    return "none" if l2.value is None else f"{number(l2.value)} of {l2.n:,}"


# --- what is optimal --------------------------------------------------------------------------------------


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
                yield _ratio(family, weak, strong, what, paired=False, at_most=1 / bars.contrast)
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


def few_levels(family: Family, bars: Bars) -> Judged:
    """Where the mean L2 of faces is small, nearly all values change by few levels; else many by more."""
    for item in family.items:
        l2 = item.l2.value
        if item.data.attribute is None or l2 is None:
            continue
        if l2 < ALMOST_INDISTINGUISHABLE:
            bounds: dict[str, Any] = {"at_least": bars.majority}
        elif l2 >= PERCEPTIBLE - bars.around:
            bounds = {"at_most": bars.majority}
        else:
            continue
        try:
            share = change_of(family.study.results, item).within
        except HarnessError as error:
            yield Missing(str(error).partition(": ")[2])
            return
        what = f"{item.name} (L2 {number(l2)}): values within {WITHIN_GREY_LEVELS} levels"
        yield within(share, what, form=percent, used=(item,), **bounds)


# --- what is learned --------------------------------------------------------------------------------------


def brittle(family: Family, bars: Bars, kind: str) -> Judged:
    """A kind of model is accurate, and needs at most half of the optimal L2."""
    for item, optimal in family.pairs(SYMMETRIC, kind, OPTIMAL):
        note = _carlini_alone(family, item) if kind == CNN else ""
        yield _ratio(family, item, optimal, _models(item, optimal) + note, at_most=bars.part)
        yield _accuracy(family, item, bars.accurate)


def rbf_robust(
    family: Family, bars: Bars, group: str = SYMMETRIC, others: tuple[str, ...] = (CNN,)
) -> Judged:
    """RBF SVMs need more L2 than others on data sets of a group."""
    for other in others:
        for first, second in family.pairs(group, RBF, other):
            yield _ratio(family, first, second, _models(first, second), at_least=1.0, strict=True)


def rbf_near_optimal(family: Family, bars: Bars) -> Judged:
    """RBF SVMs are accurate, and need at least half of the optimal L2."""
    for item, optimal in family.pairs(SYMMETRIC, RBF, OPTIMAL):
        yield _ratio(family, item, optimal, _models(item, optimal), at_least=bars.part)
        yield _accuracy(family, item, bars.rbf)


def wide_is_linear(family: Family, bars: Bars) -> Judged:
    """RBF SVMs of too wide a kernel are as robust and as accurate as linear ones."""
    for linear in family.of(SYMMETRIC, LINEAR):
        own = [item for item in family.items if item.data == linear.data and item.model.kind == RBF]
        wide = wider_kernels([item.model for item in own])
        for item in (item for item in own if item.model in wide and item.attack == linear.attack):
            what = _models(item, linear)
            low, high = 1 / bars.agreement, bars.agreement
            yield _ratio(family, item, linear, what, at_least=low, at_most=high)
            yield _accuracy_gap(family, item, linear, what, at_least=-bars.loss, at_most=bars.loss)


def no_gain(family: Family, bars: Bars, variable: str) -> Judged:
    """CNNs that are larger in one parameter need no more L2."""
    for curve in curves_of(family.study, family.attack):
        if curve.variable == variable and curve.data in family.data:
            (least, small), *more = curve.points
            for value, large in more:
                setting = "all" if value is None else f"{value:g}"
                what = f"{curve.data.label}, {variable} {setting} / {least:g}"
                yield _ratio(family, large, small, what, at_most=bars.gain)


def trades_costs(family: Family, bars: Bars) -> Judged:
    """The most robust TRADES model needs more L2 than the plain CNN, and is less accurate."""
    for data in family.data:
        plain = [item for item in family.of(data.group, CNN) if item.data == data]
        trained = [item for item in family.items if item.data == data and item.model.kind == TRADES]
        if not plain or not trained:
            continue
        trades, cnn = max(trained, key=lambda item: item.l2.value or 0.0), plain[0]
        yield _ratio(family, trades, cnn, _models(trades, cnn), at_least=1.0, strict=True)
        what = f"{trades.model.label} − {cnn.model.label} on {data.label}"
        yield _accuracy_gap(family, trades, cnn, what, at_most=0.0, strict=True)


def attacks_agree(family: Family, bars: Bars) -> Judged:
    """The gradient attack and CW-L2 find similar distances."""
    low, high = 1 / bars.agreement, bars.agreement
    for both in pairs_of(family.study):
        item = both.gradient
        if item.data in family.data and item.model.kind in (OPTIMAL, LINEAR, RBF):
            what = f"{item.name}: {item.attack} / {both.carlini.attack}"
            yield within(both.ratio, what, at_least=low, at_most=high, used=(item, both.carlini))


# --- real images ------------------------------------------------------------------------------------------


def as_published(family: Family, bars: Bars) -> Judged:
    """Models of real images are about as accurate as in table 2."""
    for kind in (CNN, LINEAR, RBF):
        for item in family.of(REAL, kind):
            quote = published(item.data, kind)
            if quote is not None:
                goal = quote[0].value / 100
                note = f", published {quote[0].value:g} %,"
                yield _accuracy(family, item, goal - bars.loss, goal + bars.loss, note)


def samples_suffice(family: Family, bars: Bars) -> Judged:
    """A CNN that learned from samples is nearly as accurate on real images as one that did from these."""
    plain = {item.model.label for item in family.of(REAL, CNN)}
    for real, moved in sides_of(family.study, family.attack):
        if real is None or moved is None or real.data not in family.data or real.model.label not in plain:
            continue
        what = f"{real.name} − {moved.data.label}"
        yield _accuracy_gap(family, real, moved, what, at_most=bars.loss)
