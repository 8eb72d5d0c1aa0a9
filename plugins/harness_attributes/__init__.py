"""This plugin has the models (separate networks, MOON, majority) and analyses of the attribute study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec, ModelSpec

PAPER_SIZE = (218, 178)
QUICK_SIZE = (88, 72)

PAPER = {
    "architecture": "vgg-16",
    "width": 64,
    "depth": None,
    "dropout": 0.5,
    "optimizer": "rmsprop",
    "schedule": "inverse-decay",
    "learning_rate": 1e-5,
    "weight_decay": 1e-5,
    "rms_decay": 0.98,
    "decay_gamma": 1e-4,
    "decay_power": 0.75,
    "epochs": 10,
    "patience": 2,
    "batch_size": 64,
    "flip": False,
    "precision": "float32",
}
"""The published architecture and recipe (Rozsa et al., sections 2.1 and 2.3).

Networks are trained from scratch by RMSProp with a learning rate of 1e-5, inverse decay, batches of 64 and no
augmentation, until convergence on the validation set after two to ten epochs. The paper does not state the
decays, their power, and the number of epochs without improvement that mean convergence; these are conventions
of this project. In Caffe, which the paper used, Euclidean loss has a factor 1/2; here, as in eq. 1 and 4, it
has none, so that the same weight decay weighs half as much against it.
"""


def training_passes(parameters: Mapping[str, Any]) -> float:
    """Return the largest number of forward and backward passes over the training set, per network.

    Args:
        parameters: the parameters of a model; one without epochs makes no passes.
    """
    epochs = float(parameters.get("epochs", 0))
    checkpoint = parameters.get("checkpoint", "converged")
    return epochs if checkpoint == "converged" else min(epochs, float(checkpoint))


def _patient(parameters: Mapping[str, Any]) -> bool:
    """Say whether the second revision trains otherwise: patience keeps no state before the second epoch."""
    return parameters["patience"] is not None


@hookimpl
def harness_models() -> list[ModelSpec]:
    """Return the models of this plugin."""
    return [
        ModelSpec(
            name="separate",
            summary="one VGG-16 per attribute, combined to one model with a score per attribute",
            source="Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness, section 2.1, eq. 1",
            build="harness_attributes.separate:build",
            train="harness_attributes.separate:train",
            revision=2,
            revised=_patient,
            head="attributes",
            presets={"quick": {}, "paper": PAPER},
            training_passes=training_passes,
            counted_per="attribute",
            card_size={"quick": QUICK_SIZE, "paper": PAPER_SIZE},
        ),
        ModelSpec(
            name="moon",
            summary="mixed objective optimization network: one VGG-16 with a score per attribute",
            source="Rudd et al. 2016; Rozsa et al., section 2.1, eq. 4",
            build="harness_attributes.moon:build",
            train="harness_attributes.moon:train",
            revision=2,
            revised=_patient,
            head="attributes",
            presets={"quick": {}, "paper": PAPER},
            training_passes=training_passes,
            traits=frozenset({"joint-loss"}),
            card_size={"quick": QUICK_SIZE, "paper": PAPER_SIZE},
        ),
        ModelSpec(
            name="majority",
            traits=frozenset({"constant"}),
            summary="the trivial classifier: each attribute's more frequent value in the training set",
            source="Rozsa et al., Fig. 2, Trivial",
            build="harness_attributes.majority:build",
            train="harness_attributes.majority:train",
            head="attributes",
            presets={"quick": {}, "paper": {}},
            training_passes=training_passes,
            card_size={"quick": QUICK_SIZE, "paper": PAPER_SIZE},
        ),
    ]


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """Return the analyses of this plugin: the tables and figures of the facial-attribute study."""

    def spec(name: str, module: str, summary: str, place: str) -> AnalysisSpec:
        return AnalysisSpec(
            name=name,
            summary=summary,
            source=f"Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness, {place}",
            run=f"harness_attributes.analyses.{module}:run",
        )

    return [
        spec("flippability-by-pass", "flippability", "share flipped at each threshold of PASS", "table 1"),
        spec("robustness-progress", "progress", "adversarials before and after further training", "table 2"),
        spec("attribute-error", "classification", "error by attribute, beside published ones", "figure 2"),
        spec("attribute-success", "success", "share flipped by attribute", "figure 3"),
        spec("portability", "portability", "what adversarials do to other attributes' networks", "figure 4"),
        spec(
            "flip-correlation", "correlation", "attributes of a joint network that flip together", "figure 5"
        ),
        spec("example-panels", "panels", "original, magnified perturbation, adversarial", "figure 1"),
        spec(
            "model-comparison", "comparison", "paired tests of models over attributes", "sections 2.3, 5, 6"
        ),
        spec("claims", "claims", "the paper's claims, judged on these records", "sections 3 to 6"),
    ]
