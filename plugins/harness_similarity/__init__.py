"""This plugin measures the similarity of an adversarial to its original: norms, SSIM and PASS."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import MeasureSpec


@hookimpl
def harness_measures() -> list[MeasureSpec]:
    """Return the measures of this plugin."""
    return [
        MeasureSpec(
            name="pass",
            summary="perceptual adversarial similarity score: SSIM after ECC alignment, at most 1",
            source="Rozsa et al. 2016, Adversarial Diversity and Hard Positive Generation",
            revision=3,
            run="harness_similarity.perceptual:perceptual_similarity",
        ),
        MeasureSpec(
            name="ssim",
            summary="structural similarity, per colour channel and averaged, at most 1",
            source="Wang et al. 2004",
            revision=2,
            run="harness_similarity.structural:structural_similarity",
        ),
        MeasureSpec(
            name="l1",
            summary="sum of absolute changes, in [0, 1] units",
            run="harness_similarity.norms:l1",
        ),
        MeasureSpec(
            name="rmse",
            summary="root mean square change, in 8-bit levels (1/255)",
            run="harness_similarity.norms:rmse",
        ),
    ]
