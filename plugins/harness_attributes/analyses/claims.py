"""Claims: what the paper states of attribute networks and their attacks, judged on these records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from harness.analysis.analysis import Analysis
from harness.metrics import Estimate, rate
from harness.results import Results
from harness_attributes.analyses import statements
from harness_attributes.analyses.evidence import (
    Evidence,
    Finding,
    above,
    at_least,
    difference,
    first_hit,
    named,
    verdict,
)
from harness_attributes.analyses.flippability import TABLE_1
from harness_attributes.analyses.flips import within
from harness_attributes.analyses.progress import paired, pairs, transferred
from harness_attributes.analyses.selections import Cell, check_thresholds, read_study

COLUMNS = (
    "dataset", "stand_in_for", "claim", "paper", "ours", "conditions", "comparisons", "held",
    "holds", "detail",
)  # fmt: skip


def run(results: Results, *, threshold: float = 0.95, thresholds: Sequence[float] = TABLE_1) -> Analysis:
    """The paper's claims, one row per claim and data set.

    ``paper`` and ``ours`` give the figures in words. ``holds`` is "yes" only if every one of the
    ``comparisons`` that could be made holds in the numbers themselves, "no" if one does not, and
    "not measured" where none could be made. ``detail`` names those that fail, and those that hold only
    within the 95 % interval.

    Args:
        threshold: of PASS, from which on a flip counts as adversarial.
        thresholds: of PASS, for what is claimed of every threshold.

    Raises:
        HarnessError: nothing flips attributes, or PASS was not measured.
    """
    check_thresholds(thresholds)
    study = read_study(results, (threshold, *thresholds), transfers=True)
    rows: list[dict[str, Any]] = []
    for dataset, stand_in_for in study.datasets:
        evidence = Evidence(study, dataset)
        for judge in CLAIMS:
            claim, found, missing = judge(evidence, threshold, sorted(thresholds))
            rows.append(
                {
                    "dataset": dataset,
                    "stand_in_for": stand_in_for,
                    "claim": claim.name,
                    "paper": claim.paper,
                    "conditions": claim.conditions.format(tau=f"{threshold:g}"),
                    **verdict(found, missing),
                }
            )
    return Analysis(pd.DataFrame(rows, columns=list(COLUMNS)))


Judged = tuple[statements.Claim, list[Finding | None], str]
SAME_RUN = ("search", "threat")
NO_FGS = "FFA and FGS were not both run with the same search on a converged model"


def _separate(evidence: Evidence, loss: str | None = None) -> list[Cell]:
    return [c for c in evidence.converged if "separate" in c.model_kind and loss in (None, c.loss)]


def _moon(evidence: Evidence) -> list[Cell]:
    return [cell for cell in evidence.converged if "moon" in cell.model_kind]


def _of(cells: list[Cell], kind: str) -> list[Cell]:
    return [cell for cell in cells if cell.kind == kind]


def _ffa_over_fgs(evidence: Evidence, cells: list[Cell]) -> list[tuple[Cell, Cell]]:
    return evidence.pairs(_of(cells, "ffa"), _of(cells, "fgs"), "model", *SAME_RUN)


def more_than_fgs(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """FFA flips at least as many as FGS at every threshold."""
    found = [
        evidence.larger((ffa, "+"), (fgs, "+"), tau)
        for ffa, fgs in _ffa_over_fgs(evidence, _separate(evidence, "euclidean"))
        for tau in thresholds
    ]
    return statements.MORE_THAN_FGS, found, NO_FGS


def widening(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """FFA's advantage grows with the threshold."""
    found: list[Finding | None] = []
    for ffa, fgs in _ffa_over_fgs(evidence, _separate(evidence, "euclidean")):
        joined = evidence.joined(ffa, fgs)
        joined = joined[(joined["sign_x"] == "+") & (joined["sign_y"] == "+")]
        ahead = {
            tau: first_hit(joined, "x", tau).astype(float) - first_hit(joined, "y", tau).astype(float)
            for tau in thresholds
        }
        for low, high in pairwise(thresholds):
            step = difference(ahead[high] - ahead[low], joined["sample_id"])
            points = f"{100 * ahead[low].mean():.1f} → {100 * ahead[high].mean():.1f} points"
            what = f"{ffa.model}, {ffa.search or ffa.threat}, τ {low:g} → {high:g}: {points}, widening"
            found.append(above(step, 0.0, what, unit="points", strict=True))
    return statements.WIDENING, found, NO_FGS


