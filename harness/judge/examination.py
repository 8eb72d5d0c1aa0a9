"""A model is examined before it is attacked, for signs that its numbers would say nothing of its robustness.

A model whose decisions cannot change, which is wrong from the start, or whose answer to an image depends on
the other images of the batch, is easily taken for a robust one: attacks fail on it. Its clean answers tell.
What a sign means, and what raises it falsely, is in docs/flags, where each has a page of its name.
"""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

from harness.model import Model

RANDOMISED = "randomised-model"
BATCH = "batch-dependent"
CONSTANT = "constant-decisions"
PROBABILITIES = "probabilities"
GUESSING = "worse-than-chance"

ALONE = 3
"""So many images are asked one at a time."""
FEWEST = 5
"""A decision that never changes is a sign once it is wrong on so many answers: a coin that is thrown for each
of them would be so with a probability of 3 %."""
ACCIDENT = 0.01
"""The probability with which a model that is right halfway between chance and always may be called worse than
chance."""

ROUNDING = 32
"""Answers are rounded to so many steps of their precision, at the size of the largest."""


def steadiness(model: Model, x: Tensor, outputs: Tensor) -> set[str]:
    """Return whether a model answers images (N, C, H, W) in two ways: asked again, or in other batches.

    Args:
        outputs: (N, M) its answers on them.
    """
    same = _tolerance(model, outputs, 1e-4)
    if _apart(model.scores(x.flip(0)).flip(0), outputs, same):
        return {RANDOMISED if _apart(model.scores(x), outputs, same) else BATCH}
    try:
        alone = torch.cat([model.scores(part) for part in torch.split(x[:ALONE], 1)])
    except Exception:  # such as "Expected more than 1 value per channel"
        return {BATCH}
    return {BATCH} if _apart(alone, outputs[:ALONE], _tolerance(model, outputs, 1e-3)) else set()


def signs_of(model: Model, outputs: Tensor, wrong: int) -> set[str]:
    """Return whether a model's decisions can change at all, by its answers (N, M) on different images.

    Args:
        wrong: how many of its decisions are not the true ones.
    """
    if model.head == "embedding" or not outputs.isfinite().all() or not len(outputs):
        return set()
    found = set()
    decisions = model.decide(outputs)
    if wrong >= FEWEST and (decisions == decisions[0]).all():
        found.add(CONSTANT)
    inside = outputs.numel() >= 2 * FEWEST and bool(((outputs >= 0) & (outputs <= 1)).all())
    sums = model.head == "classes" and (outputs.sum(1) - 1).abs().amax() < 1e-3
    if inside and (model.head == "attributes" or sums):
        found.add(PROBABILITIES)
    return found


def are_alike(model: Model, outputs: Tensor) -> bool:
    """Say whether the embeddings (N, D) of different images are one and the same, to rounding errors."""
    bound = _tolerance(model, outputs, 0.0)
    return len(outputs) >= FEWEST and bool(((outputs - outputs[0]).abs() <= bound).all())


def is_guessing(right: float, images: int, chance: float) -> bool:
    """Say whether a model is right on no more of its images than chance, and too rarely for an accident.

    Args:
        right: on how many images; of attributes, the sum of each image's share.
    """
    share = (1 + chance) / 2
    if right > chance * images or not images:
        return False
    tail = sum(comb(images, k) * share**k * (1 - share) ** (images - k) for k in range(int(right) + 1))
    return tail < ACCIDENT


def _apart(one: Tensor, other: Tensor, bound: float) -> bool:
    """Say whether answers differ by more than a bound; what is not a number in both is no difference."""
    differ = (one - other).abs() > bound
    return bool((differ | (one.isnan() != other.isnan())).any())


def _tolerance(model: Model, outputs: Tensor, share: float) -> float:
    """Return by how much sums in another order may change answers (N, M): a share of how far these differ.

    Kernels choose their order by the size of a batch. Noise that is meant to confuse an attacker, and what
    depends on other images, are far larger.
    """
    finite = outputs[outputs.flatten(1).isfinite().all(1)]
    if not finite.numel():
        return 0.0
    size, spread = float(finite.abs().amax()), float((finite - finite.mean(0)).abs().amax())
    weights = (tensor.dtype for tensor in model.module.parameters() if tensor.is_floating_point())
    step = max((torch.finfo(kind).eps for kind in weights), default=torch.finfo(torch.float32).eps)
    return max(share * spread, ROUNDING * step * size)
