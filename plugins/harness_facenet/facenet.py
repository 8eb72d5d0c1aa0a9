"""A FaceNet is built, and trained by one of five recipes, from what a manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.files import say
from harness.training import Context, StateDict, Task
from harness.training.persons import split_persons
from harness.training.unfinished import part
from harness_facenet.measuring import COLUMNS
from harness_facenet.network import Design, FaceNet
from harness_facenet.norms import NormSet, judged, with_two_norms
from harness_facenet.recipe import Recipe
from harness_facenet.stages import Stages
from harness_facenet.views import ViewRecipe
from harness_facenet.weights import fit_weights

QUICK_DESIGN, QUICK_RECIPE, QUICK_VIEWS = Design(), Recipe(), ViewRecipe()


def build(task: Task, *, design: Design = QUICK_DESIGN) -> FaceNet:
    """Build an untrained FaceNet for images of any size, grey or in colour."""
    return FaceNet(design)


def train(
    module: FaceNet,
    dataset: Dataset,
    context: Context,
    *,
    recipe: Recipe = QUICK_RECIPE,
    views: ViewRecipe = QUICK_VIEWS,
    judging: NormSet = "adversarial",
) -> None:
    """Train a FaceNet by one of five recipes, in place and in stages, and leave it in eval mode.

    The same seed gives the same weights on the same machine with the same number of threads, even after
    interruptions. Stages that models have in common are trained once.

    Args:
        judging: which set of batch norms the trained network has, of the two that attacked recipes learn:
            "clean" learned from clean passes, "adversarial" from attacked ones.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set has too few persons, a training diverged, or weights cannot be read.
    """
    module.to(context.device)
    notes: dict[str, Any] = {"recipe": recipe.recipe, "judging": judging}
    if recipe.start_weights is not None:
        notes["start_weights"] = _begin(module, Path(recipe.start_weights))
    elif recipe.recipe == "given":
        raise ModelError('recipe = "given" learns nothing: name a file of weights as start_weights')
    if recipe.recipe != "given":
        _learn(module, dataset, context, recipe, views, judging, notes)
    module.training_notes = notes
    module.eval()


def _learn(
    module: FaceNet,
    dataset: Dataset,
    context: Context,
    recipe: Recipe,
    views: ViewRecipe,
    judging: NormSet,
    notes: dict[str, Any],
) -> None:
    learned, unseen = split_persons(
        dataset, _crop_of(module), held_out=recipe.held_out, people=None, seed=context.seed
    )
    stages = Stages(module.design, recipe, views, learned, unseen, context, judging)
    first = {"standard": 1.0, "adversarial": 0.3, "contrastive": 0.5}.get(recipe.recipe, 0.0)
    stages.share = (0.0, first)
    if recipe.recipe in ("standard", "adversarial"):
        found = stages.standard(module)
        module.load_state_dict(part(found, "net."))
        notes["standard"] = _curve(found, measured=True)
    if recipe.recipe == "standard":
        return
    both = FaceNet(module.design).to(context.device)
    both.load_state_dict(module.state_dict())
    with_two_norms(both)
    if recipe.recipe == "contrastive":
        found = stages.contrastive(both)
        both.load_state_dict(part(found, "net."))
        notes["contrastive"] = _curve(found, measured=False)
    stages.share = (first, 1.0)
    found = stages.tuning(both)
    notes["tuning"] = _curve(found, measured=True)
    module.load_state_dict(judged(part(found, "net."), judging))


def _begin(module: FaceNet, path: Path) -> str:
    """Load a file's weights, say what fitted, and return that line."""
    fit = fit_weights(module, path)
    module.load_state_dict(fit.weights)
    say(f"{path}: {fit.line}")
    return fit.line


def _crop_of(module: FaceNet) -> Any:
    """Return what makes 8-bit images (B, C, H, W) of the network's size, which it then takes as they are."""
    size = module.design.image_size

    def crop(images: Tensor) -> Tensor:
        if size is None or images.shape[2:] == size:
            return images
        resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
        return resized.round().clamp(0, 255).to(torch.uint8)

    return crop


def _curve(found: StateDict, *, measured: bool) -> dict[str, list[float | None]]:
    """Return what a stage measured after each epoch, a list per column, as a card has it."""
    names = ("loss", *COLUMNS) if measured else ("loss",)
    columns = found["curve"].T.tolist()
    return {
        name: [round(value, 4) if value == value else None for value in column]
        for name, column in zip(names, columns, strict=True)
    }
