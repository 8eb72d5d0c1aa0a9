"""Each local attribute of a drawn face has a place: rectangles around what its layer paints or moves.

They are in units of the eye distance, as in ``measures``, and follow the shape of each face. Attributes that
change the whole face or all of the hair (Male, Young, Blurry, Brown_Hair, …) have none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness_faces.attribute_names import CELEBA_ATTRIBUTES
from harness_faces.measures import Faces
from harness_faces.streams import FloatArray

Parts = list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]]
"""Rectangles of N faces: left, top, right and bottom, each (N,)."""
SIGNS = (-1.0, 1.0)


def places(name: str, faces: Faces) -> npt.NDArray[np.float64]:
    """Return the rectangles (N, P, 4) of an attribute: left, top, right and bottom in face coordinates."""
    parts = [np.stack(np.broadcast_arrays(*part), axis=-1) for part in PLACES[name](faces)]
    return np.stack(parts, axis=1)


def _around(x: FloatArray, half: FloatArray | float, top: FloatArray, bottom: FloatArray) -> Parts:
    return [(x - half, top, x + half, bottom)]


def _axis(m: Faces) -> FloatArray:
    """Return x (N,) of the head's axis."""
    return -0.7 * m["turn"]


def _zero(m: Faces, value: float = 0.0) -> FloatArray:
    return np.full_like(m["turn"], value)


def _eyeglasses(m: Faces) -> Parts:
    thick = 0.028 + 0.03 * m["glasses_size"]
    wide, high = 0.36 + 0.05 * m["glasses_size"] + thick, 0.22 + 0.09 * m["glasses_size"] + thick
    left = 0.3 * m["turn"] - 0.5 - wide * (1 + 0.5 * m["turn"])
    right = 0.3 * m["turn"] + 0.5 + wide * (1 - 0.5 * m["turn"])
    return [(left, 0.03 - high, right, 0.03 + high)]


def _hat(m: Faces) -> Parts:
    brim = m["hat_kind"] >= 0.66
    half = np.where(brim, 1.95, m["half_width"] + 0.18)
    tall = m["crown"] + 0.42 + np.where(brim, 0.20, 0.0)
    return _around(_axis(m), half, -tall, _zero(m, -0.52))


def _necktie(m: Faces) -> Parts:
    return _around(0.6 * _axis(m), 0.58, _zero(m, 1.95), _zero(m, 9.0))


def _necklace(m: Faces) -> Parts:
    return _around(0.6 * _axis(m), 0.76, _zero(m, 1.70), 2.20 + 0.38 * m["pendant"] + 0.27)


def _earrings(m: Faces) -> Parts:
    sides = (_axis(m) + sign * (m["half_width"] + 0.02) for sign in SIGNS)
    return [part for x in sides for part in _around(x, 0.23, _zero(m, 0.33), _zero(m, 1.07))]


def _lips(m: Faces) -> Parts:
    top = np.maximum(0.95 * m["lip"] + 0.45 * m["mouth_gap"], -m["mouth_curve"]) + 0.05
    bottom = 1.25 * m["lip"] + 0.62 * m["mouth_gap"] + 0.08
    return _around(0.6 * m["turn"], m["mouth_half_width"] + 0.05, m["mouth_y"] - top, m["mouth_y"] + bottom)


def _smile(m: Faces) -> Parts:
    _, _, _, bottom = _lips(m)[0]
    # the folds beside the mouth, and the cheeks above
    return _around(0.6 * m["turn"], np.maximum(m["mouth_half_width"], 0.8), m["mouth_y"] - 0.58, bottom)


def _mustache(m: Faces) -> Parts:
    base = m["mouth_y"] - m["lip"] - 0.5 * m["mouth_gap"] - 0.085
    drop = np.maximum(0.10 + 0.5 * m["mouth_curve"], 0.0)
    return _around(0.8 * m["turn"], 1.12 * m["mouth_half_width"], base - 0.14, base + drop + 0.09)


def _goatee(m: Faces) -> Parts:
    half = 1.45 * (m["mouth_half_width"] + 0.02)
    return _around(0.6 * m["turn"], half, m["mouth_y"] - 0.15, m["mouth_y"] + 0.78)


