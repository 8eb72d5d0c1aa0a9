"""Attribute models of the facial-attribute study: separate networks and MOON, with their recipes."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import ModelSpec

PAPER_SIZE = (218, 178)
QUICK_SIZE = (88, 72)


@hookimpl
def harness_models() -> list[ModelSpec]:
    """The models of this plugin."""
    return [
        ModelSpec(
            name="separate",
            summary="one VGG-16 per attribute, presented as one model with a score per attribute",
            source="Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness, section 2.1, eq. 1",
            build="harness_attributes.separate:build",
            train="harness_attributes.separate:train",
            head="attributes",
            presets={
                "quick": {"architecture": "narrow-vgg"},
                "paper": {"architecture": "vgg-16"},
            },
            counted_per="attribute",
            card_size={"quick": QUICK_SIZE, "paper": PAPER_SIZE},
        ),
        ModelSpec(
            name="moon",
            summary="mixed objective optimization network: one VGG-16 with a score per attribute",
            source="Rudd et al. 2016; Rozsa et al., section 2.1, eq. 4",
            build="harness_attributes.moon:build",
            train="harness_attributes.moon:train",
            head="attributes",
            presets={
                "quick": {"architecture": "narrow-vgg"},
                "paper": {"architecture": "vgg-16"},
            },
            traits=frozenset({"joint-loss"}),
            card_size={"quick": QUICK_SIZE, "paper": PAPER_SIZE},
        ),
    ]
