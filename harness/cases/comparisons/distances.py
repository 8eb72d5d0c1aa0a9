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
BLOCK = 1 << 19
"""So many distances are computed before the next ones: 2 MB of them."""
_FAR = 0.5
"""Of the references' mean squared length: a centre farther from the origin costs digits."""
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
            # The mean cosine is that of the mean of the views, of which each has length 1.
            return 1 - _unit(each).view(len(probes), views, -1).mean(1) @ _unit(references).T
        found = _called(distance, each, references)
        return found if views == 1 else found.view(len(probes), views, -1).mean(1)


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings, dim=1, eps=1e-8)


def _of_squares(each: Tensor, references: Tensor, views: int, *, root: bool) -> Tensor:
    """Return the mean squared distances (P, R) over the views of each probe (P * views, D), or mean roots.

    |a|^2 + |b|^2 - 2ab is computed in blocks of probes that stay in the processor's cache: what is done to
    all pairs beside the product would else take half as long again. The mean of squares needs the mean of
    the views alone, and so half the product.
    """
    each, references = _centred(each, references)
    share = views**2 if root else 1  # so that the sum of the roots is their mean
    probes = each.view(len(each), 1, -1) if root else each.view(len(each) // views, views, -1)
    others = _squared_lengths(references).div_(share)
    longest = others.amax()
    together = views if root else 1  # rows that make one of the result's
    found = each.new_empty(len(each) // views, len(references))
    size = max(1, BLOCK // max(together * len(references), 1))
    block = each.new_empty(min(size, len(found)) * together, len(references))
    for start in range(0, len(found), size):
        own = probes[start * together : (start + size) * together]
        lengths = _squared_lengths(own).mean(1).div_(share)
        squares = torch.add(lengths[:, None], others, out=block[: len(own)])
        squares.addmm_(own[:, 0] if own.shape[1] == 1 else own.mean(1), references.T, alpha=-2 / share)
        _mend(squares, _NEAR * (lengths + longest), own, references, share)
        if root:
            squares.sqrt_()
        if together == 2:
            torch.add(squares[::2], squares[1::2], out=found[start : start + size])
        else:
            found[start : start + size] = squares
    return found


def _mend(squares: Tensor, bounds: Tensor, probes: Tensor, references: Tensor, share: int) -> None:
    """Compute again what is near: it loses its digits in a product, and its sign."""
    rows = torch.nonzero(squares.amin(1) < bounds).flatten()
    if not len(rows):
        return
    i, j = torch.nonzero(squares[rows] < bounds[rows, None]).T
    for pairs in torch.split(
        torch.arange(len(i), device=i.device), max(1, PAIRS // max(probes[0].numel(), 1))
    ):
        at, to = rows[i[pairs]], j[pairs]
        apart = probes[at] - references[to][:, None]  # (K, V, D)
        squares[at, to] = apart.square().sum(2).mean(1) / share


def _centred(each: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings around the references' mean where that is far from the origin, and else as they are.

    Where they are all alike, products of long vectors would leave no digits of their distances.
    """
    centre = references.mean(0)
    if centre.square().sum() <= _FAR * _squared_lengths(references).mean():
        return each, references
    return each - centre, references - centre


def _squared_lengths(embeddings: Tensor) -> Tensor:
    """Return (…,) the squared lengths of embeddings (…, D)."""
    lengths: Tensor = torch.linalg.vector_norm(embeddings, dim=-1)
    return lengths.square_()


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
