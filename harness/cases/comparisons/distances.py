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


_SQUARES: Mapping[Distance, bool] = {euclidean: True, F.pairwise_distance: True, squared_euclidean: False}
"""Distances that follow from the squared Euclidean one: whether they are its root."""


def distances(distance: Distance, probes: Tensor, references: Tensor) -> Tensor:
    """Return the distances (P, R) of all embeddings (P, D) to all others (R, D).

    Args:
        distance: of pairs (B, D), (B, D); the Euclidean one, its square and 1 - the cosine need one matrix
            product, others are called with chunks of the pairs.
    """
    return _mean(distance, probes, references, views=1)


def mean_distances(distance: Distance, probes: Tensor, references: Tensor, *, mirrored: bool) -> Tensor:
    """Return (P, R) distances to references (R, D); of mirrored probes (P, 2D) the mean over both halves."""
    return _mean(distance, probes, references, views=2 if mirrored else 1)


def _mean(distance: Distance, probes: Tensor, references: Tensor, views: int) -> Tensor:
    """Return the mean distances (P, R) over the views of each probe (P, views * D)."""
    each = probes.reshape(len(probes) * views, -1)
    with torch.no_grad(), exact(probes.device):
        if distance in _SQUARES:
            return _of_squares(each, references, views, root=_SQUARES[distance])
        if distance is cosine_distance:
            found = 1 - _unit(each) @ _unit(references).T
        else:
            found = _called(distance, each, references)
        return found if views == 1 else found.view(len(probes), views, -1).mean(1)


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings, dim=1, eps=1e-8)


def _of_squares(each: Tensor, references: Tensor, views: int, *, root: bool) -> Tensor:
    """Return the mean squared distances (P, R) over the views of each probe (P * views, D), or mean roots.

    The lengths of embeddings are two more components of one product; each pass over all pairs beside it costs
    a twentieth of it.
    """
    share = views**2 if root else views  # so that the sum over the views is their mean
    centre = references.mean(0)  # so that embeddings that are all alike are not far from the origin
    a, b = _longer(each, centre, share), _longer(references, centre, 1)
    width = each.shape[1]
    bounds = _NEAR * (a[:, width] + b[:, width].amax() / share)
    a[:, width + 1] = 1 / share
    b[:, width], b[:, width + 1] = 1, b[:, width].clone()
    b[:, :width].mul_(-2 / share)
    squares = a @ b.T
    _mend(squares, bounds, each, references, share)
    if root:
        squares.sqrt_()
    if views == 1:
        return squares
    parts = squares.view(-1, views, len(references))
    return torch.add(parts[:, 0], parts[:, 1])


def _mend(squares: Tensor, bounds: Tensor, probes: Tensor, references: Tensor, share: int) -> None:
    """Compute again what is near: it loses its digits in a product, and its sign."""
    rows = torch.nonzero(squares.amin(1) < bounds).flatten()
    i, j = torch.nonzero(squares[rows] < bounds[rows, None]).T
    for pairs in torch.split(torch.arange(len(i), device=i.device), max(1, PAIRS // max(probes.shape[1], 1))):
        at, to = rows[i[pairs]], j[pairs]
        squares[at, to] = (probes[at] - references[to]).square().sum(1) / share


def _longer(embeddings: Tensor, centre: Tensor, share: int) -> Tensor:
    """Return embeddings (B, D) around a centre, with their squared lengths / share and room, (B, D + 2)."""
    width = embeddings.shape[1]
    found = embeddings.new_empty(len(embeddings), width + 2)
    torch.sub(embeddings, centre, out=found[:, :width])
    found[:, width] = torch.linalg.vector_norm(found[:, :width], dim=1).square_().div_(share)
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
