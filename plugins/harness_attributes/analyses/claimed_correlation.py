"""Claims of the paper on attributes that flip together (Rozsa et al., section 4.2, figures 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from harness.analysis.claims import Claim
from harness.analysis.drawing import spaced
from harness.metrics.paired import mean_over_groups, newcombe
from harness_attributes.analyses import flips
from harness_attributes.analyses.evidence import (
    Bars,
    Evidence,
    Judged,
    larger,
    named,
    shared_attributes,
    within,
)
from harness_attributes.analyses.flips import Flips
from harness_attributes.analyses.study import Cell

BEARD, ATTRACTIVE, NOSE = "No_Beard", "Attractive", "Big_Nose"
TO_BEARD = ("Goatee", "Mustache", "Sideburns")
TO_ATTRACTIVE = ("Blurry", "Chubby", "Double_Chin", "Receding_Hairline", "Young")
TO_NOSE = ("Bald", "Chubby", "Double_Chin", "Gray_Hair", "Receding_Hairline")
RELATED = tuple(
    (made_for, network)
    for network, related in ((BEARD, TO_BEARD), (ATTRACTIVE, TO_ATTRACTIVE), (NOSE, TO_NOSE))
    for made_for in related
)
"""The pairs that the paper names: adversarials made for the first flip the second."""


def together(evidence: Evidence, bars: Bars) -> Judged:
    """On MOON, flipping one attribute changes others more often than on separate networks."""
    for joint, alone in evidence.moon_and_separate:
        names = shared_attributes(joint, alone)
        first, second = (
            flips.within(evidence.study, cell, bars.threshold, "both", names).others
            for cell in (joint, alone)
        )
        what = f"{named(joint, 'both', bars.threshold)}, {len(names)} attributes"
        sides = (mean_over_groups(first), mean_over_groups(second))
        models = (joint.model, alone.model)
        gain = mean_over_groups(first, second)
        yield larger(*sides, gain, what, names=models, used=(joint, alone))


def iterative_together(evidence: Evidence, bars: Bars) -> Judged:
    """On MOON, iterative FFA changes related attributes more often than FFA by line search."""
    cells = evidence.of("moon", "ffa")
    for one, other in evidence.pairs(cells, cells, "model", "method", "threat"):
        if (one.search, other.search) == ("iterative", "line"):
            found = [flips.within(evidence.study, cell, bars.threshold, "both") for cell in (one, other)]
            frames = {
                "all pairs": [own.others for own in found],
                "the pairs that the paper names": [related(own, RELATED) for own in found],
            }
            for what, (first, second) in frames.items():
                sides = (mean_over_groups(first), mean_over_groups(second))
                told = f"{one.model}, PASS ≥ {bars.threshold:g}, {what}"
                gain = mean_over_groups(first, second)
                yield larger(*sides, gain, told, names=("iterative", "line"), used=(one, other))


def related(found: Flips, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Return which adversarials of the pairs' first attributes change the second, each pair a group."""
    frames = [
        pd.DataFrame(
            {
                "value": found.changed[mine, found.networks.index(network)].astype(float),
                "group": f"{made_for} → {network}",
                "cluster": found.cases["cluster"][mine],
            }
        )
        for made_for, network in pairs
        if network in found.networks and (mine := (found.cases["target"] == made_for).to_numpy(bool)).any()
    ]
    return (
        pd.concat(frames, ignore_index=True)
        if frames
        else pd.DataFrame(columns=["value", "group", "cluster"])
    )


def named_pairs(evidence: Evidence, bars: Bars) -> Judged:
    """Adversarials of related attributes flip No Beard and Attractive as often as the paper says."""
    for cell, found in _iterative(evidence, bars):
        for network, made_for, least in ((BEARD, TO_BEARD, 0.7), (ATTRACTIVE, TO_ATTRACTIVE, 0.5)):
            for name in made_for:
                share = found.pair(name, network)
                pair = f"{spaced(name)} → {spaced(network)}"
                what = f"{cell.model}, {pair} (at least {least:.0%}), n = {share.n:,}:"
                yield within(share, what, at_least=least, used=(cell,))


def one_way(evidence: Evidence, bars: Bars) -> Judged:
    """Facial hair flips No Beard more often than No Beard flips facial hair."""
    for cell, found in _iterative(evidence, bars):
        for name in TO_BEARD:
            there, back = found.pair(name, BEARD), found.pair(BEARD, name)
            what = f"{cell.model}, n = {there.n:,} and {back.n:,}"
            arrows = (f"{spaced(name)} → {spaced(BEARD)}", f"{spaced(BEARD)} → {spaced(name)}")
            yield larger(there, back, newcombe(there, back), what, names=arrows, used=(cell,))


def _iterative(evidence: Evidence, bars: Bars) -> list[tuple[Cell, Flips]]:
    return [
        (cell, flips.within(evidence.study, cell, bars.threshold, "both"))
        for cell in evidence.of("moon", "ffa")
        if cell.search == "iterative"
    ]


NO_MOON = "FFA was not run on both MOON and separate networks"
NO_ITERATIVE = "iterative FFA was not run on MOON"

CLAIMS = (
    Claim(
        "correlated attributes flip together on MOON, more than across separate networks",
        paper="flipping one attribute changes others more often than among separate networks (§4.2, figures "
        "4, 5)",
        conditions="FFA, separate networks with Euclidean loss, common attributes, PASS ≥ {tau}; mean over "
        "pairs of different attributes of the share of adversarials that change the other's decision",
        judge=together,
        missing=NO_MOON,
    ),
    Claim(
        "iterative FFA flips related attributes more often than line search",
        paper="related attributes are flipped more frequently, with much higher quality (§4.2, figure 5)",
        conditions="MOON, FFA, PASS ≥ {tau}, + and −; the mean over all pairs of different attributes, and "
        f"that over the {len(RELATED)} pairs that the paper names",
        judge=iterative_together,
        missing="FFA was not run with both searches on MOON",
    ),
    Claim(
        "on MOON, facial hair flips No Beard, and five attributes flip Attractive",
        paper="Goatee, Mustache and Sideburns flip No Beard with more than 70 %; Blurry, Chubby, Double "
        "Chin, Receding Hairline and Young flip Attractive in more than 50 % (§4.2, figure 5)",
        conditions="MOON, iterative FFA, PASS ≥ {tau}, + and −",
        judge=named_pairs,
        missing=NO_ITERATIVE,
    ),
    Claim(
        "No Beard does not flip facial hair in turn",
        paper="not true for the opposite direction (§4.2, figure 5; no number)",
        conditions="MOON, iterative FFA, PASS ≥ {tau}, + and −; each direction has adversarials of its own, "
        "so that the shares are compared as independent ones (Newcombe)",
        judge=one_way,
        missing=NO_ITERATIVE,
    ),
)
