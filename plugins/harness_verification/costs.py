"""What the training of a verifier costs, in floating-point operations, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness_verification.face_crop import EDGE
from harness_verification.fitting import MOST_VALIDATED, START_IMAGES, START_PERSONS
from harness_verification.lord import CLASS, CONTENT, Design, Lord
from harness_verification.recipe import GeneratorRecipe, Recipe

LEARNED = 3
"""Forward passes that a training step of an image is worth: a forward pass, and a backward one for two."""
ATTACKED = 2
"""Those of an attack's step: a backward pass to the pixels is worth one."""


def flops_of_training(parameters: Mapping[str, Any], images: int, forward: float) -> float:
    """Return the most operations of a training, as if nothing of it were in the cache.

    Args:
        parameters: those of the model.
        images: the number of training images.
        forward: the operations of one forward pass of F.
    """
    recipe, generator, design = (_of(kind, parameters) for kind in (Recipe, GeneratorRecipe, Design))
    encoder, drawing = _passes_of(design)
    drawn = encoder + drawing
    total = passes_of(recipe, images) * forward
    if recipe.generates or recipe.generated_pairs:
        total += LEARNED * images * generator.generator_epochs * drawing
        total += LEARNED * images * generator.encoder_epochs * (drawn + encoder)
    if recipe.generates:
        total += recipe.steps * recipe.batch_size * (1 + recipe.candidates) * drawn
    return total


def passes_of(recipe: Recipe, images: int) -> float:
    """Return how many forward passes of F the training is worth, without those of the generator."""
    learned = 4 if recipe.generates else 3  # x, y, t and u; or x, y and t, where y is the other side of both
    mined = 1 + recipe.candidates * (2 if recipe.generates else 1)
    # Twice: x is attacked, and t. With a share of erased images, the others are not.
    attacks = 2.0 * (1.0 if recipe.recipe == "doa" else recipe.eraser.share)
    attacked = attacks * recipe.attack.steps * ATTACKED
    searched = 2 * (ATTACKED + recipe.places) if recipe.recipe == "doa" else 0
    step = recipe.batch_size * (LEARNED * learned + mined + attacked + searched)
    start = recipe.start_steps * START_PERSONS * START_IMAGES * LEARNED
    validations = 2 + recipe.steps // recipe.validate_every
    return start + recipe.steps * step + validations * min(images, MOST_VALIDATED)


def _of(kind: Any, parameters: Mapping[str, Any]) -> Any:
    return kind(**{field.name: parameters[field.name] for field in fields(kind)})


def _passes_of(design: Design) -> tuple[float, float]:
    """Return the operations of an encoder, and of the generator, on one image."""

    def flops(work: Callable[[], Any]) -> float:
        with FlopCounterMode(display=False) as counter:
            work()
        return float(counter.get_total_flops())

    with torch.device("meta"), torch.no_grad():
        lord = Lord(1, design)
        x, content, person = (torch.zeros(1, *shape) for shape in ((3, EDGE, EDGE), (CONTENT,), (CLASS,)))
        return flops(lambda: lord.content(x)), flops(lambda: lord.generator(content, person))
