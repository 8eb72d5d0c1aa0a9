"""The claims are what the paper states of attribute networks and their attacks; records judge them.

Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.analysis import Analysis, claims as kit
from harness.analysis.claims import Claim, Finding, Missing
from harness.metrics import Estimate, rate
from harness.metrics.paired import difference
from harness.results import Results
from harness_attributes.analyses import flips
from harness_attributes.analyses.evidence import (
    SAME_RUN,
    Evidence,
    first_hit,
    hundredths,
    joined,
    larger,
    named,
    rate_of,
    shared_attributes,
    within,
)
from harness_attributes.analyses.flippability import TABLE_1
from harness_attributes.analyses.progress import paired, transferred
from harness_attributes.analyses.study import EUCLIDEAN, SIGNS, read_study

COLUMNS = (
    "dataset", "stand_in_for", "claim", "paper", "ours", "conditions", "comparisons", "held",
    "holds", "detail", "verdict", "clear", "coverage",
)  # fmt: skip
ANSWERS = {kit.HOLDS: "yes", kit.FAILS: "no", kit.OPEN: "not measured"}
Judged = Iterator[Finding | Missing]


@dataclass(frozen=True)
class Bars:
    """The thresholds of PASS that claims are judged at."""

    threshold: float
    every: Sequence[float]
    """For what is claimed of every threshold, ascending."""

    @property
    def told(self) -> dict[str, str]:
        """What the conditions of claims call them."""
        return {"tau": f"{self.threshold:g}"}


def run(results: Results, *, threshold: float = 0.95, thresholds: Sequence[float] = TABLE_1) -> Analysis:
    """Judge the paper's claims: one row per claim and data set.

    ``paper`` and ``ours`` give the figures in words. ``verdict`` is "holds" only if every one of the
    ``comparisons`` that could be made holds in the numbers themselves, "does not hold" if one does not, and
    "cannot be judged" where none could be made; ``holds`` says the same as "yes", "no" and "not measured".
    ``clear`` says whether the 95 % intervals leave no doubt, and ``coverage`` is the smallest share of
    planned cases that any number rests on. ``detail`` names the comparisons that fail, and those that hold
    only within the interval.

    Args:
        threshold: of PASS, from which on a flip counts as adversarial.
        thresholds: of PASS, for what is claimed of every threshold.

    Raises:
        HarnessError: nothing flips attributes, or PASS was not measured.
    """
    study = read_study(results, (threshold, *thresholds), transfers=True)
    subjects = [Evidence(study, *dataset) for dataset in study.datasets]
    table = kit.table(CLAIMS, subjects, Bars(threshold, sorted(thresholds)))
    return Analysis(table.assign(holds=table["verdict"].map(ANSWERS))[list(COLUMNS)])


def _points(value: float) -> str:
    return f"{hundredths(value)} points"


def more_than_fgs(evidence: Evidence, bars: Bars) -> Judged:
    """FFA flips at least as many as FGS at every threshold."""
    for ffa, fgs in evidence.ffa_and_fgs:
        for tau in bars.every:
            yield evidence.larger((ffa, "+"), (fgs, "+"), tau)


def widening(evidence: Evidence, bars: Bars) -> Judged:
    """FFA's advantage grows with the threshold."""
    for ffa, fgs in evidence.ffa_and_fgs:
        both = joined(ffa, fgs)
        both = both[(both["sign_x"] == "+") & (both["sign_y"] == "+")]
        ahead = {
            tau: first_hit(both, "x", tau).astype(float) - first_hit(both, "y", tau).astype(float)
            for tau in bars.every
        }
        for low, high in pairwise(bars.every):
            step = difference(ahead[high], ahead[low], both["sample_id"])
            points = f"{100 * ahead[low].mean():.1f} → {100 * ahead[high].mean():.1f} points"
            what = f"{ffa.model}, {ffa.search or ffa.threat}, τ {low:g} → {high:g}: {points}, widening:"
            yield within(step, what, at_least=0.0, strict=True, form=_points, used=(ffa, fgs))


def fgs_within_ffa(evidence: Evidence, bars: Bars) -> Judged:
    """What FGS flips, FFA flips too."""
    for ffa, fgs in evidence.ffa_and_fgs:
        both = joined(ffa, fgs)
        both = both[first_hit(both, "y", bars.threshold)]
        also = rate(first_hit(both, "x", bars.threshold), both["sample_id"])
        what = f"{ffa.model}, {ffa.search or ffa.threat}, of {len(both):,} that FGS flips:"
        yield within(also, what, at_least=0.95, used=(ffa, fgs))


def iterative_more(evidence: Evidence, bars: Bars) -> Judged:
    """The iterative search flips at least as many as the line search."""
    cells = evidence.of()
    for one, other in evidence.pairs(cells, cells, "model", "method", "threat"):
        if (one.search, other.search) == ("iterative", "line"):
            for tau in bars.every:
                yield evidence.larger((one, "+"), (other, "+"), tau)


