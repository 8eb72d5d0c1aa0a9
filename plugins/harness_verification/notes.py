"""What training measures beside the weights is kept as tensors with them, and told by the model's card."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from math import isfinite
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from harness.randomness import derived_seed
from harness.training import Context, StateDict
from harness.training.persons import Persons
from harness.training.unfinished import part
from harness_verification.inner_attack import Embed, distances
from harness_verification.lord import Lord
from harness_verification.recipe import Recipe

CURVES = ("step", "training_loss", "validation_loss", "validation_auc")
"""The columns of the curves, a row per validation."""
PAIRS = 400
"""The number of pairs whose distances are measured, real and generated ones."""
SHOWN = 8
"""The number of quadruplets on the sheet, and of unseen persons."""
QUALITY = 90


def tensors_of(
    embed: Embed, learned: Persons, unseen: Persons, recipe: Recipe, lord: Lord | None, context: Context
) -> StateDict:
    """Return what is measured of a trained F and its generator."""
    found: StateDict = {}
    if lord is None:
        return found
    random = np.random.default_rng(derived_seed(context.seed, "notes"))
    with torch.no_grad():
        if recipe.generated_pairs:
            found |= _generated_pairs(embed, unseen, lord, random, context.device)
        if recipe.generates:
            sheets = {
                "quadruplets": _quadruplets(learned, lord, random, context.device),
                "unseen": _unseen(unseen, lord, random, context.device),
            }
            found |= {f"pictures.{name}": _jpeg(sheet) for name, sheet in sheets.items()}
    return found


def notes_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the notes among the tensors of a training, as a card holds them.

    ``curves`` has a list per column; ``pairs`` the distances of ``real`` and ``generated`` pairs; of each
    picture, ``pictures`` has the JPEG in base64.
    """
    own = part(tensors, "notes.")
    notes: dict[str, Any] = {
        "curves": {
            name: [value if isfinite(value) else None for value in column]
            for name, column in zip(CURVES, own["curves"].T.tolist(), strict=True)
        }
    }
    pairs, pictures = part(own, "pairs."), part(own, "pictures.")
    if pairs:
        notes["pairs"] = {
            name: [round(value, 4) for value in values.tolist()] for name, values in pairs.items()
        }
    if pictures:
        notes["pictures"] = {
            name: base64.b64encode(octets.numpy().tobytes()).decode() for name, octets in pictures.items()
        }
    return notes


def _generated_pairs(
    embed: Embed, unseen: Persons, lord: Lord, random: np.random.Generator, device: torch.device
) -> StateDict:
    """Return distances of pairs (t, x) of two persons whom nobody learned from, and of pairs (t, u).

    u has the class of x and the content of t.
    """
    rows = unseen.draw(random, PAIRS)
    x = unseen.images(rows, device)
    t = unseen.images(unseen.strangers(random, rows, 1)[0], device)
    u = lord.swapped(t, lord.person(x))
    there = embed(t)
    found = {"real": distances(there, embed(x)), "generated": distances(there, embed(u))}
    return {f"pairs.{name}": values.cpu() for name, values in found.items()}


def _quadruplets(
    learned: Persons, lord: Lord, random: np.random.Generator, device: torch.device
) -> list[list[Tensor]]:
    """Return rows of quadruplets x, y over t, u of persons that were learned from (figure 9)."""
    rows = learned.draw(random, SHOWN)
    x = learned.images(rows, device)
    t = learned.images(learned.strangers(random, rows, 1)[0], device)
    codes = lord.persons[torch.from_numpy(learned.who[rows]).to(device)]
    y, u = lord.swapped(x, codes), lord.swapped(t, codes)
    above = [image for pair in zip(x, y, strict=True) for image in pair]
    below = [image for pair in zip(t, u, strict=True) for image in pair]
    half = len(above) // 2
    return [above[:half], below[:half], above[half:], below[half:]]


def _unseen(
    unseen: Persons, lord: Lord, random: np.random.Generator, device: torch.device
) -> list[list[Tensor]]:
    """Return rows of images of unseen persons, their reconstructions, and swaps with the next one's class."""
    x = unseen.images(unseen.draw(random, min(SHOWN, len(unseen.rows_of))), device)
    person = lord.person(x)
    return [list(x), list(lord.swapped(x, person)), list(lord.swapped(x, person.roll(-1, 0)))]


def _jpeg(sheet: list[list[Tensor]]) -> Tensor:
    """Return rows of images (3, 64, 64) as the bytes (N,) of one picture."""
    picture = torch.cat([torch.cat([image.float() for image in row], 2) for row in sheet], 1)
    pixels = (picture.clamp(0, 1) * 255).round().byte().cpu().permute(1, 2, 0).numpy()
    _, octets = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return torch.from_numpy(np.asarray(octets, np.uint8).ravel().copy())
