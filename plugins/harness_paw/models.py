"""The models of the cascade are built here from what a manifest says."""

from __future__ import annotations

from harness.errors import ModelError
from harness.training import Task
from harness_paw.cascade import Cascade, SelectiveCascade, Switch, Whole
from harness_paw.crop import CropMode
from harness_paw.layers import Design

QUICK_DESIGN = Design()


def build_paw(
    task: Task, *, design: Design = QUICK_DESIGN, switch: Switch = "all", crop: CropMode = "hard"
) -> Cascade:
    """Build an untrained PaW: part subnets, the whole image's subnet, and the two layers that combine them.

    Args:
        switch: "all" combines the scores of all subnets, as published, so that one attribute's score needs
            all of them; "part-and-whole" combines, for each attribute, only those of its own part's subnet
            and of the whole image's, so that one score costs two subnets and the localisation.
        crop: "hard" keeps the places of crops constant for the gradient; "soft" places and reads crops such
            that the gradient passes through their places, too. Both have the same weights.
    """
    kind = Cascade if switch == "all" else SelectiveCascade
    return kind(task.shape[0], _names(task), design, combination=switch, crop=crop)


def build_part_only(task: Task, *, design: Design = QUICK_DESIGN, crop: CropMode = "hard") -> Cascade:
    """Build untrained part subnets, each of which decides the attribute of its own part.

    Args:
        crop: "hard" keeps the places of crops constant for the gradient, "soft" lets the gradient pass.
    """
    return SelectiveCascade(task.shape[0], _names(task), design, combination="own-part", crop=crop)


def build_whole_only(task: Task, *, design: Design = QUICK_DESIGN) -> Whole:
    """Build the untrained subnet of the whole image alone."""
    return Whole(task.shape[0], _names(task), design)


def build_grid(task: Task, *, design: Design = QUICK_DESIGN) -> Cascade:
    """Build an untrained cascade whose parts are the 4x4 blocks of the image."""
    return Cascade(task.shape[0], _names(task), design, regions="grid")


def _names(task: Task) -> tuple[str, ...]:
    if not task.attribute_names:
        raise ModelError("the cascade needs a data set with attributes")
    return task.attribute_names
