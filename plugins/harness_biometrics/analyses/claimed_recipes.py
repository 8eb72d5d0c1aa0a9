"""Claims of the paper on how verifiers are trained (Arvinte et al., sections 4 and 4.2, B.1, tables 1, 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.analysis.claims import Claim, within
from harness.analysis.comparisons import Verifier
from harness.metrics.resampling import difference
from harness_biometrics.analyses.evidence import Evidence, Judged, area, gap
from harness_biometrics.analyses.recipes import DOA, NONE, PROPOSED, WEAK, mirrors, selects

ALIKE = 0.02


def proposed_over_weak(evidence: Evidence, bars: Any) -> Judged:
    """The proposed recipe has the larger areas under attack than weak adversarial training."""
    return evidence.more_robust(PROPOSED, WEAK)


def proposed_over_doa(evidence: Evidence, bars: Any) -> Judged:
    """The proposed recipe has the larger areas under attack than DOA."""
    return evidence.more_robust(PROPOSED, DOA)


def doa_over_weak(evidence: Evidence, bars: Any) -> Judged:
    """DOA has the larger areas under attack than weak adversarial training."""
    return evidence.more_robust(DOA, WEAK)


def clean_over_others(evidence: Evidence, bars: Any) -> Judged:
    """The proposed recipe has the largest area without an attack."""
    for other in (WEAK, DOA):
        yield from evidence.more_accurate(PROPOSED, other)


def trained_over_untrained(evidence: Evidence, bars: Any) -> Judged:
    """Attacks in training make the proposed recipe more robust."""
    return evidence.more_robust(PROPOSED, NONE)


def as_accurate_untrained(evidence: Evidence, bars: Any) -> Judged:
    """Attacks in training do not change the area without an attack."""
    for one in evidence.trained(PROPOSED):
        for other in evidence.trained(NONE):
            sides = evidence.area(one), evidence.area(other)
            texts = [
                f"{model.model} {area(side.value)}" for model, side in zip((one, other), sides, strict=True)
            ]
            yield within(
                difference(*sides),
                f"clean AU-ROC {' − '.join(texts)}:",
                at_least=-ALIKE,
                at_most=ALIKE,
                form=gap,
                used=(one, other),
            )


def mirroring_gains(evidence: Evidence, bars: Any) -> Judged:
    """Mirroring increases the areas."""
    return _gains(evidence, "mirror", mirrors)


def selection_gains(evidence: Evidence, bars: Any) -> Judged:
    """Selection of the reference increases the areas."""
    return _gains(evidence, "selection", selects)


def _gains(evidence: Evidence, key: str, on: Callable[[Verifier], bool]) -> Judged:
    for verifier in evidence.trained(PROPOSED):
        if on(verifier):
            for other in evidence.without(key, verifier):
                yield from evidence.gained(verifier, other)


UNDER = "AU-ROC under each patch attack that both models met; difference with a 95 % interval over persons"
WAYS = (
    "the proposed model, without an attack and under each patch, on the same images compared in both ways; "
    "difference with a 95 % interval over persons"
)
LACKING = "the models of these two recipes were not both attacked with the same patch"

CLAIMS = (
    Claim(
        "the proposed recipe is more robust than weak adversarial training",
        paper="AU-ROC .868 vs .704 (eyeglasses), .850 vs .700 (square), .893 vs .571 (eye patch) (table 1)",
        conditions=UNDER,
        judge=proposed_over_weak,
        missing=LACKING,
        short="proposed > weak AT under attack",
    ),
    Claim(
        "the proposed recipe is more robust than DOA",
        paper="AU-ROC .868 vs .830 and .843 (eyeglasses), .850 vs .836 and .831 (square), .893 vs .826 and "
        ".879 (eye patch), with C = 4 and 10 (table 1)",
        conditions=UNDER,
        judge=proposed_over_doa,
        missing=LACKING,
        short="proposed > DOA under attack",
    ),
    Claim(
        "DOA is more robust than weak adversarial training",
        paper="AU-ROC .830 and .843 vs .704 (eyeglasses), .836 and .831 vs .700 (square), .826 and .879 vs "
        ".571 (eye patch) (table 1)",
        conditions=UNDER,
        judge=doa_over_weak,
        missing=LACKING,
        short="DOA > weak AT under attack",
    ),
    Claim(
        "the proposed recipe is the most accurate without an attack",
        paper="AU-ROC .978 vs .886 (weak), .972 and .967 (DOA, C = 4 and 10) (table 1)",
        conditions="clean AU-ROC of each pair of models; difference with a 95 % interval over persons",
        judge=clean_over_others,
        missing="there are no two models of these recipes",
        short="proposed is best without an attack",
    ),
    Claim(
        "mirroring helps",
        paper="AU-ROC .957 → .959 without an attack, .773 → .812 (eyeglasses), .742 → .789 (square), .775 → "
        ".791 (eye patch); with selection .976 → .978, .831 → .868, .809 → .850, .884 → .893 (table 1)",
        conditions=WAYS,
        judge=mirroring_gains,
        missing="no data set of the suite has the same comparisons with and without mirror",
        short="mirroring helps",
    ),
    Claim(
        "selection of the reference helps",
        paper="AU-ROC .957 → .976 without an attack, .773 → .831 (eyeglasses), .742 → .809 (square), .775 → "
        ".884 (eye patch); with mirroring .959 → .978, .812 → .868, .789 → .850, .791 → .893 (table 1)",
        conditions=WAYS,
        judge=selection_gains,
        missing='no data set of the suite has the same comparisons with selection = "nearest" and "first"',
        short="selection helps",
    ),
    Claim(
        "attacks in training are necessary for robustness",
        paper="AU-ROC .868 vs .590 (eyeglasses), .850 vs .695 (square), .893 vs .657 (eye patch) (table 2)",
        conditions=UNDER,
        judge=trained_over_untrained,
        missing=LACKING,
        short="attacks in training help under attack",
    ),
    Claim(
        "attacks in training are not necessary for clean performance",
        paper="AU-ROC .978 with, .977 without (table 2)",
        conditions=f"clean AU-ROC; a test cannot show that two are alike, so within {ALIKE} is read as that",
        judge=as_accurate_untrained,
        missing="there are no models of the proposed recipe with and without attacks in training",
        short="attacks in training change clean little",
    ),
)