def natural_more(evidence: Evidence, bars: Bars) -> Judged:
    """Wrong cases are corrected more often than right ones are broken."""
    for cell in evidence.of():
        if cell.attack_kind in ("ffa", "fgs"):
            yield evidence.larger((cell, "-"), (cell, "+"), bars.threshold, strict=True)


def natural_common(evidence: Evidence, bars: Bars) -> Judged:
    """Most wrongly classified cases are natural adversarials."""
    published = {"separate": 0.726, "moon": 0.950}
    for cell in evidence.of("", "ffa", EUCLIDEAN):
        if cell.model_kind in published:
            share = rate_of(cell, "-", bars.threshold)
            what = f"{named(cell, '-', bars.threshold)}, of {share.n:,}:"
            found = within(share, what, at_least=0.5, used=(cell,))
            if isinstance(found, Finding) and cell.search == "line":
                found = replace(found, text=f"{found.text} ({_against(share, published[cell.model_kind])})")
            yield found


def _against(share: Estimate, published: float) -> str:
    value, low, high = share.value or 0.0, share.low, share.high
    inside = low is not None and high is not None and low <= published <= high
    place = "within" if inside else "outside"
    return f"{100 * (value - published):+.1f} points from the paper, which is {place} the interval"


def softmax_more(evidence: Evidence, bars: Bars) -> Judged:
    """Networks trained with softmax are flipped at least as often."""
    soft, plain = (evidence.of("separate", loss=loss) for loss in ("softmax", EUCLIDEAN))
    for one, other in evidence.pairs(soft, plain, "method", *SAME_RUN):
        for sign in SIGNS:
            for tau in bars.every:
                yield evidence.larger((one, sign), (other, sign), tau, shared=True, strict=True)


def moon_more(evidence: Evidence, bars: Bars) -> Judged:
    """MOON is flipped at least as often as separate networks."""
    for joint, alone in evidence.moon_and_separate:
        yield evidence.larger((joint, "+"), (alone, "+"), bars.threshold, shared=True, strict=True)


def together(evidence: Evidence, bars: Bars) -> Judged:
    """On MOON, flipping one attribute changes others more often than on separate networks."""
    for joint, alone in evidence.moon_and_separate:
        names = shared_attributes(joint, alone)
        first, second = (
            flips.within(evidence.study, cell, bars.threshold, "both", names).others
            for cell in (joint, alone)
        )
        what = f"{named(joint, 'both', bars.threshold)}, {len(names)} attributes"
        models = (joint.model, alone.model)
        yield larger(first, second, what, names=models, strict=True, used=(joint, alone))


def not_more_robust(evidence: Evidence, bars: Bars) -> Judged:
    """The converged model has no fewer adversarials than the early one."""
    for early, late in evidence.checkpoints:
        both = paired(early, late, bars.threshold)
        change = difference(both["hit_late"], both["hit_early"], both["sample_id"])
        counts = f"{int(both['hit_early'].sum()):,} → {int(both['hit_late'].sum()):,} of {len(both):,}"
        what = f"{named(late, 'both', bars.threshold)}: {counts}, change:"
        yield within(change, what, at_least=0.0, form=_points, used=(early, late))


def half_remain(evidence: Evidence, bars: Bars) -> Judged:
    """Half of the cases with early adversarials have them at convergence."""
    for early, late in evidence.checkpoints:
        both = paired(early, late, bars.threshold)
        before = both[both["hit_early"]]
        what = f"{named(late, 'both', bars.threshold)}, of {len(before):,}:"
        yield within(rate(before["hit_late"], before["sample_id"]), what, at_least=0.5, used=(early, late))


def third_still_flips(evidence: Evidence, bars: Bars) -> Judged:
    """30 % of the early adversarials still flip the converged networks."""
    for early, late in evidence.checkpoints:
        judged = transferred(evidence.study, early, late, bars.threshold)
        if judged is not None:
            what = f"{named(late, 'both', bars.threshold)}, of {len(judged):,}:"
            yield within(rate(judged["flips"], judged["sample_id"]), what, at_least=0.3, used=(early, late))


NO_FGS = "FFA and FGS were not both run with the same search on a converged model"
NO_MOON = "FFA was not run on both MOON and separate networks"
NO_CHECKPOINTS = "no two models differ only in their checkpoint"

