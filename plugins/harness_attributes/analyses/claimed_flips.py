"""Claims of the paper on how often attacks flip attributes (Rozsa et al., sections 3.3 and 5, table 1)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from harness.analysis.claims import Claim, Finding
from harness.analysis.drawing import spaced
from harness.metrics import Estimate, rate
from harness.metrics.paired import difference
from harness_attributes.analyses.evidence import (
    SAME_RUN,
    Bars,
    Evidence,
    Judged,
    first_hit,
    joined,
    named,
    points,
    rate_of,
    within,
)
from harness_attributes.analyses.study import EUCLIDEAN, SIGNS, Cell, hits, of_sign

ALMOST_ALL = 0.95


def more_than_fgs(evidence: Evidence, bars: Bars) -> Judged:
    """FFA flips more than FGS at every threshold."""
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
            step = difference(ahead[high], ahead[low], both["cluster"])
            told = f"{100 * ahead[low].mean():.1f} → {100 * ahead[high].mean():.1f} points"
            what = f"{ffa.model}, {ffa.search or ffa.threat}, τ {low:g} → {high:g}: {told}, widening:"
            yield within(step, what, at_least=0.0, strict=True, form=points, used=(ffa, fgs))


def fgs_within_ffa(evidence: Evidence, bars: Bars) -> Judged:
    """What FGS flips, FFA flips too."""
    for ffa, fgs in evidence.ffa_and_fgs:
        both = joined(ffa, fgs)
        both = both[first_hit(both, "y", bars.threshold)]
        also = rate(first_hit(both, "x", bars.threshold), both["cluster"])
        what = f"{ffa.model}, {ffa.search or ffa.threat}, of {len(both):,} that FGS flips:"
        yield within(also, what, at_least=ALMOST_ALL, used=(ffa, fgs))


def iterative_more(evidence: Evidence, bars: Bars) -> Judged:
    """The iterative search flips more than the line search."""
    cells = evidence.of()
    for one, other in evidence.pairs(cells, cells, "model", "method", "threat"):
        if (one.search, other.search) == ("iterative", "line"):
            for tau in bars.every:
                yield evidence.larger((one, "+"), (other, "+"), tau)


def natural_more(evidence: Evidence, bars: Bars) -> Judged:
    """Wrong cases are corrected more often than right ones are broken."""
    for cell in evidence.of():
        if cell.attack_kind in ("ffa", "fgs"):
            yield evidence.wrong_above_right(cell, bars.threshold)


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
    """Networks trained with softmax are flipped more often."""
    soft, plain = (evidence.of("separate", loss=loss) for loss in ("softmax", EUCLIDEAN))
    for one, other in evidence.pairs(soft, plain, "method", *SAME_RUN):
        for sign in SIGNS:
            for tau in bars.every:
                yield evidence.larger((one, sign), (other, sign), tau)


def moon_more(evidence: Evidence, bars: Bars) -> Judged:
    """MOON is flipped more often than separate networks."""
    for joint, alone in evidence.moon_and_separate:
        yield evidence.larger((joint, "+"), (alone, "+"), bars.threshold)


def some_cannot(evidence: Evidence, bars: Bars) -> Judged:
    """Some attribute of the separate networks cannot be flipped."""
    for cell in evidence.of("separate", "ffa", EUCLIDEAN):
        by_attribute = _rates(cell, "+", bars.threshold)
        if by_attribute:
            name, least = min(by_attribute.items(), key=lambda item: (item[1].value, item[0]))
            what = f"{named(cell, '+', bars.threshold)}, least of {len(by_attribute)}: {spaced(name)},"
            yield within(least, f"{what} n = {least.n:,},", at_most=1 - ALMOST_ALL, used=(cell,))


def almost_all_on_moon(evidence: Evidence, bars: Bars) -> Judged:
    """On MOON, almost every attribute has an adversarial."""
    for cell in evidence.of("moon", "ffa"):
        by_attribute = _rates(cell, "both", bars.threshold)
        never = [name for name, share in by_attribute.items() if not share.value]
        if by_attribute:
            share = 1 - len(never) / len(by_attribute)
            text = f"{named(cell, 'both', bars.threshold)}: {len(by_attribute) - len(never)} of "
            text += f"{len(by_attribute)}" + (f", not {', '.join(map(spaced, never))}" if never else "")
            # An adversarial that was found is there. One that was not may be on the next image.
            holds = share >= ALMOST_ALL
            yield Finding(text, holds, clear=holds, used=(cell,))


def _rates(cell: Cell, sign: str, threshold: float) -> dict[str, Estimate]:
    cases = of_sign(cell.cases, sign)
    flags = hits(cases, threshold)
    groups = cases.groupby("target", sort=True)
    return {str(name): rate(flags[own.index], own["cluster"]) for name, own in groups}


NO_FGS = "FFA and FGS were not both run with the same search on a converged model"
NO_MOON = "FFA was not run on both MOON and separate networks"

CLAIMS = (
    Claim(
        "FFA+ flips more cases than FGS+ at every τ",
        paper="Euclidean loss, τ = 0, .9, .95, .99: line 47.2, 38.1, 36.6, 30.0 % vs 41.8, 26.5, 23.0, 11.1 "
        "%; iterative 65.7, 63.6, 59.7, 47.0 % vs 56.6, 45.8, 40.5, 18.3 % (table 1)",
        conditions="separate networks with Euclidean loss, right before the attack, same search, paired by "
        "case; the paper's own softmax networks are an exception (iterative, τ = 0: 80.5 vs 88.5 %)",
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
        "iterative search flips more cases than line search",
        paper="τ = .95, line → iterative: FGS+ 23.0 → 40.5, FFA+ 36.6 → 59.7, MOON 44.0 → 73.8 % (table 1; "
        "MOON's natural adversarials fall from 95.0 to 94.6 %)",
        conditions="each converged model and attack, right before the attack, every τ, paired by case",
        judge=iterative_more,
        missing='no attack was run with both search = "line" and "iterative"',
    ),
    Claim(
        "wrongly classified cases are flipped more often than right ones",
        paper="τ = .95, − vs +: FGS line 59.2 vs 23.0, FFA line 72.6 vs 36.6, MOON line 95.0 vs 44.0 % "
        "(table 1)",
        conditions="each converged model, FFA and FGS, PASS ≥ {tau}; no case is both, so that the rates are "
        "compared as independent ones (Newcombe)",
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
        conditions="separate networks, same attack and search, + and −, every τ, paired by the cases that "
        "have the sign in both",
        judge=softmax_more,
        missing="no separate networks of both losses were attacked in the same way",
    ),
    Claim(
        "MOON is flipped more often than separate networks",
        paper="FFA+ at τ = .95: line 44.0 vs 36.6 %, iterative 73.8 vs 59.7 % (table 1)",
        conditions="FFA, separate networks with Euclidean loss, PASS ≥ {tau}, paired by the cases that are "
        "right before the attack in both, so of common attributes",
        judge=moon_more,
        missing=NO_MOON,
    ),
    Claim(
        "some attributes of separate networks cannot be flipped",
        paper="for Wavy Hair or Wearing Necklace no adversarials can be formed (§3.3, figure 3)",
        conditions="FFA on separate networks with Euclidean loss, right before the attack, PASS ≥ {tau}; of "
        "the attributes that were attacked, the one flipped least; at most 5 % is read as cannot",
        judge=some_cannot,
        missing="FFA was not run on separate networks",
    ),
    Claim(
        "almost all attributes of MOON can be flipped",
        paper="adversarials for almost all attributes (§3.3, figure 3; no number)",
        conditions="FFA, + and −, PASS ≥ {tau}; one adversarial is enough, and 95 % is read as almost all; "
        "attributes without one may have one on other images, so that fewer decide nothing",
        judge=almost_all_on_moon,
        missing="FFA was not run on MOON",
    ),
)