def iterative_more(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """The iterative search flips at least as many as the line search."""
    cells = evidence.converged
    found = [
        evidence.larger((one, "+"), (other, "+"), tau)
        for one, other in evidence.pairs(cells, cells, "model", "method", "threat")
        if (one.search, other.search) == ("iterative", "line")
        for tau in thresholds
    ]
    return statements.ITERATIVE_MORE, found, 'no attack was run with both search = "line" and "iterative"'


def natural_more(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """Wrong cases are corrected more often than right ones are broken."""
    found = [
        evidence.larger((cell, "-"), (cell, "+"), threshold, strict=True)
        for cell in evidence.converged
        if cell.kind in ("ffa", "fgs")
    ]
    return statements.NATURAL_MORE, found, "no model has both rightly and wrongly classified cases"


def softmax_more(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """Networks trained with softmax are flipped at least as often."""
    found = [
        evidence.larger((soft, sign), (plain, sign), tau, shared=True, strict=True)
        for soft, plain in evidence.pairs(
            _separate(evidence, "softmax"), _separate(evidence, "euclidean"), "method", *SAME_RUN
        )
        for sign in ("+", "-")
        for tau in thresholds
    ]
    return statements.SOFTMAX_MORE, found, "no separate networks of both losses were attacked in the same way"


def moon_more(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """MOON is flipped at least as often as separate networks."""
    found = [
        evidence.larger((joint, "+"), (alone, "+"), threshold, shared=True, strict=True)
        for joint, alone in evidence.pairs(
            _of(_moon(evidence), "ffa"), _of(_separate(evidence, "euclidean"), "ffa"), "method", *SAME_RUN
        )
    ]
    return statements.MOON_MORE, found, "FFA was not run on both MOON and separate networks"


def together(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """On MOON, flipping one attribute changes others more often than on separate networks."""
    found: list[Finding | None] = []
    for joint, alone in evidence.pairs(
        _of(_moon(evidence), "ffa"), _of(_separate(evidence, "euclidean"), "ffa"), "method", *SAME_RUN
    ):
        names = evidence.common(joint, alone)
        on_joint = within(evidence.study, joint, threshold, "both", names)
        on_alone = within(evidence.study, alone, threshold, "both", names)
        what = f"{named(joint, 'both', threshold)}, {len(names)} attributes"
        pair = (on_joint.others, on_alone.others)
        found.append(at_least(*pair, what, joint.model, alone.model, strict=True))
    return statements.TOGETHER, found, "FFA was not run on both MOON and separate networks"


def not_more_robust(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """The converged model has no fewer adversarials than the early one."""
    found: list[Finding | None] = []
    for early, late in _progress(evidence):
        both = paired(evidence.study, early, late, threshold)
        change = difference(
            both["hit_late"].astype(float) - both["hit_early"].astype(float), both["sample_id"]
        )
        counts = f"{int(both['hit_early'].sum()):,} → {int(both['hit_late'].sum()):,} of {len(both):,}"
        what = f"{named(late, 'both', threshold)}: {counts}, change"
        found.append(above(change, 0.0, what, unit="points"))
    return statements.NOT_MORE_ROBUST, found, NO_CHECKPOINTS


NO_CHECKPOINTS = "no two models differ only in their checkpoint"


def _progress(evidence: Evidence) -> list[tuple[Cell, Cell]]:
    return [
        (early, late)
        for search in dict.fromkeys(cell.search for cell in evidence.cells)
        for early, late in pairs(evidence.study, search)
        if late.dataset == evidence.dataset
    ]


def half_remain(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """Half of the cases with early adversarials have them at convergence."""
    found: list[Finding | None] = []
    for early, late in _progress(evidence):
        both = paired(evidence.study, early, late, threshold)
        before = both[both["hit_early"]]
        again = rate(before["hit_late"].to_numpy(bool), pd.factorize(before["sample_id"])[0])
        found.append(above(again, 0.5, f"{named(late, 'both', threshold)}, of {len(before):,}"))
    return statements.HALF_REMAIN, found, NO_CHECKPOINTS


def third_still_flips(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """30 % of the early adversarials still flip the converged networks."""
    found: list[Finding | None] = []
    for early, late in _progress(evidence):
        judged = transferred(evidence.study, early, late, threshold)
        if judged is not None:
            still = rate(judged["flips"].to_numpy(bool), pd.factorize(judged["sample_id"])[0])
            found.append(above(still, 0.3, f"{named(late, 'both', threshold)}, of {len(judged):,}"))
    return (
        statements.THIRD_STILL_FLIPS,
        found,
        "no early adversarials were transferred to the converged model ([[transfer]])",
    )


ALMOST_ALL = 0.95


def fgs_within_ffa(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """What FGS flips, FFA flips too."""
    found: list[Finding | None] = []
    for ffa, fgs in _ffa_over_fgs(evidence, _separate(evidence, "euclidean")):
        joined = evidence.joined(ffa, fgs)
        joined = joined[first_hit(joined, "y", threshold)]
        also = rate(first_hit(joined, "x", threshold).to_numpy(bool), pd.factorize(joined["sample_id"])[0])
        what = f"{ffa.model}, {ffa.search or ffa.threat}, of {len(joined):,} that FGS flips"
        found.append(above(also, ALMOST_ALL, what))
    return statements.FGS_WITHIN_FFA, found, NO_FGS


def natural_common(evidence: Evidence, threshold: float, thresholds: Sequence[float]) -> Judged:
    """Most wrongly classified cases are natural adversarials."""
    published = {"separate": 0.726, "moon": 0.950}
    found: list[Finding | None] = []
    for cell in _of(evidence.converged, "ffa"):
        if cell.loss != "euclidean" or cell.model_kind not in published:
            continue
        share = evidence.rate(cell, "-", threshold)
        told = above(share, 0.5, f"{named(cell, '-', threshold)}, of {share.n:,}")
        if told is not None and cell.search == "line":
            told = Finding(
                f"{told.ours} ({_against(share, published[cell.model_kind])})", told.holds, told.clear
            )
        found.append(told)
    return statements.NATURAL_COMMON, found, "no wrongly classified case was attacked by FFA"


def _against(share: Estimate, published: float) -> str:
    value, low, high = share.value or 0.0, share.low, share.high
    inside = low is not None and high is not None and low <= published <= high
    place = "within" if inside else "outside"
    return f"{100 * (value - published):+.1f} points from the paper, which is {place} the interval"


CLAIMS: tuple[Callable[[Evidence, float, Sequence[float]], Judged], ...] = (
    more_than_fgs,
    widening,
    fgs_within_ffa,
    iterative_more,
    natural_more,
    natural_common,
    softmax_more,
    moon_more,
    together,
    not_more_robust,
    half_remain,
    third_still_flips,
)
