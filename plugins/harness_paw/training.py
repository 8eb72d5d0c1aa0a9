"""A model of the cascade is trained here: its stages one after the other, then what its card tells."""

from __future__ import annotations

from harness.dataset import Dataset
from harness.training import Context, StateDict
from harness.training.unfinished import part
from harness_paw.cascade import Cascade, Scored, Whole
from harness_paw.faces import Faces
from harness_paw.notes import Told, cascade_notes, whole_notes
from harness_paw.recipe import Recipe
from harness_paw.stages import Stages

QUICK_RECIPE = Recipe()
SHARES = {"localisation": 0.35, "whole": 0.55, "parts": 0.8, "layers": 0.9, "end-to-end": 1.0}
"""What is done after each stage, in about the time that it takes."""


def train(module: Scored, dataset: Dataset, context: Context, *, recipe: Recipe = QUICK_RECIPE) -> None:
    """Train a cascade, or the whole image's subnet alone, in place and in stages.

    The same seed gives the same weights on the same machine with the same number of threads, even after
    interruptions. Stages that models have in common are trained once.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set lacks attributes, or a training diverged.
    """
    module.to(context.device)
    faces = Faces(
        dataset,
        module.attribute_names,
        batch_size=recipe.batch_size,
        flip=recipe.flip,
        seed=context.seed,
        device=context.device,
    )
    channels, height, width = dataset.shape
    size = module.design.image_size or (height, width)
    stages = Stages(module.design, recipe, faces, context, module.resized, (channels, *size))
    try:
        if isinstance(module, Cascade):
            _train_cascade(module, stages)
        else:
            assert isinstance(module, Whole)
            _train_whole(module, stages)
    finally:
        faces.close()
    module.eval()


def _train_whole(module: Whole, stages: Stages) -> None:
    told: Told = {}
    whole = _first_stages(stages, told, end=1.0)
    module.whole.load_state_dict(part(whole, "net."))
    module.training_notes = whole_notes(module, stages, told)


def _train_cascade(module: Cascade, stages: Stages) -> None:
    told: Told = {}
    whole = _first_stages(stages, told, end=SHARES["whole"])
    if module.localiser is not None:
        module.localiser.load_state_dict(part(stages.localisation(), "net."))
    if module.combination != "own-part":
        module.whole.load_state_dict(part(whole, "net."))
    stages.share = (SHARES["whole"], SHARES["parts"])
    told["parts"] = stages.parts(module, whole)
    module.parts.load_state_dict(part(told["parts"], "net."))
    if module.combination != "own-part":
        stages.share = (SHARES["parts"], SHARES["layers"])
        told["layers"] = stages.layers(module)
        module.load_state_dict(part(told["layers"], "net."), strict=False)
        if stages.recipe.final_epochs:
            stages.share = (SHARES["layers"], SHARES["end-to-end"])
            told["end-to-end"] = stages.end_to_end(module)
            module.load_state_dict(part(told["end-to-end"], "net."), strict=False)
    module.eval()
    module.training_notes = cascade_notes(module, stages, told)


def _first_stages(stages: Stages, told: Told, end: float) -> StateDict:
    """Train the localisation network and the whole image's subnet, and return the latter."""
    first = SHARES["localisation"] / SHARES["whole"] * end
    stages.share = (0.0, first)
    told["localisation"] = stages.localisation()
    stages.share = (first, end)
    whole = stages.whole()
    if stages.design.subnet != "tnet":
        told["whole"] = whole
    return whole
