"""A Canvas holds float colours on a pixel grid, which are painted patch by patch in face coordinates.

Shapes are signed distances, in units of the eye distance and negative inside; over the width of a pixel they
become coverage. Each image is painted alone with plain floats as parameters: a face at the quick size fits
the cache, NumPy runs whole patches as one loop, and no image can depend on others of its batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_faces.frame import WHOLE, Crop
from harness_faces.measures import Face
from harness_faces.textures import Plane, lookup

Colour = npt.NDArray[np.floating[Any]]  # float32 (3, 1, 1), or (3, h, w) where it varies


def colour(red: float, green: float, blue: float) -> Colour:
    """Return a colour (3, 1, 1) from values of 0 to 1."""
    return np.array([[[red]], [[green]], [[blue]]], dtype=np.float32)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that lies ``share`` of the way from the first to the second."""
    return first + np.float32(share) * (second - first)


def clamp(values: Plane) -> Plane:
    """Clip values (h, w) to 0 and 1 in place; np.clip takes three times as long on small arrays."""
    np.maximum(values, 0.0, out=values)
    np.minimum(values, 1.0, out=values)
    return values


def cover(distance: Plane, softness: float) -> Plane:
    """Return the coverage (h, w) of a shape: 1 inside, 0 outside, linear over ``softness`` at the edge."""
    values = distance * (-1.0 / softness)
    values += 0.5
    return clamp(values)


def smooth_cover(distance: Plane, softness: float) -> Plane:
    """Return the coverage with a smooth transition, for wide edges on which a linear one would be visible."""
    values = cover(distance, softness)
    return values * values * (3.0 - 2.0 * values)


def bump(x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
    """Return a smooth hill (h, w), 1 in the centre and exactly 0 outside the ellipse: a patch can end."""
    across = (x - centre[0]) * (1.0 / radii[0])
    down = (y - centre[1]) * (1.0 / radii[1])
    across *= across
    down *= down
    across += down
    np.subtract(1.0, across, out=across)
    np.maximum(across, 0.0, out=across)
    across *= across
    return across


@dataclass(frozen=True, eq=False)
class Patch:
    """A Patch is a rectangle of the picture."""

    x: Plane
    """(h, w): the face coordinates of the pixel centres."""
    y: Plane
    rgb: npt.NDArray[np.float32]
    """(3, h, w): a view of the picture."""
    pixel: float
    """The width of a pixel in units of the eye distance."""

    def paint(self, alpha: Plane, paint: Colour) -> None:
        """Paint a colour over the picture with the opacity ``alpha`` (h, w)."""
        change = paint - self.rgb
        change *= alpha
        view = self.rgb
        view += change

    def shade(self, amount: Plane) -> None:
        """Make the picture lighter or darker by a share (h, w), positive or negative."""
        view = self.rgb
        view *= amount + 1.0

    def noise(self, across: float, along: float, offset: tuple[float, float], grain: float = 1.0) -> Plane:
        """Return noise (h, w) with so many texels per eye distance in x and y."""
        return lookup(self.x * across + offset[0] * 256.0, self.y * along + offset[1] * 256.0, grain)

    def cover(self, distance: Plane, softness: float = 0.0) -> Plane:
        """Return the coverage (h, w) with an edge of one pixel, or wider."""
        return cover(distance, max(self.pixel, softness))


class Canvas:
    """A Canvas is the whole picture of one face."""

    def __init__(
        self, size: tuple[int, int], placed: tuple[float, float, float, float], crop: Crop = WHOLE
    ) -> None:
        """Make an empty picture.

        Args:
            size: height and width in pixels.
            placed: x, y, scale and roll in the 178 x 218 frame, see ``measures.placement``.
            crop: the part of the frame that becomes the picture.
        """
        height, width = size
        x, y, scale, roll = placed[0] - crop.left, placed[1] - crop.top, *placed[2:]
        self._cosine, self._sine = math.cos(roll) / scale, math.sin(roll) / scale
        self._step = (crop.width / width, crop.height / height)
        self._origin = (x, y)
        column = (np.arange(width, dtype=np.float32) + 0.5) * self._step[0] - (x + 0.5)
        row = ((np.arange(height, dtype=np.float32) + 0.5) * self._step[1] - (y + 0.5))[:, None]
        self.x: Plane = (column * self._cosine + row * self._sine).astype(np.float32)
        self.y: Plane = (row * self._cosine - column * self._sine).astype(np.float32)
        self.rgb: npt.NDArray[np.float32] = np.zeros((3, height, width), dtype=np.float32)
        self.pixel = math.sqrt(self._step[0] * self._step[1]) / scale

    def whole(self) -> Patch:
        """Return the picture as one patch."""
        return Patch(self.x, self.y, self.rgb, self.pixel)

    def patch(self, left: float, top: float, right: float, bottom: float) -> Patch:
        """Return the pixels around a rectangle in face coordinates; none if it lies outside the picture."""
        size = 1.0 / (self._cosine**2 + self._sine**2)
        cosine, sine = self._cosine * size, self._sine * size
        xs = [cosine * x - sine * y for x in (left, right) for y in (top, bottom)]
        ys = [sine * x + cosine * y for x in (left, right) for y in (top, bottom)]
        height, width = self.x.shape
        columns = slice(
            max(0, int((self._origin[0] + min(xs)) / self._step[0]) - 1),
            min(width, max(0, int((self._origin[0] + max(xs)) / self._step[0]) + 2)),
        )
        rows = slice(
            max(0, int((self._origin[1] + min(ys)) / self._step[1]) - 1),
            min(height, max(0, int((self._origin[1] + max(ys)) / self._step[1]) + 2)),
        )
        # copies are contiguous: each operation then runs as one loop
        x, y = self.x[rows, columns].copy(), self.y[rows, columns].copy()
        return Patch(x, y, self.rgb[:, rows, columns], self.pixel)


def texture_offset(face: Face) -> tuple[float, float]:
    """Return the place in the noise tiles at which this image begins."""
    return face["texture_x"], face["texture_y"]
