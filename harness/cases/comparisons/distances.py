"""Distances of many pairs of embeddings: one matrix product where the distance is a known one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.errors import ModelError
from harness.model import cosine_distance, euclidean, squared_euclidean
from harness.precision import exact

Distance = Callable[[Tensor, Tensor], Tensor]
Measure = Literal["own", "squared_euclidean", "cosine"]
"""The model's own distance; or one that all models have: for the cosine, 1 - the cosine."""

PAIRS = 1 << 20
"""So many pairs are compared at once."""
_NEAR = 1e-4
"""Of the squared lengths: squared distances below this share of them lose digits in a product."""


def _from_squares(squares: Tensor) -> Tensor:
    return squares.add_(1e-12).sqrt_()


def _same(squares: Tensor) -> Tensor:
    return squares


_OF_SQUARES: Mapping[Distance, Callable[[Tensor], Tensor]] = {
    euclidean: _from_squares,
    F.pairwise_distance: _from_squares,
    squared_euclidean: _same,
}
"""How distances that are a function of the squared Euclidean one follow from it."""


def distances(distance: Distance, probes: Tensor, references: Tensor) -> Tensor:
    """Return the distances (P, R) of all embeddings (P, D) to all others (R, D).

    Args:
        distance: of pairs (B, D), (B, D); the Euclidean one, its square and 1 - the cosine need one matrix
            product, others are called with chunks of the pairs.
    """
    with torch.no_grad(), exact(probes.device):
        if distance in _OF_SQUARES:
            return _OF_SQUARES[distance](_squares(probes, references))
        if distance is cosine_distance:
            return 1 - _unit(probes) @ _unit(references).T
        return _called(distance, probes, references)


def mean_distances(distance: Distance, probes: Tensor, references: Tensor, *, mirrored: bool) -> Tensor:
    """Return (P, R) distances to references (R, D); of mirrored probes (P, 2D) the mean over both halves."""
    if not mirrored:
        return distances(distance, probes, references)
    half = probes.shape[1] // 2
    found = distances(distance, probes[:, :half], references)
    return found.add_(distances(distance, probes[:, half:], references)).div_(2)


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings, dim=1, eps=1e-8)


def _squares(probes: Tensor, references: Tensor) -> Tensor:
    """Return the squared distances; the lengths are two more components of one product."""
    centre = references.mean(0)  # so that embeddings that are all alike are not far from the origin
    a, b = probes - centre, references - centre
    lengths, others = a.square().sum(1, keepdim=True), b.square().sum(1, keepdim=True)
    one, ones = torch.ones_like(lengths), torch.ones_like(others)
    found = torch.cat([a, lengths, one], 1) @ torch.cat([-2 * b, ones, others], 1).T
    found.clamp_(min=0)
    near = torch.nonzero(found < _NEAR * (lengths + others.T))
    for part in torch.split(near, max(1, PAIRS // max(probes.shape[1], 1))):
        i, j = part.T
        found[i, j] = (a[i] - b[j]).square().sum(1)
    return found


def paired(distance: Distance, a: Tensor, b: Tensor) -> Tensor:
    """Return the distances (B,) of pairs of embeddings (B, D), by a function that may be a plugin's.

    Raises:
        ModelError: it fails, or returns something else.
    """
    try:
        with torch.no_grad(), exact(a.device):
            found = distance(a, b)
    except Exception as error:
        raise ModelError(f"the model's distance failed: {type(error).__name__}: {error}") from error
    if not isinstance(found, Tensor) or found.shape != (len(a),):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ModelError(f"the distance of {len(a)} pairs of embeddings is {shape}, not (B,)")
    return found.float()


def _called(distance: Distance, probes: Tensor, references: Tensor) -> Tensor:
    found = torch.empty(len(probes), len(references), device=probes.device)
    size = max(1, PAIRS // max(probes.shape[1], 1) // 16)
    for column, reference in enumerate(references):
        for start in range(0, len(probes), size):
            part = probes[start : start + size]
            found[start : start + size, column] = paired(distance, part, reference.expand_as(part))
    return found
