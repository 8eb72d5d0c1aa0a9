"""This plugin has the Bayes-optimal study, on images from densities whose best classifier is known."""

from __future__ import annotations

from functools import partial

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec, DatasetSpec, ModelSpec
from harness_bayes.model_specs import LATER, LIBRARY, MODELS, PAPER

_mixtures = partial(
    DatasetSpec,
    source=f"{PAPER}, section 2.1, appendix B.2",
    derived=True,
    fit="harness_bayes.class_mixtures:fit",
    library=LIBRARY,
    later=LATER,
)


@hookimpl
def harness_datasets() -> list[DatasetSpec]:
    """Return the data sets of this plugin, which are all made from another one."""
    return [
        _mixtures(
            name="mfa-symmetric",
            summary="two classes sampled from mixtures with equal, small noise: the optimum is robust",
            load="harness_bayes.mixture_data:load_symmetric",
        ),
        _mixtures(
            name="mfa-asymmetric",
            summary="two classes sampled from mixtures with wide outliers: the optimum is vulnerable",
            load="harness_bayes.mixture_data:load_asymmetric",
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
    """Return the models of this plugin."""
    return [*MODELS]


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """Return the analyses of this plugin: the tables and figures of the study."""

    def spec(name: str, summary: str, place: str) -> AnalysisSpec:
        return AnalysisSpec(
            name=name,
            summary=summary,
            source=f"{PAPER}, {place}",
            run=f"harness_bayes.analyses.{name.replace('-', '_')}:run",
        )

    return [
        spec("drawn-samples", "drawn images of both classes, and of the outliers", "figures 2 (right), 10"),
        spec("toy-distributions", "distances to the optimal boundary in the plane", "figures 3, 5"),
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
            "adversarial-panels",
            "original, magnified change, adversarial by model",
            "figures 1, 4, 7, 12 to 16",
        ),
        spec("optimality-claims", "the paper's claims, judged on these records", "sections 2 to 5"),
    ]
