"""Claims of the paper on further training (Rozsa et al., sections 3.3 and 4.1, table 2, figure 4 right)."""

from __future__ import annotations

from harness.analysis.claims import Claim
from harness.metrics import rate
from harness.metrics.paired import difference, mean_over_groups
from harness_attributes.analyses import flips
from harness_attributes.analyses.evidence import Bars, Evidence, Judged, larger, named, points, within
from harness_attributes.analyses.progress import moved_cell, paired, stays, still_mean, transferred
from harness_attributes.analyses.study import EUCLIDEAN, Cell


def not_more_robust(evidence: Evidence, bars: Bars) -> Judged:
    """The converged model has no fewer adversarials than the early one."""
    for early, late in evidence.checkpoints:
        both = paired(early, late, bars.threshold)
        change = difference(both["hit_late"], both["hit_early"], both["cluster"])
        counts = f"{int(both['hit_early'].sum()):,} → {int(both['hit_late'].sum()):,} of {len(both):,}"
        what = f"{named(late, 'both', bars.threshold)}: {counts}, change:"
        yield within(change, what, at_least=0.0, form=points, used=(early, late))


def half_remain(evidence: Evidence, bars: Bars) -> Judged:
    """Most early adversarials of right cases are adversarials of right cases at convergence."""
    yield from _remain(evidence, bars, "+")


def natural_remain(evidence: Evidence, bars: Bars) -> Judged:
    """At least half of the early natural adversarials are natural adversarials at convergence."""
    yield from _remain(evidence, bars, "-")


def _remain(evidence: Evidence, bars: Bars, sign: str) -> Judged:
    for early, late in evidence.checkpoints:
        both = paired(early, late, bars.threshold)
        before = both[both["hit_early"] & (both["sign_early"] == sign)]
        again = stays(before)
        what = f"{named(late, sign, bars.threshold)}, {int(again.sum()):,} of {len(before):,}:"
        yield within(rate(again, before["cluster"]), what, at_least=0.5, used=(early, late))


def still_wrong(evidence: Evidence, bars: Bars) -> Judged:
    """Most early natural adversarials are still misclassified at convergence."""
    for early, late in evidence.checkpoints:
        both = paired(early, late, bars.threshold)
        before = both[both["hit_early"] & (both["sign_early"] == "-")]
        wrong = before["sign_late"] == "-"
        what = f"{named(late, '-', bars.threshold)}, {int(wrong.sum()):,} of {len(before):,}:"
        yield within(rate(wrong, before["cluster"]), what, at_least=0.5, used=(early, late))


def lost_are_learnt(evidence: Evidence, bars: Bars) -> Judged:
    """Most natural adversarials that are none at convergence are classified correctly there."""
    for early, late in evidence.checkpoints:
        both = paired(early, late, bars.threshold)
        lost = both[both["hit_early"] & (both["sign_early"] == "-") & ~stays(both)]
        right = lost["sign_late"] == "+"
        what = f"{named(late, '-', bars.threshold)}, {int(right.sum()):,} of {len(lost):,}:"
        yield within(rate(right, lost["cluster"]), what, at_least=0.5, used=(early, late))


def third_still_flips(evidence: Evidence, bars: Bars) -> Judged:
    """The early adversarials still flip the converged networks, in the mean over attributes."""
    for early, late in _figure_4(evidence):
        judged = transferred(evidence.study, early, late, bars.threshold)
        if judged is not None:
            of = f"mean of {judged['target'].nunique()} attributes, {len(judged):,} cases"
            what = f"{named(late, 'both', bars.threshold)}, {of}:"
            yield within(still_mean(judged), what, at_least=0.3, used=(early, late))


def more_portable(evidence: Evidence, bars: Bars) -> Judged:
    """Early adversarials flip other converged networks more often than those made at convergence."""
    for early, late in _figure_4(evidence):
        moved = moved_cell(evidence.study, early, late)
        if moved is not None:
            before = flips.across(evidence.study, early, moved, bars.threshold, "both").others
            after = flips.within(evidence.study, late, bars.threshold, "both").others
            sides = (mean_over_groups(before), mean_over_groups(after))
            what = f"{named(late, 'both', bars.threshold)}, other networks flipped"
            names = ("made early", "made at convergence")
            gain = mean_over_groups(before, after)
            yield larger(*sides, gain, what, names=names, used=(early, late))


