"""Judgements: each of the paper's claims, held against the records of one task."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import HarnessError
from harness.metrics import Estimate
from harness_bayes.analyses import statements
from harness_bayes.analyses.accuracies import accuracies, newcombe
from harness_bayes.analyses.attack_agreement import pairs_of
from harness_bayes.analyses.capacity import curves_of
from harness_bayes.analyses.evidence import Family, Finding, Missing, within
from harness_bayes.analyses.ratios import ratio_of_means
from harness_bayes.analyses.statements import Bars, Claim
from harness_bayes.analyses.study import CLOSEST, CNN, LINEAR, OPTIMAL, RBF, TRADES, Attacked
from harness_bayes.analyses.subspace_distance import halves_of

SYMMETRIC, ASYMMETRIC, REAL = "symmetric", "asymmetric", "real"
Found = list[Finding | Missing]
Judged = tuple[Claim, Found, str]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _ratio(first: Attacked, second: Attacked, *, paired: bool = True) -> Estimate:
    return ratio_of_means(first.broken, second.broken, paired=paired)


def _l2_text(first: Attacked, second: Attacked) -> str:
    told = [f"{item.l2.value:.2f}" if item.l2.value is not None else "none" for item in (first, second)]
    return f"L2 {told[0]} / {told[1]} ="


def _pair_text(first: Attacked, second: Attacked) -> str:
    return f"{first.model.label} / {second.model.label} on {first.data.label}: {_l2_text(first, second)}"


def _accuracy(family: Family, item: Attacked, bar: float) -> Finding | Missing:
    of, (score,) = accuracies(family.study, item)
    what = f"{item.model.label} on {item.data.label}: accuracy ({of}, n = {score.n:,})"
    return within(score, what, [item], at_least=bar, form=_percent)


def optimal_accurate(family: Family, bars: Bars, attack: str) -> Judged:
    """The Bayes-optimal model's accuracy is near 100 %."""
    found = [_accuracy(family, item, bars.near) for item in family.of(SYMMETRIC, OPTIMAL)]
    return statements.OPTIMAL_ACCURATE, found, "the Bayes-optimal model was not attacked on symmetric samples"


def asymmetric_weaker(family: Family, bars: Bars, attack: str) -> Judged:
    """The Bayes-optimal model needs far less L2 on asymmetric data."""
    found: Found = []
    for weak in family.of(ASYMMETRIC, OPTIMAL):
        for strong in family.of(SYMMETRIC, OPTIMAL):
            if (weak.attack, weak.threat) != (strong.attack, strong.threat) and weak.attack != CLOSEST:
                continue
            what = f"{weak.data.label} / {strong.data.label}: {_l2_text(weak, strong)}"
            # The images of one id are different ones.
            ratio = _ratio(weak, strong, paired=False)
            found.append(within(ratio, what, [weak, strong], at_most=1 / bars.contrast))
        if weak.data.attribute is not None:
            what = f"{weak.data.label}: mean L2"
            found.append(within(weak.l2, what, [weak], at_most=bars.indistinguishable, strict=True))
    return (
        statements.ASYMMETRIC_WEAKER,
        found,
        "the Bayes-optimal model was not attacked on both kinds of samples",
    )


def half_distance(family: Family, bars: Bars, attack: str) -> Judged:
    """L2 is half the distance to the other class's nearest subspace."""
    try:
        known = halves_of(family.study, attack)
    except HarnessError as error:
        return statements.HALF_DISTANCE, [], str(error).partition(": ")[2]
    low, high = 1 - bars.tolerance, 1 + bars.tolerance
    found: Found = []
    for halves in known:
        if halves.item.data in family.data and halves.item.data.group == SYMMETRIC:
            what = f"{halves.item.data.label}: L2 over half the distance"
            found.append(within(halves.ratio, what, [halves.item], at_least=low, at_most=high))
    return statements.HALF_DISTANCE, found, "no distances are known of symmetric samples that were attacked"


def _brittle(family: Family, bars: Bars, kind: str) -> Found:
    found: Found = []
    for item, optimal in family.pairs(SYMMETRIC, kind, OPTIMAL):
        found.append(
            within(_ratio(item, optimal), _pair_text(item, optimal), [item, optimal], at_most=bars.part)
        )
        found.append(_accuracy(family, item, bars.accurate))
    return found


def cnn_brittle(family: Family, bars: Bars, attack: str) -> Judged:
    """CNNs are accurate, and need at most half of the optimal L2."""
    missing = "no CNN was attacked beside the Bayes-optimal model on symmetric samples"
    return statements.CNN_BRITTLE, _brittle(family, bars, CNN), missing


