"""The models of the cascade are built here from what a manifest says."""

from __future__ import annotations

from harness.errors import ModelError, nearest
from harness.training import Task
from harness_paw.cascade import Cascade, SelectiveCascade, Switch, Whole
from harness_paw.crop import CropMode
from harness_paw.layers import Design

QUICK_DESIGN = Design()


def build_paw(
    task: Task,
    *,
    design: Design = QUICK_DESIGN,
    switch: Switch = "all",
    crop: CropMode = "hard",
    attributes: list[str] | None = None,
) -> Cascade:
    """Build an untrained PaW: part subnets, the whole image's subnet, and the two layers that combine them.

    Args:
        switch: "all" combines the scores of all subnets, as published, so that one attribute's score needs
            all of them; "part-and-whole" combines, for each attribute, only those of its own part's subnet
            and of the whole image's, so that one score costs two subnets and the localisation.
        crop: "hard" keeps the places of crops constant for the gradient; "soft" places and reads crops such
            that the gradient passes through their places, too. Both have the same weights.
        attributes: the attributes that it learns and answers, in this order; None: all of the task.
    """
    kind = Cascade if switch == "all" else SelectiveCascade
    return kind(task.shape[0], _names(task, attributes), design, combination=switch, crop=crop)


def build_part_only(
    task: Task,
    *,
    design: Design = QUICK_DESIGN,
    crop: CropMode = "hard",
    attributes: list[str] | None = None,
) -> Cascade:
    """Build untrained part subnets, each of which decides the attribute of its own part.

    Args:
        crop: "hard" keeps the places of crops constant for the gradient, "soft" lets the gradient pass.
        attributes: the attributes that it learns and answers, in this order; None: all of the task.
    """
    return SelectiveCascade(
        task.shape[0], _names(task, attributes), design, combination="own-part", crop=crop
    )


def build_whole_only(
    task: Task, *, design: Design = QUICK_DESIGN, attributes: list[str] | None = None
) -> Whole:
    """Build the untrained subnet of the whole image alone.

    Args:
        attributes: the attributes that it learns and answers, in this order; None: all of the task.
    """
    return Whole(task.shape[0], _names(task, attributes), design)


def build_grid(task: Task, *, design: Design = QUICK_DESIGN, attributes: list[str] | None = None) -> Cascade:
    """Build an untrained cascade whose parts are the 4x4 blocks of the image.

    Args:
        attributes: the attributes that it learns and answers, in this order; None: all of the task.
    """
    return Cascade(task.shape[0], _names(task, attributes), design, regions="grid")


def _names(task: Task, wanted: list[str] | None) -> tuple[str, ...]:
    known = task.attribute_names
    if not known:
        raise ModelError("the cascade needs a data set with attributes")
    if wanted is None:
        return known
    for name in wanted:
        if name not in known:
            raise ModelError(f'attribute "{name}" is unknown; {nearest(name, known)}')
    if not wanted or len(set(wanted)) < len(wanted):
        raise ModelError(f"attributes = {wanted} must name at least one attribute, and none twice")
    return tuple(wanted)
