"""The verifier is built, and trained by one of four recipes, from what a manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training import Context, Task
from harness_verification.fitting import fit
from harness_verification.lord import Design
from harness_verification.network import Verifier
from harness_verification.recipe import GeneratorRecipe, Recipe
from harness_verification.vgg_body import load_body

QUICK_DESIGN = Design()
QUICK_RECIPE, QUICK_GENERATOR = Recipe(), GeneratorRecipe()


def build(
    task: Task,
    *,
    width: Annotated[int, Ge(1)] = 16,
    depth: Annotated[int, Ge(1)] | None = 1,
    batch_norm: bool = True,
    dimensions: Annotated[int, Ge(1)] = 128,
    design: Design = QUICK_DESIGN,
) -> Verifier:
    """Build an untrained F for images of any size.

    Args:
        width: the channels of the first convolutions; published: 64.
        depth: the convolutions between two poolings; None: the published 2, 2, 3, 3 and 3.
        batch_norm: whether each convolution is followed by batch normalisation; published: no.
        dimensions: the length of an embedding.
        design: the architecture of the generator.
    """
    return Verifier(design, width=width, depth=depth, batch_norm=batch_norm, dimensions=dimensions)


def train(
    module: Verifier,
    dataset: Dataset,
    context: Context,
    *,
    recipe: Recipe = QUICK_RECIPE,
    generator: GeneratorRecipe = QUICK_GENERATOR,
) -> None:
    """Train F by one of four recipes, in place, and before it the generator where the recipe needs one.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set has too few persons, a training diverged, or weights cannot be read.
    """
    module.to(context.device)
    if recipe.body_weights is not None:
        if module.batch_norm:
            raise ModelError(
                "body_weights are of networks without batch normalisation; set batch_norm = false"
            )
        load_body(module.body, Path(recipe.body_weights))
    found = fit(module, dataset, recipe, module.lord_design, generator, context)
    if found.lord is not None and recipe.generates:
        module.keep_generator(found.lord)
    module.training_notes = found.notes
    module.eval()