def _figure_4(evidence: Evidence) -> list[tuple[Cell, Cell]]:
    """Return the checkpoints that the figure shows: Euclidean loss, FFA by line search."""
    return [
        (early, late)
        for early, late in evidence.checkpoints
        if (late.attack_kind, late.search, late.loss) == ("ffa", "line", EUCLIDEAN)
        and "separate" in late.model_kind
    ]


NO_CHECKPOINTS = "no two models differ only in their checkpoint"
NO_NATURAL = (
    "no natural adversarial was found on an early one of two models that differ only in their checkpoint"
)
NO_TRANSFER = (
    "FFA adversarials of early separate networks with Euclidean loss were not transferred to the "
    "converged ones ([[transfer]])"
)
OF = "models that differ only in their checkpoint, each attack, PASS ≥ {tau}"

CLAIMS = (
    Claim(
        "further training makes the networks no more robust",
        paper="adversarials at two epochs → converged, + and −: FGS 8,827 → 10,587, FFA 16,539 → 16,021 "
        "(table 2; FFA's number falls by 3 %, which the paper calls similar)",
        conditions=f"{OF}; converged minus early, paired by the cases with an outcome at both",
        judge=not_more_robust,
        missing=NO_CHECKPOINTS,
    ),
    Claim(
        "most early adversarials (+) are adversarials at convergence",
        paper="overlap of early ones: FGS+ 4,616 of 6,393 (72 %), FFA+ 9,881 of 13,621 (73 %); softmax FGS+ "
        "5,896 of 6,833 (86 %), FFA+ 15,259 of 16,371 (93 %) (table 2)",
        conditions=f"{OF}, right before the attack at both; at least half is read as most",
        judge=half_remain,
        missing=NO_CHECKPOINTS,
    ),
    Claim(
        "half of the early natural adversarials (−) are natural adversarials at convergence",
        paper="FGS− 1,268 of 2,434 (52 %), FFA− 1,639 of 2,918 (56 %); softmax FGS− 1,315 of 2,385 (55 %), "
        "FFA− 1,721 of 2,844 (61 %) (table 2)",
        conditions=f"{OF}, wrong before the attack at both; at least half",
        judge=natural_remain,
        missing=NO_NATURAL,
    ),
    Claim(
        "most early natural adversarials are still misclassified at convergence",
        paper="most are not corrected by further training (§6); FFA−, Euclidean loss: 1,870 of 2,918 (64 %), "
        "which is 2,918 − 1,048 (table 2, §3.3)",
        conditions=f"{OF}, wrong before the attack at the early one; at least half is read as most",
        judge=still_wrong,
        missing=NO_NATURAL,
    ),
    Claim(
        "of the natural adversarials that vanish, most are classified correctly at convergence",
        paper="FFA−, Euclidean loss: 1,048 of 1,279 (82 %); FGS is similar (§3.3)",
        conditions=f"{OF}; early natural adversarials that are none at convergence; at least half",
        judge=lost_are_learnt,
        missing=NO_NATURAL,
    ),
    Claim(
        "on average, at least 30 % of early adversarials still flip the converged networks",
        paper="more than 30 % on average: the same perturbations still change the classification (§4.1, "
        "diagonal of figure 4 right)",
        conditions="FFA by line search, separate networks with Euclidean loss, PASS ≥ {tau} when made, + and "
        "−; mean over attributes of their shares",
        judge=third_still_flips,
        missing=NO_TRANSFER,
    ),
    Claim(
        "adversarials made early flip other networks more often",
        paper="the cross-network portability increased (§4.1, figure 4, left to right; no number)",
        conditions="as before; mean over pairs of different attributes of the share that flips the other's "
        "converged network: made early, less made at convergence",
        judge=more_portable,
        missing=NO_TRANSFER,
    ),
)
