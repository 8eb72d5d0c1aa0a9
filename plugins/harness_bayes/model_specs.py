"""These specs describe the models of this plugin; they import none of the models' code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.specs import ModelSpec, Parameters

PAPER = "Richardson & Weiss, A Bayes-Optimal View on Adversarial Examples"
PAPER_CNN: Parameters = {"width": 64, "depth": 6, "fresh": True}
"""The filters of the library's network that the study used; the paper does not state its depth. Samples are
drawn anew at each step."""
PAPER_ADVERSARIAL: Parameters = {**PAPER_CNN, "steps": 10}
PAPER_SVM: Parameters = {"images": 10_000}
"""The paper does not state it; this number fits into 2 GB."""
PAPER_MIXTURE: Parameters = {
    "steps": 10_000,
    "learning_rate": 5e-5,
    "decay": False,
    "surveyed": 10_000,
    "analysed": 300,
    "judgements": 0,
}
"""The values of the public code; the other defaults are the published ones."""
LIBRARY = "scikit-learn"
SIZE = (64, 64)


def training_passes(parameters: Mapping[str, Any]) -> float:
    """Return the largest number of passes over the training images; 0 for mixtures and SVMs."""
    epochs = float(parameters.get("epochs", 0))
    inner = float(parameters.get("steps", 0)) if parameters.get("beta", 1.0) else 0.0
    unchanged = 1.0 if "beta" in parameters else 0.0  # TRADES passes the original images, too
    return epochs * (1 + unchanged + inner)


LATER: Parameters = {"fresh": False, "surveyed": 512, "analysed": 256, "judgements": 4}
"""Options of trainings and fits that came later, and what was done before."""

_model = partial(
    ModelSpec,
    head="classes",
    training_passes=training_passes,
    card_size={"quick": SIZE, "paper": SIZE},
    later=LATER,
)
_SOME: Parameters = {"images": 2000}

MODELS = (
    _model(
        name="bayes-optimal",
        summary="the class with the greater density at the image; no classifier is more accurate",
        source=f"{PAPER}, section 2, appendix B.2",
        build="harness_bayes.bayes_optimal:build",
        train="harness_bayes.bayes_optimal:train",
        presets={"quick": {}, "paper": {}},
        example="harness_bayes.bayes_optimal:example",
    ),
    _model(
        name="mfa",
        summary="the more probable class by mixtures of factor analysers, fitted to the training images",
        source=f"{PAPER}, appendix B.1",
        build="harness_bayes.bayes_optimal:build",
        train="harness_bayes.bayes_optimal:train_mfa",
        presets={"quick": {}, "paper": PAPER_MIXTURE},
        library=LIBRARY,
    ),
    _model(
        name="cnn",
        summary="3x3 convolutions and LeakyReLU",
        source=f"{PAPER}, appendix B.3",
        build="harness_bayes.cnn:build",
        train="harness_bayes.cnn:train",
        presets={"quick": _SOME, "paper": PAPER_CNN},
    ),
    _model(
        name="cnn-trades",
        summary="the network of cnn, trained to have equal outputs near its images",
        source=f"{PAPER}, section 3, figure 8; Zhang et al. 2019",
        build="harness_bayes.cnn:build",
        train="harness_bayes.adversarial_training:train_trades",
        presets={"quick": _SOME, "paper": PAPER_ADVERSARIAL},
    ),
    _model(
        name="cnn-pgd",
        summary="the network of cnn, trained on PGD's adversarials",
        source=f"{PAPER}, beside figure 8; Madry et al. 2018",
        build="harness_bayes.cnn:build",
        train="harness_bayes.adversarial_training:train_pgd",
        presets={"quick": _SOME, "paper": PAPER_ADVERSARIAL},
    ),
    _model(
        name="linear-svm",
        summary="a linear support vector machine",
        source=f"{PAPER}, appendix B.4",
        build="harness_bayes.svm:build_linear",
        train="harness_bayes.svm:train_linear",
        presets={"quick": _SOME, "paper": PAPER_SVM},
        library=LIBRARY,
    ),
    _model(
        name="rbf-svm",
        summary="a support vector machine with the narrowest radial kernel that keeps the accuracy",
        source=f"{PAPER}, appendix B.5",
        build="harness_bayes.svm:build_rbf",
        train="harness_bayes.svm:train_rbf",
        presets={"quick": {"images": 1000}, "paper": PAPER_SVM},
        library=LIBRARY,
    ),
)