CLAIMS = (
    Claim(
        "FFA+ flips at least as many cases as FGS+ at every τ",
        paper="Euclidean loss, τ = 0, .9, .95, .99: line 47.2, 38.1, 36.6, 30.0 % vs 41.8, 26.5, 23.0, 11.1 "
        "%; iterative 65.7, 63.6, 59.7, 47.0 % vs 56.6, 45.8, 40.5, 18.3 % (table 1)",
        conditions="separate networks with Euclidean loss, right before the attack, same search; the paper's "
        "own softmax networks are an exception (iterative, τ = 0: 80.5 vs 88.5 %)",
        judge=more_than_fgs,
        missing=NO_FGS,
    ),
    Claim(
        "FFA's advantage over FGS widens with τ",
        paper="FFA+ minus FGS+ at τ = 0, .9, .95, .99: line 5.4, 11.6, 13.6, 18.9 points; iterative 9.1, "
        "17.8, 19.2, 28.7 points (table 1)",
        conditions="separate networks with Euclidean loss, right before the attack; each step from one τ to "
        "the next, paired by case",
        judge=widening,
        missing=NO_FGS,
    ),
    Claim(
        "FFA flips almost all cases that FGS flips",
        paper="almost all images that spawned FGS adversarials also spawned FFA adversarials (§3.3; no "
        "number)",
        conditions="separate networks with Euclidean loss, same search, + and −, PASS ≥ {tau}; at least 95 % "
        "is read as almost all",
        judge=fgs_within_ffa,
        missing=NO_FGS,
    ),
    Claim(
        "iterative search flips at least as many cases as line search",
        paper="τ = .95, line → iterative: FGS+ 23.0 → 40.5, FFA+ 36.6 → 59.7, MOON 44.0 → 73.8 % (table 1; "
        "MOON's natural adversarials fall from 95.0 to 94.6 %)",
        conditions="each converged model and attack, right before the attack, every τ",
        judge=iterative_more,
        missing='no attack was run with both search = "line" and "iterative"',
    ),
    Claim(
        "wrongly classified cases are flipped more often than right ones",
        paper="τ = .95, − vs +: FGS line 59.2 vs 23.0, FFA line 72.6 vs 36.6, MOON line 95.0 vs 44.0 % "
        "(table 1)",
        conditions="each converged model, FFA and FGS, PASS ≥ {tau}",
        judge=natural_more,
        missing="no model has both rightly and wrongly classified cases",
    ),
    Claim(
        "natural adversarials are common",
        paper="FFA by line search at τ = .95 corrects 73 % (72.6) of the wrongly classified cases of "
        "separate networks, and 95 % of MOON's (abstract, table 1)",
        conditions="FFA on separate networks with Euclidean loss and on MOON, wrong before the attack, PASS "
        "≥ {tau}; at least half is read as common",
        judge=natural_common,
        missing="no wrongly classified case was attacked by FFA",
    ),
    Claim(
        "networks trained with softmax loss are more vulnerable than with Euclidean loss",
        paper="adversarials of the converged networks: FFA 23,791 vs 16,021, FGS 14,478 vs 10,587; more at "
        "every τ (§5)",
        conditions="separate networks, same attack and search, common attributes, + and −, every τ",
        judge=softmax_more,
        missing="no separate networks of both losses were attacked in the same way",
    ),
    Claim(
        "MOON is flipped more often than separate networks",
        paper="FFA+ at τ = .95: line 44.0 vs 36.6 %, iterative 73.8 vs 59.7 % (table 1)",
        conditions="FFA, separate networks with Euclidean loss, common attributes, right before the attack, "
        "PASS ≥ {tau}",
        judge=moon_more,
        missing=NO_MOON,
    ),
    Claim(
        "correlated attributes flip together on MOON, more than across separate networks",
        paper="flipping one attribute changes others more often than among separate networks (§4.2, figures "
        "4, 5)",
        conditions="FFA, separate networks with Euclidean loss, common attributes, PASS ≥ {tau}; the share "
        "of the other attributes' decisions that an adversarial changes",
        judge=together,
        missing=NO_MOON,
    ),
    Claim(
        "further training makes the networks no more robust",
        paper="adversarials at two epochs → converged, + and −: FGS 8,827 → 10,587, FFA 16,539 → 16,021 "
        "(table 2; FFA's number falls by 3 %, which the paper calls similar)",
        conditions="models that differ only in their checkpoint, PASS ≥ {tau}; converged minus early, of the "
        "cases with an outcome at both",
        judge=not_more_robust,
        missing=NO_CHECKPOINTS,
    ),
    Claim(
        "at least half of the cases with an early adversarial have one at convergence",
        paper="in both sets: FGS 5,884 of 8,827 (67 %), FFA 11,520 of 16,539 (70 %) (table 2)",
        conditions="models that differ only in their checkpoint, PASS ≥ {tau}, either sign at convergence",
        judge=half_remain,
        missing=NO_CHECKPOINTS,
    ),
    Claim(
        "at least 30 % of early adversarials still flip the converged networks",
        paper="more than 30 % on average: the same perturbations still change the classification (§4.1, "
        "figure 4 right)",
        conditions="early adversarials judged on the converged model, PASS ≥ {tau}, all attributes pooled",
        judge=third_still_flips,
        missing="no early adversarials were transferred to the converged model ([[transfer]])",
    ),
)
