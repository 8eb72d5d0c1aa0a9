"""Toys are distributions of two classes in the plane; a grid has their optimal boundary (figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.intp]
EDGE, CELLS = 3.0, 400
"""The plane is the square from -EDGE to EDGE, in CELLS x CELLS squares."""
STEP = 2 * EDGE / CELLS
LEVELS = 100
"""A quantised toy has so many values on each axis."""
THIN = 0.03
"""The deviation of what is flat."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Gaussians are the components of one class, of equal weight."""

    means: Floats  # (K, 2)
    covariances: Floats  # (K, 2, 2)

    def log_density(self, x: Floats) -> Floats:
        """Return the log densities (N,) of points (N, 2), up to a constant."""
        away = x[:, None] - self.means  # (N, K, 2)
        inverse = np.linalg.inv(self.covariances)
        far = np.einsum("nki,kij,nkj->nk", away, inverse, away, optimize=True)
        joint = -(far + np.log(np.linalg.det(self.covariances))) / 2
        found: Floats = np.logaddexp.reduce(joint, axis=1) - np.log(len(self.means))
        return found

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """Return points (count, 2)."""
        which = random.integers(len(self.means), size=count)
        roots = np.linalg.cholesky(self.covariances)
        moved = (roots[which] @ random.standard_normal((count, 2, 1)))[..., 0]
        return self.means[which] + moved


@dataclass(frozen=True, eq=False)
class Quantised:
    """A quantised class is a table of the probabilities of LEVELS x LEVELS squares (appendix A.2)."""

    shape: Gaussians
    """What most of the probability follows."""
    floor: float
    """The part that is spread evenly over all squares."""

    def log_density(self, x: Floats) -> Floats:
        """Return the log probabilities (N,) of the squares of points (N, 2)."""
        places = np.clip((x + EDGE) / (2 * EDGE) * LEVELS, 0, LEVELS - 1).astype(np.intp)
        found: Floats = np.log(self._table[places[:, 0] * LEVELS + places[:, 1]])
        return found

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """Return points (count, 2), the centres of squares."""
        return squares(LEVELS)[random.choice(LEVELS**2, size=count, p=self._table)]

    @cached_property
    def _table(self) -> Floats:
        dense = np.exp(self.shape.log_density(squares(LEVELS)))
        table: Floats = (1 - self.floor) * dense / dense.sum() + self.floor / LEVELS**2
        return table


@dataclass(frozen=True, eq=False)
class Toy:
    """A toy has two classes of equal prior."""

    place: str
    """In the paper: "3a"."""
    what: str
    symmetric: bool
    classes: tuple[Gaussians | Quantised, Gaussians | Quantised]

    def optimal(self, x: Floats) -> Classes:
        """Return the more probable class (N,) of points (N, 2)."""
        first, second = (own.log_density(x) for own in self.classes)
        return (second > first).astype(np.intp)


def squares(number: int) -> Floats:
    """Return the centres (number², 2) of number x number squares of the plane."""
    centres = (np.arange(number) + 0.5) / number * 2 * EDGE - EDGE
    return np.stack(np.meshgrid(centres, centres, indexing="ij"), -1).reshape(-1, 2)


def distances(x: Floats, side: int, decided: Classes) -> Floats:
    """Return how far (N,) points (N, 2) of one class are from the nearest square that is decided otherwise.

    Args:
        decided: the class (CELLS², ) of ``squares(CELLS)``.
    """
    from scipy.ndimage import distance_transform_edt  # here: naming the analysis needs no scipy

    far = distance_transform_edt(decided.reshape(CELLS, CELLS) == side) * STEP
    places = np.clip(((x + EDGE) / STEP).astype(np.intp), 0, CELLS - 1)
    found: Floats = far[places[:, 0], places[:, 1]]
    return found


def blobs(means: Sequence[Sequence[float]], along: float, across: float, *degrees: float) -> Gaussians:
    """Return Gaussians with the deviations ``along`` a direction and ``across`` it."""
    turns = np.radians(np.array(degrees))
    cosine, sine = np.cos(turns), np.sin(turns)
    axes = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)  # (K, 2, 2)
    return Gaussians(np.array(means, float), axes * [along**2, across**2] @ axes.transpose(0, 2, 1))


def toys() -> list[Toy]:
    """Return the kinds of figure 3: symmetric ones, then each with a strong asymmetry."""
    left, right = [[-1.2, 0.0]], [[1.2, 0.0]]
    curves = (
        blobs([[-1.6, -1.4], [-0.8, 0.2], [-1.6, 1.5]], 0.35, THIN, 20, 80, 150),
        blobs([[0.8, -1.4], [1.6, 0.2], [0.8, 1.6]], 0.35, THIN, 160, 100, 30),
    )
    wide = Gaussians(curves[1].means, np.broadcast_to(0.5**2 * np.eye(2), (3, 2, 2)))
    flat = blobs(left, 0.6, THIN, 80)
    tables = [Quantised(blobs(place, 0.3, 0.3, 0), 1e-9) for place in (left, right)]
    return [
        Toy("3a", "spherical", True, (blobs(left, 0.3, 0.3, 0), blobs(right, 0.3, 0.3, 0))),
        Toy("3b", "flat", True, (flat, blobs(right, 0.6, THIN, 100))),
        Toy("3c", "quantised", True, (tables[0], tables[1])),
        Toy("3d", "mixtures", True, curves),
        Toy("3e", "spherical", False, (blobs(left, THIN, THIN, 0), blobs(right, 0.8, 0.8, 0))),
        Toy("3f", "flat", False, (flat, blobs(right, 0.8, 0.8, 0))),
        Toy("3g", "quantised", False, (Quantised(flat, 1e-12), Quantised(tables[1].shape, 0.5))),
        Toy("3h", "mixtures", False, (curves[0], wide)),
    ]


def one_sided(toy: Toy, points: Floats) -> Callable[[Floats], Classes]:
    """Return a classifier that knows class 0 alone: it takes what is as dense there as its least dense point.

    Args:
        points: (N, 2) of class 0, which it all gets right.
    """
    least = toy.classes[0].log_density(points).min()

    def decide(x: Floats) -> Classes:
        found: Classes = (toy.classes[0].log_density(x) < least).astype(np.intp)
        return found

    return decide