def _jaw(m: Faces) -> Parts:
    return _around(_axis(m), m["half_width"], _zero(m, 0.35), m["chin"] + 0.03)


def _sideburns(m: Faces) -> Parts:
    # the jaw's outline moves strips outwards where it is full, and inwards where it is oval
    full = 1.0 / (1.0 - m["jaw_fullness"])
    inner = 0.76 * m["half_width"] * np.minimum(full, 1.0)
    outer = 1.02 * m["half_width"] * np.maximum(full, 1.0)
    sides = ((-outer, -inner), (inner, outer))
    return [(_axis(m) + left, _zero(m, -0.25), _axis(m) + right, _zero(m, 0.95)) for left, right in sides]


def _double_chin(m: Faces) -> Parts:
    half = 0.90 + 0.1 * m["Chubby"]
    return _around(0.8 * _axis(m), half, m["chin"] - 0.25, m["chin"] + 0.36)


def _bald(m: Faces) -> Parts:
    half = m["half_width"] + m["hair_depth"]
    return _around(_axis(m), half, -m["crown"] - 1.1 * m["hair_depth"], _zero(m, 0.0))


def _bangs(m: Faces) -> Parts:
    return _around(_axis(m), m["half_width"] + 0.02, _zero(m, -1.15), _zero(m, -0.25))


def _hairline(m: Faces) -> Parts:
    return _around(_zero(m), 1.0, _zero(m, -1.50), _zero(m, -0.50))


def _eyes(m: Faces, top: float, bottom: float) -> Parts:
    parts: Parts = []
    for sign in SIGNS:
        half = 1.15 * m["eye_half_width"] * (1 - 0.6 * sign * m["turn"])
        y = sign * m["skew"]
        parts += _around(_zero(m, 0.5 * sign), half, y + top, y + bottom)
    return parts


def _brows(m: Faces) -> Parts:
    parts: Parts = []
    rim = 1.35 * m["brow_thickness"] + 0.045
    for sign in SIGNS:
        half = 0.37 * (1 - 0.5 * sign * m["turn"])
        low = m["brow_y"] + 0.8 * sign * m["skew"] + 0.03
        parts += _around(_zero(m, 0.51 * sign), half, low - m["brow_arch"] - rim, low + rim)
    return parts


def _nose(m: Faces) -> Parts:
    half = m["nose_half_width"] + 0.10
    return _around(1.1 * m["turn"], half, _zero(m, -0.05), m["nose_y"] + 0.28)


def _cheeks(x: float, half: float, top: float, bottom: float) -> Callable[[Faces], Parts]:
    def parts(m: Faces) -> Parts:
        sides = (sign * x + 0.25 * m["turn"] for sign in SIGNS)
        return [part for middle in sides for part in _around(middle, half, _zero(m, top), _zero(m, bottom))]

    return parts


PLACES: dict[str, Callable[[Faces], Parts]] = {
    "5_o_Clock_Shadow": _jaw,
    "Arched_Eyebrows": _brows,
    "Bags_Under_Eyes": lambda m: _eyes(m, -0.05, 0.45),
    "Bald": _bald,
    "Bangs": _bangs,
    "Big_Lips": _lips,
    "Big_Nose": _nose,
    "Bushy_Eyebrows": _brows,
    "Double_Chin": _double_chin,
    "Eyeglasses": _eyeglasses,
    "Goatee": _goatee,
    "High_Cheekbones": _cheeks(0.72, 0.36, 0.25, 1.18),
    "Mouth_Slightly_Open": _lips,
    "Mustache": _mustache,
    "Narrow_Eyes": lambda m: _eyes(m, -0.23, 0.17),
    "No_Beard": _jaw,
    "Pointy_Nose": _nose,
    "Receding_Hairline": _hairline,
    "Rosy_Cheeks": _cheeks(0.68, 0.36, 0.24, 0.80),
    "Sideburns": _sideburns,
    "Smiling": _smile,
    "Wearing_Earrings": _earrings,
    "Wearing_Hat": _hat,
    "Wearing_Lipstick": _lips,
    "Wearing_Necklace": _necklace,
    "Wearing_Necktie": _necktie,
}
"""The parts of each local attribute."""
PLACE_NAMES = tuple(name for name in CELEBA_ATTRIBUTES if name in PLACES)
