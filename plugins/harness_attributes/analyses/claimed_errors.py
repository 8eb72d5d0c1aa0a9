"""Claims of the paper on classification errors (Rozsa et al., sections 2.3, 5 and 6, figure 2)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from harness.analysis.claims import Claim, Finding, Missing
from harness.analysis.drawing import spaced
from harness.metrics import Estimate
from harness.metrics.paired import paired_tests
from harness_attributes.analyses.errors import Scored
from harness_attributes.analyses.evidence import Bars, Evidence, Judged, points, within
from harness_attributes.analyses.quoted import LNETS, LNETS_ERRORS
from harness_attributes.analyses.study import EUCLIDEAN

MARGIN = 0.01


def further_training(evidence: Evidence, bars: Bars) -> Judged:
    """The converged networks err less than the early ones."""
    early = [model for model in evidence.scored if model.early and model.loss == EUCLIDEAN]
    for one, other in product(early, _converged(evidence)):
        if one.family == other.family:
            yield _less(other, (one.name, one.errors), one)


def as_accurate(evidence: Evidence, bars: Bars) -> Judged:
    """MOON, and networks trained with softmax, err as often as the separate ones with Euclidean loss."""
    others = [*_converged(evidence, "moon"), *_converged(evidence, "separate", "softmax")]
    for one, other in product(_converged(evidence, "separate"), others):
        found, what = _gap((other.name, other.errors), (one.name, one.errors))
        yield within(found, what, at_least=-MARGIN, at_most=MARGIN, form=points, used=(one, other))


def below_trivial(evidence: Evidence, bars: Bars) -> Judged:
    """Each network errs less than the trivial classifier on every attribute."""
    for model in _networks(evidence):
        for name, gain in model.below_trivial.items():
            trivial = model.errors[name] + float(gain.value or 0.0)
            told = f"{100 * model.errors[name]:.1f} vs {100 * trivial:.1f} %, less by"
            what = f"{model.name}, {spaced(name)}: {told}"
            yield within(gain, what, at_least=0.0, strict=True, form=points, used=(model,))


def trivial_mean(evidence: Evidence, bars: Bars) -> Judged:
    """The networks err less than the trivial classifier in the mean over attributes."""
    for model in _networks(evidence):
        if model.below_trivial:
            yield _less(model, ("trivial", model.trivial))


def below_lnets(evidence: Evidence, bars: Bars) -> Judged:
    """The networks err less than LNets+ANet, whose errors are quoted."""
    for model in _networks(evidence):
        if LNETS_ERRORS.keys() & model.errors.keys():
            yield _less(model, (f"{LNETS} (quoted)", LNETS_ERRORS))


def _networks(evidence: Evidence) -> list[Scored]:
    return [*_converged(evidence, "separate"), *_converged(evidence, "moon")]


def _converged(evidence: Evidence, kind: str = "", loss: str = EUCLIDEAN) -> list[Scored]:
    return [
        model for model in evidence.scored if not model.early and kind in model.kind and model.loss == loss
    ]


Errors = tuple[str, Mapping[str, float]]
"""A name and errors by attribute."""


def _less(model: Scored, other: Errors, *more: Scored) -> Finding | Missing:
    """Judge whether a model errs less than another, over the attributes of both."""
    found, what = _gap(other, (model.name, model.errors))
    return within(found, what, at_least=0.0, strict=True, form=points, used=(model, *more))


def _gap(one: Errors, other: Errors) -> tuple[Estimate, str]:
    """Return the mean difference of errors over common attributes with its t interval, and its words."""
    names = [name for name in one[1] if name in other[1]]
    sides = [np.array([errors[name] for name in names]) for _, errors in (one, other)]
    tested = paired_tests(*sides)
    found = Estimate(tested["mean_difference"], tested["low"], tested["high"], len(names))
    told = " − ".join(
        f"{name} {100 * side.mean():.2f} %" for (name, _), side in zip((one, other), sides, strict=True)
    )
    return found, f"{told}, mean of {len(names)} attributes:"


NO_CARDS = "no models of these kinds tell their errors by attribute"
PAIRED = "mean over the attributes of both, paired by attribute (t interval), on the test set"

CLAIMS = (
    Claim(
        "further training lowers the error",
        paper="9.78 % after two epochs, 9.20 % at convergence, p < 1e-10 (§6)",
        conditions=f"models with Euclidean loss that differ only in their checkpoint; {PAIRED}",
        judge=further_training,
        missing="no two models with Euclidean loss that differ only in their checkpoint tell their errors",
    ),
    Claim(
        "separate networks, MOON and softmax networks are about as accurate",
        paper="9.20, 9.06 (p ≈ .05) and 9.30 % (p ≈ .09): not significantly different (§2.3, 5, 6)",
        conditions=f"converged; {PAIRED}; a test cannot show that two are alike, so within 1 point is "
        "read as that",
        judge=as_accurate,
        missing=NO_CARDS,
    ),
    Claim(
        "separate networks and MOON err less than the trivial classifier",
        paper="9.20 and 9.06 vs 19.96 % (§2.3)",
        conditions=f"converged, Euclidean loss; {PAIRED}",
        judge=trivial_mean,
        missing=NO_CARDS,
    ),
    Claim(
        "separate networks and MOON beat the trivial classifier on all attributes",
        paper="only these do (§2.3, figure 2)",
        conditions="converged, Euclidean loss; each attribute, paired by image on the test set, intervals "
        "over persons where the data set has them",
        judge=below_trivial,
        missing=NO_CARDS,
    ),
    Claim(
        "separate networks and MOON err less than LNets+ANet",
        paper="9.20 vs 12.70 %, p < 1e-28 (§2.3, 6)",
        conditions=f"converged, Euclidean loss; {PAIRED}; LNets+ANet as quoted: all of CelebA's test set, "
        "unaligned, so that images are not the same",
        judge=below_lnets,
        missing=NO_CARDS,
    ),
)