def linear_brittle(family: Family, bars: Bars, attack: str) -> Judged:
    """Linear SVMs are accurate, and need at most half of the optimal L2."""
    missing = "no linear SVM was attacked beside the Bayes-optimal model on symmetric samples"
    return statements.LINEAR_BRITTLE, _brittle(family, bars, LINEAR), missing


def _above(family: Family, group: str, one: str, other: str) -> Found:
    return [
        within(_ratio(first, second), _pair_text(first, second), [first, second], at_least=1.0, strict=True)
        for first, second in family.pairs(group, one, other)
    ]


def rbf_robust(family: Family, bars: Bars, attack: str) -> Judged:
    """RBF SVMs need more L2 than CNNs."""
    missing = "no RBF SVM was attacked beside a CNN on symmetric samples"
    return statements.RBF_ROBUST, _above(family, SYMMETRIC, RBF, CNN), missing


def real_order(family: Family, bars: Bars, attack: str) -> Judged:
    """On real images too, RBF SVMs need more L2 than CNNs and linear SVMs."""
    found = _above(family, REAL, RBF, CNN) + _above(family, REAL, RBF, LINEAR)
    return statements.REAL_ORDER, found, "no RBF SVM was attacked beside a CNN or a linear SVM on real images"


def _no_gain(family: Family, bars: Bars, attack: str, variable: str) -> Found:
    found: Found = []
    for curve in curves_of(family.study, attack):
        if curve.variable != variable or curve.data not in family.data:
            continue
        (least, small), *more = curve.points
        for value, large in more:
            setting = "all" if value is None else f"{value:g}"
            what = f"{curve.data.label}, {variable} {setting} / {least:g}: {_l2_text(large, small)}"
            found.append(within(_ratio(large, small), what, [large, small], at_most=bars.gain))
    return found


def width(family: Family, bars: Bars, attack: str) -> Judged:
    """Wider CNNs need no more L2."""
    return statements.WIDTH, _no_gain(family, bars, attack, "width"), "no two CNNs differ in width alone"


def depth(family: Family, bars: Bars, attack: str) -> Judged:
    """Deeper CNNs need no more L2."""
    return statements.DEPTH, _no_gain(family, bars, attack, "depth"), "no two CNNs differ in depth alone"


def images(family: Family, bars: Bars, attack: str) -> Judged:
    """CNNs trained on more images need no more L2."""
    missing = "no two CNNs differ in training images alone"
    return statements.IMAGES, _no_gain(family, bars, attack, "images"), missing


def trades_costs(family: Family, bars: Bars, attack: str) -> Judged:
    """The most robust TRADES model needs more L2 than the plain CNN, and is less accurate."""
    found: Found = []
    for data in family.data:
        plain = [item for item in family.of(data.group, CNN) if item.data == data]
        trained = [item for item in family.items if item.data == data and item.model.kind == TRADES]
        if not plain or not trained:
            continue
        trades = max(trained, key=lambda item: item.l2.value or 0.0)
        used = [trades, plain[0]]
        found.append(within(_ratio(*used), _pair_text(*used), used, at_least=1.0, strict=True))
        of, scores = accuracies(family.study, *used)
        told = [_percent(score.value) if score.value is not None else "none" for score in scores]
        names = f"{trades.model.label} − {plain[0].model.label} on {data.label}"
        what = f"{names}: accuracy ({of}) {told[0]} − {told[1]} ="
        cost = newcombe(*scores)
        found.append(within(cost, what, used, at_most=0.0, strict=True, form=_points))
    return statements.TRADES_COSTS, found, "no CNN was trained by TRADES beside a plain one"


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def attacks_agree(family: Family, bars: Bars, attack: str) -> Judged:
    """The gradient attack and CW-L2 find similar distances."""
    found: Found = []
    for both in pairs_of(family.study):
        item = both.gradient
        if item.data in family.data and item.model.kind in (OPTIMAL, LINEAR, RBF):
            what = f"{item.model.label} on {item.data.label}: {item.attack} / {both.carlini.attack}"
            used = [item, both.carlini]
            found.append(within(both.ratio, what, used, at_least=1 / bars.agreement, at_most=bars.agreement))
    return statements.ATTACKS_AGREE, found, "no such model was attacked by a gradient attack and CW-L2"


CLAIMS: tuple[Callable[[Family, Bars, str], Judged], ...] = (
    optimal_accurate,
    asymmetric_weaker,
    half_distance,
    cnn_brittle,
    linear_brittle,
    rbf_robust,
    width,
    depth,
    images,
    trades_costs,
    attacks_agree,
    real_order,
)
