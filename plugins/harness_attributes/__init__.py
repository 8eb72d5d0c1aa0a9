"""Attribute models of the facial-attribute study: separate networks and MOON, with their recipes."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import ModelSpec

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

RMSProp at a rate of 1e-5 with inverse decay, batches of 64, no augmentation, from scratch, until convergence
on the validation set after two to ten epochs. Not published, and conventions here: the decays, their power,
and the number of epochs without improvement that count as convergence.
"""


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
            presets={"quick": {}, "paper": PAPER},
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
            presets={"quick": {}, "paper": PAPER},
            traits=frozenset({"joint-loss"}),
            card_size={"quick": QUICK_SIZE, "paper": PAPER_SIZE},
        ),
    ]
