"""This plugin has FaceNet, its contrastive adversarial pre-training and triplet adversarial training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec, MetricSpec, ModelSpec

PAPER = "Adversarial contrastive pre-training and triplet adversarial fine-tuning of FaceNet"
SIZE = (160, 160)
"""The height and width for which parameters are counted; they are the same for all sizes."""

PUBLISHED: Mapping[str, Any] = {
    "backbone": "resnet50",
    "width": 64,
    "small_stem": False,
    "image_size": None,
    "batch_size": 128,
    "epoch_images": None,
    "schedule": "constant",
    "precision": "float32",
    "held_out": 100,
    "standard_epochs": 250,
    "standard_rate": 1e-3,
    "tuning_epochs": 50,
    "tuning_rate": 1e-3,
    "pretraining_epochs": 500,
    "pretraining_rate": 1e-3,
    "projector_width": 128,
    "attack_step_size": 2 / 255,
    "attack_steps": 7,
}
"""The published architecture and recipe (section 4), with conventions where the paper states nothing.

Triplet adversarial training alone has ``tuning_epochs = 250``.
"""


def training_flops(parameters: Mapping[str, Any], images: int, forward: float) -> float:
    """Return the most operations of a training, as if nothing of it were in the cache.

    A training step of an image is worth three forward passes, a step of the attack two.
    """
    shown = min(images, parameters["epoch_images"] or images)
    attack = 2 * parameters["attack_steps"]
    costs = {
        "standard": parameters["standard_epochs"] * 3 * 3,
        "contrastive": parameters["pretraining_epochs"] * (2 * 3 + 1 + attack),
        "tuning": parameters["tuning_epochs"] * (6 * 3 + 2 + attack),
    }
    stages = {
        "standard": ("standard",),
        "adversarial": ("standard", "tuning"),
        "contrastive": ("contrastive", "tuning"),
        "scratch": ("tuning",),
        "given": (),
    }[parameters["recipe"]]
    return float(sum(costs[stage] for stage in stages) * shown * forward)


@hookimpl
def harness_models() -> list[ModelSpec]:
    """Return the models of this plugin."""
    return [
        ModelSpec(
            name="facenet",
            summary="FaceNet that learned from clean or attacked triplets, or first from attacked views",
            source=f"{PAPER}, sections 3 and 4; Schroff et al. 2015; He et al. 2016",
            build="harness_facenet.facenet:build",
            train="harness_facenet.facenet:train",
            head="embedding",
            presets={"quick": {}, "paper": PUBLISHED},
            card_size={"quick": SIZE, "paper": SIZE},
            counting="one set of batch norms, that which judges; attacked recipes learn two "
            "(53,120 parameters more for ResNet50) and a projector, which are no part of the network",
            training_flops=training_flops,
        ),
    ]


@hookimpl
def harness_metrics() -> list[MetricSpec]:
    """Return the accuracies of triplets, which other cases do not have."""
    found = []
    for name, heading, word, what in (
        ("standard", "SA", "without the attack", "standard accuracy"),
        ("robust", "RA", "under the attack", "robust accuracy"),
        ("both", "S&R", "in both together", "standard and robust accuracy"),
    ):
        for suffix, mark, bound in (("", "", "by the margin"), ("_at_zero", "0", "at all")):
            found.append(
                MetricSpec(
                    name=f"triplet-{name}{suffix.replace('_', '-')}",
                    summary=f"{what}: triplets whose negative is farther than the positive {bound}, {word}",
                    source=f"{PAPER}, section 5",
                    run=f"harness_facenet.triplet_metrics:{name}_accuracy{suffix}",
                    columns=("goal", "margin_clean", "margin_adv", "threshold", "valid", "error", "cluster"),
                    goals=frozenset({"triplet"}),
                    unit="share",
                    direction="higher is more robust" if name != "standard" else "neither",
                    heading=f"{heading}{mark} %",
                    scale=100,
                    digits=1,
                    explanation=f"triplets whose negative is farther than the positive {bound}, {word}",
                )
            )
    return found


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """Return the analyses of this plugin."""

    def spec(name: str, module: str, summary: str, place: str) -> AnalysisSpec:
        run = f"harness_facenet.analyses.{module}:run"
        return AnalysisSpec(name=name, summary=summary, source=f"{PAPER}, {place}", run=run)

    return [
        spec("triplet-accuracies", "accuracies", "SA, RA and S&R by model and attack", "figures 4 and 5"),
        spec("contrastive-loss", "contrastive_loss", "loss of pre-training by epoch", "figure 3"),
        spec("tuning-epochs", "tuning_epochs", "accuracy by epoch of fine-tuning", "section 5"),
        spec("unseen-attacks", "unseen_attacks", "robust accuracy under attacks not trained on", "section 6"),
        spec("facenet-claims", "claims", "the paper's claims, held against triplets", "section 5"),
    ]
