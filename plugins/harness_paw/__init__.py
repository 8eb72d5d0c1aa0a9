"""This plugin has the cascade PaW: localised parts and the whole face, and its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec, ModelSpec

SOURCE = "Ding et al., A Deep Cascade Network for Unaligned Face Attribute Classification"
PAPER_SIZE = (224, 224)
QUICK_SIZE = (88, 72)

PAPER: Mapping[str, Any] = {
    "subnet_width": None,
    "localiser_width": 64,
    "localiser_modules": 5,
    "localiser_depth": None,
    "maps": 32,
    "poolings": 4,
    "localiser_poolings": 4,
    "smoothing": 0.0,
    "image_size": PAPER_SIZE,
    "crop_share": 2 / 7,
    "optimizer": "sgd",
    "schedule": "constant",
    "weight_decay": 5e-4,
    "batch_size": 128,
    "precision": "float32",
    "branch_width": 4096,
    "localiser_epochs": 10,
    "localiser_rate": 1e-4,
    "localiser_balance": 0.0,
    "hint_epochs": 10,
    "hint_rate": 1e-7,
    "whole_epochs": 10,
    "whole_rate": 1e-4,
    "part_epochs": 15,
    "part_rate": 1e-4,
    "layer_epochs": 5,
    "layer_rate": 0.1,
    "final_epochs": 5,
    "final_rate": 1e-3,
}
"""The published architecture and recipe ("Implementation details").

The paper states the learning rates of all stages but the third, 10 epochs of the localisation network and 15
of the parts' subnets, and a momentum of 0.9 and a weight decay of 5e-4 for all. The other epochs, the third
stage's rate and the width of the classification branch are conventions of this project. Networks are trained
from scratch here; the authors started from VGG-Face.
"""

COUNTED = (
    "the subnets and the two layers, as in the paper's 11 M: preset paper has 41 SNet3 of 266,920, 1,680 of "
    "the region switch and 1,640 of the attribute relation layer; the localisation network would add "
    "20,626,536, but chooses crops alone, and has its weights as buffers"
)
COUNTED_WHOLE = (
    "convolutions with bias and batch normalisation: preset paper has 266,920 with SNet3 (paper: 0.27 M), "
    "2,231,080 with SNet2 (2 M), 7,473,960 with SNet1 (6 M, which its Conv6 alone has) and 20,626,536 with "
    "TNet (19 M; with VGG-Face's widths, whose weights the text starts from: those of Table 3 give 13.7 M)"
)


CROP = ("crop_row", "crop_column")
"""What models with crops tell of each image: the centre of the crop of the case's attribute, in pixels."""


def training_passes(parameters: Mapping[str, Any]) -> float:
    """Return how often training shows each training image, at most, over all stages that a model has."""
    names = ("localiser_epochs", "hint_epochs", "whole_epochs", "part_epochs", "final_epochs")
    return float(sum(parameters.get(name, 0) for name in names))


def _model(
    name: str, summary: str, place: str, build: str, counting: str, observes: tuple[str, ...] = ()
) -> ModelSpec:
    return ModelSpec(
        name=name,
        summary=summary,
        source=f"{SOURCE}, {place}",
        build=f"harness_paw.models:{build}",
        train="harness_paw.training:train",
        head="attributes",
        presets={"quick": {}, "paper": PAPER},
        traits=frozenset({"joint-loss"}),
        training_passes=training_passes,
        card_size={"quick": QUICK_SIZE, "paper": PAPER_SIZE},
        family="cascade",
        counting=counting,
        observes=observes,
        revision=2,
    )


@hookimpl
def harness_models() -> list[ModelSpec]:
    """Return the models of this plugin."""
    return [
        _model(
            "paw",
            "parts and whole: a subnet per localised part and one of the whole face, combined by two layers",
            "the whole paper",
            "build_paw",
            COUNTED,
            CROP,
        ),
        _model(
            "paw-part-only",
            "the subnets of the localised parts, each of which decides its own attribute",
            "Table 5, part-only",
            "build_part_only",
            "the parts' subnets; the localisation network holds its weights as buffers",
            CROP,
        ),
        _model(
            "paw-whole-only",
            "the subnet of the whole face alone, learned by hints from the localisation network",
            "Tables 3 to 5, whole-only",
            "build_whole_only",
            COUNTED_WHOLE,
        ),
        _model(
            "paw-grid",
            "PaW whose parts are 4x4 blocks of the image, without localisation",
            "section Classification Results, 4x4 blocks",
            "build_grid",
            "17 subnets and the two layers",
        ),
    ]


ANALYSES = {
    "localisation-heatmaps": (
        "heatmaps:run",
        "where attributes are found in faces, and their crops",
        "figure 4",
    ),
    "switch-weights": ("layers:switch", "region switch: own part against whole image", "figure 5"),
    "relation-weights": ("layers:relation", "attribute relation layer, with the strongest pairs", "figure 6"),
    "paw-tables": ("tables:run", "published accuracies beside those of the suite's models", "Tables 1 to 5"),
    "paw-claims": ("claims:run", "the claims of the paper on PaW, held against cards and records", "all"),
    "paw-robustness": ("robustness:run", "PaW beside other models under attack; white-box and transfer", ""),
    "crop-moves": ("crop_moves:run", "how far crops move under attack, and success by that distance", ""),
}
"""By name: the function, a summary, and the place in the paper; without one it is this project's own."""


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """Return the analyses of this plugin."""
    return [
        AnalysisSpec(
            name=name,
            summary=summary,
            source=f"{SOURCE}, {place}" if place else "",
            run=f"harness_paw.analyses.{run}",
        )
        for name, (run, summary, place) in ANALYSES.items()
    ]
