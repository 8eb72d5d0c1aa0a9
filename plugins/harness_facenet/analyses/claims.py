"""What the paper claims of adversarial training and of contrastive pre-training, held against triplets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.analysis import Analysis, drawing
from harness.analysis.claims import Claim, Finding, Judged, Missing, figure, larger, table, within
from harness.metrics import Estimate
from harness.results import Results
from harness_facenet.analyses.study import Subject, Tried, read_study

NEAR = 0.05
"""By how much accuracies may differ that are called "very similar" or "slightly lagging"."""


def _seen(pairs: Iterator[tuple[Tried, Tried]]) -> Iterator[tuple[Tried, Tried]]:
    """Yield the pairs under the attack of training, which the paper measures."""
    return (pair for pair in pairs if any(tried.trained_on for tried in pair))


def _above(one: Tried, other: Tried, which: Any) -> Finding | Missing:
    return larger(
        one.accuracy(which),
        other.accuracy(which),
        one.above(other, which),
        f"{'RA' if which == 'robust' else 'SA'} under {one.attack}",
        names=(one.cell.model, other.cell.model),
        form=drawing.percent,
        apart=drawing.points,
        used=(one, other),
    )


def _near(one: Tried, other: Tried, which: Any, least: float) -> Finding | Missing:
    name = "RA" if which == "robust" else "SA"
    gap: Estimate = one.above(other, which)
    what = f"{name} of {one.cell.model} less that of {other.cell.model} under {one.attack}:"
    return within(gap, what, at_least=least, form=drawing.points, used=(one, other))


def adversarial_is_robust(subject: Subject, bars: Any) -> Judged:
    """Judge whether triplet adversarial training has more RA than standard training."""
    for one, other in _seen(subject.same("adversarial", "standard")):
        yield _above(one, other, "robust")


def pretrained_is_robust(subject: Subject, bars: Any) -> Judged:
    """Judge whether pre-training with fine-tuning has more RA than standard training."""
    for one, other in _seen(subject.same("contrastive", "standard")):
        yield _above(one, other, "robust")


def accuracy_lags_slightly(subject: Subject, bars: Any) -> Judged:
    """Judge whether adversarially trained models lose at most some points of SA."""
    for recipe in ("adversarial", "contrastive"):
        for one, other in _seen(subject.same(recipe, "standard")):
            yield _near(one, other, "standard", -NEAR)


def few_epochs_suffice(subject: Subject, bars: Any) -> Judged:
    """Judge whether few epochs after pre-training come as far as many without."""
    for one, other in _seen(subject.same("contrastive", "adversarial")):
        few, many = (tried.cell.model_parameters["tuning_epochs"] for tried in (one, other))
        if few >= many:
            yield Missing(f"{one.cell.model} was tuned for {few} epochs, and {other.cell.model} for {many}")
        else:
            yield _near(one, other, "robust", -NEAR)


def pretraining_helps(subject: Subject, bars: Any) -> Judged:
    """Judge whether pre-training gains RA at equally many epochs of fine-tuning."""
    for one, other in _seen(subject.same("contrastive", "scratch")):
        both = {tried.cell.model_parameters["tuning_epochs"] for tried in (one, other)}
        if len(both) == 1:
            yield _above(one, other, "robust")
        else:
            yield Missing(f"{one.cell.model} and {other.cell.model} were not tuned for equally many epochs")


def robust_exceeds_standard(subject: Subject, bars: Any) -> Judged:
    """Judge whether attacked triplets are right more often than clean ones."""
    for recipe in ("adversarial", "contrastive"):
        for one in subject.of(recipe):
            if one.trained_on:
                yield larger(
                    one.accuracy("robust"),
                    one.accuracy("standard"),
                    one.robust_above_clean(),
                    f"{one.cell.model} under {one.attack}",
                    names=("RA", "SA"),
                    form=drawing.percent,
                    apart=drawing.points,
                    used=(one,),
                )


def labels_help(subject: Subject, bars: Any) -> Judged:
    """Judge whether labels in the pre-training gain SA and RA over pre-training without."""
    for one, other in _seen(subject.same("semi-supervised", "contrastive")):
        yield _above(one, other, "standard")
        yield _above(one, other, "robust")


CLAIMS = (
    Claim(
        "triplet adversarial training is more robust than standard training",
        paper="RA 84.5 % against 41.7 % (figure 4)",
        conditions="RA at margin 0 is larger, on the same triplets, under the attack of training",
        judge=adversarial_is_robust,
        missing="no models of both recipes under one attack",
        short="adversarial: more RA than standard",
    ),
    Claim(
        "pre-training with fine-tuning is more robust than standard training",
        paper="RA 84.3 % against 41.7 % (figure 4)",
        conditions="RA at margin 0 is larger, on the same triplets, under the attack of training",
        judge=pretrained_is_robust,
        missing="no models of both recipes under one attack",
        short="pre-trained: more RA than standard",
    ),
    Claim(
        "standard accuracy lags only slightly",
        paper="SA 81.9 % and 81.5 % against 82.3 % (figure 4)",
        conditions="SA is at most 5 points below that of standard training, on the same triplets",
        judge=accuracy_lags_slightly,
        missing="no models of both recipes",
        short="SA at most 5 points below standard",
    ),
    Claim(
        "few epochs after pre-training equal many without",
        paper="RA 84.3 % after 50 epochs against 84.5 % after 250 (figure 4)",
        conditions="RA is at most 5 points below that of the longer training without pre-training",
        judge=few_epochs_suffice,
        missing="no models of both recipes under one attack",
        short="few epochs after pre-training equal many",
    ),
    Claim(
        "pre-training gains robustness at equally many epochs",
        paper="implied: pre-training reduces the epochs that are needed",
        conditions="RA is larger than that of fine-tuning alone for as many epochs",
        judge=pretraining_helps,
        missing='no model with recipe = "scratch" under one attack with a pre-trained one',
        short="pre-training gains RA at equal epochs",
    ),
    Claim(
        "robust accuracy exceeds standard accuracy",
        paper="RA 84.5 % against SA 81.9 % (section 5: the positive is then an attacked copy of the anchor)",
        conditions="RA is larger than SA on the same triplets; with a positive of its own image, not a copy",
        judge=robust_exceeds_standard,
        missing="no adversarially trained model under the attack of training",
        short="RA exceeds SA",
    ),
    Claim(
        "labels in the pre-training help",
        paper="about 30 % higher accuracy (section 5.3); figure 5 has lower ones than figure 4",
        conditions="SA and RA are larger than after pre-training without labels, on the same triplets",
        judge=labels_help,
        missing="no model with labels > 0 beside one without",
        short="labels in pre-training help",
    ),
)


def run(results: Results) -> Analysis:
    """Judge the paper's claims on attacked triplets.

    Rows: data set x claim; see ``harness.analysis.claims`` for the columns.

    Raises:
        HarnessError: no triplets were attacked.
    """
    found = table(CLAIMS, read_study(results))
    return Analysis(found, figure(found, CLAIMS, columns="dataset"))
