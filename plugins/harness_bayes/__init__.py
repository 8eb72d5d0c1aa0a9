"""A study in which the best possible classifier is known: images drawn from mixtures of factor analysers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec, DatasetSpec, ModelSpec, Parameters

PAPER = "Richardson & Weiss, A Bayes-Optimal View on Adversarial Examples"
PAPER_CNN: Parameters = {"width": 64, "depth": 6}
"""Filters of the library's network that the study used; its depth is not published."""
PAPER_ADVERSARIAL: Parameters = {**PAPER_CNN, "steps": 10}
PAPER_SVM: Parameters = {"images": 10_000}
"""Not published; what fits into 2 GB."""
PAPER_MIXTURE: Parameters = {"steps": 10_000, "learning_rate": 5e-5, "decay": False}
"""The public code's; the other defaults are the published ones."""
LIBRARY = "scikit-learn"
SIZE = (64, 64)


def training_passes(parameters: Mapping[str, Any]) -> float:
    """Passes over the training images at most, forward and backward; none for mixtures and SVMs."""
    epochs = float(parameters.get("epochs", 0))
    inner = float(parameters.get("steps", 0)) if parameters.get("beta", 1.0) else 0.0
    unchanged = 1.0 if "beta" in parameters else 0.0  # TRADES passes them beside the changed ones
    return epochs * (1 + unchanged + inner)


@hookimpl
def harness_datasets() -> list[DatasetSpec]:
    """The data sets of this plugin, all made from another one."""
    return [
        DatasetSpec(
            name="mfa-symmetric",
            summary="two classes drawn from mixtures of equal, small noise: the optimum is robust",
            source=f"{PAPER}, section 2.1, appendix B.2",
            load="harness_bayes.mixture_data:load_symmetric",
            derived=True,
            fit="harness_bayes.class_mixtures:fit",
            library=LIBRARY,
        ),
        DatasetSpec(
            name="mfa-asymmetric",
            summary="two classes drawn from mixtures with wide outliers: the optimum is vulnerable",
            source=f"{PAPER}, section 2.1, appendix B.2",
            load="harness_bayes.mixture_data:load_asymmetric",
            derived=True,
            fit="harness_bayes.class_mixtures:fit",
            library=LIBRARY,
        ),
        DatasetSpec(
            name="two-classes",
            summary="real images as two classes: with and without an attribute, or of two classes",
            source=f"{PAPER}, section 3, appendix D.4",
            load="harness_bayes.two_classes:load",
            derived=True,
        ),
    ]


@hookimpl
def harness_models() -> list[ModelSpec]:
    """The models of this plugin."""

    def spec(
        name: str,
        code: tuple[str, str],
        summary: str,
        place: str,
        quick: Parameters,
        paper: Parameters,
        **more: Any,
    ) -> ModelSpec:
        build, train = code
        return ModelSpec(
            name=name,
            summary=summary,
            source=f"{PAPER}, {place}",
            build=f"harness_bayes.{build}",
            train=f"harness_bayes.{train}",
            head="classes",
            presets={"quick": quick, "paper": paper},
            training_passes=training_passes,
            card_size={"quick": SIZE, "paper": SIZE},
            **more,
        )

    some = {"images": 2000}
    return [
        spec(
            "bayes-optimal",
            ("bayes_optimal:build", "bayes_optimal:train"),
            "the class from whose density an image was more probably drawn; no classifier is more accurate",
            "section 2, appendix B.2",
            {},
            {},
            example="harness_bayes.bayes_optimal:example",
        ),
        spec(
            "mfa",
            ("bayes_optimal:build", "bayes_optimal:train_mfa"),
            "the more probable class by mixtures of factor analysers, fitted to the training images",
            "appendix B.1",
            {},
            PAPER_MIXTURE,
            library=LIBRARY,
        ),
        spec(
            "cnn",
            ("cnn:build", "cnn:train"),
            "3x3 convolutions and LeakyReLU",
            "appendix B.3",
            some,
            PAPER_CNN,
        ),
        spec(
            "cnn-trades",
            ("cnn:build", "adversarial_training:train_trades"),
            "the network of cnn, trained to answer alike near its images",
            "section 3, figure 8; Zhang et al. 2019",
            some,
            PAPER_ADVERSARIAL,
        ),
        spec(
            "cnn-pgd",
            ("cnn:build", "adversarial_training:train_pgd"),
            "the network of cnn, trained on PGD's adversarials",
            "beside figure 8; Madry et al. 2018",
            some,
            PAPER_ADVERSARIAL,
        ),
        spec(
            "linear-svm",
            ("svm:build_linear", "svm:train_linear"),
            "linear support vectors",
            "appendix B.4",
            some,
            PAPER_SVM,
            library=LIBRARY,
        ),
        spec(
            "rbf-svm",
            ("svm:build_rbf", "svm:train_rbf"),
            "support vectors with a radial kernel, as narrow as accuracy allows",
            "appendix B.5",
            {"images": 1000},
            PAPER_SVM,
            library=LIBRARY,
        ),
    ]


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """The analyses of this plugin: the tables and figures of the study."""

    def spec(name: str, summary: str, place: str) -> AnalysisSpec:
        return AnalysisSpec(
            name=name,
            summary=summary,
            source=f"{PAPER}, {place}",
            run=f"harness_bayes.analyses.{name.replace('-', '_')}:run",
        )

    return [
        spec("l2-by-model", "mean L2 that fools each model", "figure 6"),
        spec(
            "two-class-accuracy", "accuracy before and after the attack, beside published ones", "tables 1, 2"
        ),
        spec("pixel-change", "histograms of the change of a pixel", "figure 7"),
        spec("capacity", "robustness by width, depth and training images; TRADES' trade-off", "figure 8"),
        spec("subspace-distance", "distances to the other class's nearest subspace", "figure 11"),
        spec(
            "training-data", "trained on drawn and on real images, tested on real ones", "table 3, figure 9"
        ),
        spec("attack-agreement", "two attacks on the same images", "appendix C.2"),
        spec(
            "adversarial-panels", "original, magnified change, adversarial by model", "figures 4, 7, 13 to 16"
        ),
        spec("optimality-claims", "the paper's claims, judged on these records", "sections 2 to 5"),
    ]
