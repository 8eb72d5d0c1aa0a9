"""This plugin has the robust face verifier, trained with a disentangled generator, and its study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec, ModelSpec

PAPER = "Arvinte et al., Robust Face Verification via Disentangled Representations"
SIZE = (64, 64)
"""The height and width for which parameters are counted; the network sees this of any image."""

PUBLISHED: Mapping[str, Any] = {
    "width": 64,
    "depth": None,
    "batch_norm": False,
    "steps": 20_000,
    "batch_size": 128,
    "schedule": "constant",
    "attack_steps": 10,
    "attack_step_size": 16 / 255,
    "start_steps": 0,
    "validate_every": 50,
    "held_out": 100,
    "people": 2000,
    "keep": "auc",
    "generator_width": 256,
    "generator_hidden": 1024,
    "generator_slope": 0.3,
    "generator_edge": 64,
    "generator_epochs": 200,
    "encoder_epochs": 200,
    "generator_batch": 64,
    "generator_rate": 3e-4,
    "encoder_rate": 1e-4,
    "content_noise": 1.0,
    "content_decay": 1e-3,
    "code_weight": 1e4,
    "precision": "float32",
}
"""The published architecture and recipe (appendix A), and that of the generator in the authors' code.

F is trained from scratch here; the authors started from weights of ImageNet, which ``body_weights`` can name.
"""


def traits_of(parameters: Mapping[str, Any]) -> frozenset[str]:
    """Return what a verifier can do: those that learned from a generator's images keep it."""
    return frozenset({"indirect-anchor"} if parameters["recipe"] in ("proposed", "none") else ())


def training_flops(parameters: Mapping[str, Any], images: int, forward: float) -> float:
    """Return the most operations of a training; see ``harness_verification.costs``."""
    from harness_verification.costs import flops_of_training

    return flops_of_training(parameters, images, forward)


@hookimpl
def harness_models() -> list[ModelSpec]:
    """Return the models of this plugin."""
    return [
        ModelSpec(
            name="verifier",
            summary="robust verifier, trained on attacked pairs of real and of generated faces",
            source=f"{PAPER}, sections 2 to 4, appendix A",
            build="harness_verification.verifier:build",
            train="harness_verification.verifier:train",
            head="embedding",
            presets={"quick": {}, "paper": PUBLISHED},
            card_size={"quick": SIZE, "paper": SIZE},
            traits_of=traits_of,
            training_flops=training_flops,
        ),
        ModelSpec(
            name="raw-pixels",
            summary="the pixels themselves as an embedding: what a verifier must be better than",
            build="harness_verification.raw_pixels:build",
            head="embedding",
            presets={"quick": {}},
            traits=frozenset({"untrained"}),
            card_size={"quick": SIZE},
        ),
    ]


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """Return the analyses of this plugin that read what training measured."""

    def spec(name: str, summary: str, place: str) -> AnalysisSpec:
        run = f"harness_verification.analyses.{name.replace('-', '_')}:run"
        return AnalysisSpec(name=name, summary=summary, source=f"{PAPER}, {place}", run=run)

    return [
        spec("training-curves", "loss and AU-ROC of verifiers while they were trained", "figures 2, 5"),
        spec("generated-pairs", "distances of real and of generated pairs of two persons", "figure 3"),
        spec("quadruplets", "images, reconstructions and swaps of the generator", "figure 9"),
    ]
