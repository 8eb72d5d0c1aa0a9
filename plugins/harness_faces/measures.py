"""Attribute strengths and personal traits decide the measures of a drawn face: shapes, colours and pose.

Lengths are in units of the distance between the eyes, with the origin halfway between them, x to the right
and y down. One row of every array is one image; ``face`` returns a row as plain floats.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from harness_faces.attribute_model import COLUMN
from harness_faces.attribute_names import CELEBA_ATTRIBUTES
from harness_faces.frame import WHOLE, Crop
from harness_faces.identities import identity_of
from harness_faces.streams import FloatArray, IndexArray, normals, uniforms

Face = Mapping[str, float]
"""Everything that decides how one image is drawn: attribute strengths, traits and measures by name."""
Faces = Mapping[str, FloatArray]
"""The same for N images, as arrays (N,)."""

PERSONAL = (
    *("face_width", "face_length", "jaw", "eye_size", "eye_slant", "brow_height", "nose_length"),
    *("nose_width", "mouth_height", "mouth_width", "lip_shape", "hair_volume", "brow_weight"),
)
"""Standard normal traits that all images of a person share."""
PERSONAL_CHOICE = (
    "skin_tone",
    "skin_hue",
    "eye_colour",
    "other_hair",
    "hair_shade",
    "hair_length",
    "parting",
)
"""Uniform traits that all images of a person share."""
MOMENTARY = (
    *("yaw", "tilt", "jitter_x", "jitter_y", "jitter_scale", "light_tint", "brow_lift", "smile_noise"),
    *("eye_noise", "asymmetry", "skin_noise", "gaze_x", "gaze_y", "contrast", "exposure"),
)
"""Standard normal traits of one image."""
MOMENTARY_CHOICE = (
    *("light_angle", "light_strength", "backdrop", "backdrop_hue", "backdrop_light", "backdrop_phase"),
    *("cloth_hue", "cloth_light", "cloth_kind", "cloth_shade", "hat_kind", "hat_hue", "glasses_kind"),
    *("glasses_size", "tie_hue", "jewel", "lipstick_hue", "shadow_hue", "bangs_phase", "wave_phase"),
    *("texture_x", "texture_y", "place_x", "place_y", "place_scale", "place_turn", "pendant", "grain"),
    *("hair_front", "teeth", "tie_kind", "ear_shape"),
)
"""Uniform traits of one image."""

EYES_MIDDLE = (88.25, 111.5)
"""x and y of the point between the eyes in CelebA's aligned frame of 178 x 218 pixels."""
EYES_DISTANCE = 38.5
FRAME = (178.0, 218.0)
"""The width and height of CelebA's aligned frame, in which faces are placed before they become pixels."""


def traits(seed: int, index: IndexArray) -> dict[str, FloatArray]:
    """Return the traits (N,) of image indices (N,), by name."""
    person = identity_of(index)
    drawn: dict[str, FloatArray] = {}
    for stream, names, rows, draw in (
        (11, PERSONAL, person, normals),
        (12, PERSONAL_CHOICE, person, uniforms),
        (13, MOMENTARY, index, normals),
        (14, MOMENTARY_CHOICE, index, uniforms),
    ):
        values = draw(seed, stream, rows, len(names))
        if draw is normals:
            values = np.clip(values, -2.2, 2.2)  # larger values would make impossible faces
        drawn.update({name: values[:, column] for column, name in enumerate(names)})
    return drawn


def measure(strengths: FloatArray, drawn: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the strengths by attribute name, the traits, and the shapes that they define, each (N,)."""
    a = {name: strengths[:, COLUMN[name]] for name in CELEBA_ATTRIBUTES}
    t = drawn
    male, old, smile = a["Male"], 1.0 - a["Young"], a["Smiling"]
    plain = 1.0 - a["Attractive"]
    m: dict[str, FloatArray] = {**a, **t}

    m["turn"] = 0.11 * t["yaw"]
    m["half_width"] = (
        1.10 + 0.06 * male + 0.17 * a["Chubby"] - 0.09 * a["Oval_Face"] + 0.035 * t["face_width"]
    )
    m["chin"] = 1.70 + 0.08 * male + 0.12 * a["Oval_Face"] + 0.05 * t["face_length"]
    m["jaw_fullness"] = (
        0.04 + 0.10 * male + 0.12 * a["Chubby"] - 0.20 * a["Oval_Face"] + 0.025 * t["jaw"] + 0.03 * old
    )
    m["crown"] = 1.50 + 0.03 * t["face_length"]

    m["eye_half_width"] = 0.215 + 0.012 * t["eye_size"] + 0.012 * a["Attractive"] - 0.01 * male
    m["eye_half_height"] = (
        0.108 + 0.007 * t["eye_size"] - 0.062 * a["Narrow_Eyes"] - 0.010 * smile + 0.006 * t["eye_noise"]
    )
    m["eye_slant"] = 0.05 + 0.03 * t["eye_slant"]
    m["brow_y"] = -0.325 + 0.05 * male - 0.02 * t["brow_height"] - 0.014 * t["brow_lift"]
    m["brow_arch"] = 0.035 + 0.13 * a["Arched_Eyebrows"] - 0.02 * male
    m["brow_thickness"] = 0.030 + 0.045 * a["Bushy_Eyebrows"] + 0.008 * male + 0.003 * t["brow_weight"]
    m["skew"] = plain * 0.030 * t["asymmetry"]

    m["nose_y"] = 0.63 + 0.025 * t["nose_length"] + 0.05 * a["Pointy_Nose"] + 0.02 * a["Big_Nose"]
    m["nose_half_width"] = (
        0.185 + 0.115 * a["Big_Nose"] - 0.05 * a["Pointy_Nose"] + 0.012 * t["nose_width"] + 0.012 * male
    )
    m["mouth_y"] = 1.05 + 0.02 * t["mouth_height"] + 0.01 * male
    m["mouth_half_width"] = 0.37 + 0.095 * smile + 0.015 * t["mouth_width"] + 0.02 * a["Big_Lips"]
    m["mouth_curve"] = -0.005 - 0.13 * smile - 0.02 * t["smile_noise"]
    m["mouth_gap"] = a["Mouth_Slightly_Open"] * (0.13 + 0.04 * t["teeth"])
    m["lip"] = 0.080 + 0.085 * a["Big_Lips"] + 0.006 * t["lip_shape"] + 0.010 * a["Wearing_Lipstick"]

    long_hair = np.where(male > 0.5, t["hair_length"] > 0.93, t["hair_length"] > 0.12)
    m["hair_reach"] = np.where(long_hair, 1.4 + 1.6 * t["hair_length"], 0.12 + 0.25 * (1 - male))
    m["hairline"] = (
        -1.02 + 0.03 * t["face_length"] - 0.36 * a["Receding_Hairline"] - 0.05 * male * (1 - a["Bangs"])
    )
    m["hair_depth"] = (
        0.17 + 0.05 * t["hair_volume"] + 0.08 * a["Wavy_Hair"] - 0.05 * a["Straight_Hair"] - 0.05 * male
    )

    place = {name: t[f"place_{name}"] for name in ("x", "y", "scale", "turn")}
    m["aligned_x"] = EYES_MIDDLE[0] + 0.7 * t["jitter_x"]
    m["aligned_y"] = EYES_MIDDLE[1] + 0.7 * t["jitter_y"]
    m["aligned_scale"] = EYES_DISTANCE * (1 + 0.012 * t["jitter_scale"])
    m["aligned_roll"] = 0.015 + 0.018 * t["tilt"]
    # faces are from about a third to two thirds of the frame high, and entirely inside it
    m["loose_scale"] = EYES_DISTANCE * (0.42 + 0.33 * place["scale"])
    reach = m["loose_scale"]
    m["loose_x"] = 1.3 * reach + (FRAME[0] - 2.6 * reach) * place["x"]
    m["loose_y"] = 1.8 * reach + (FRAME[1] - 3.9 * reach) * place["y"]
    m["loose_roll"] = 0.7 * (place["turn"] - 0.5)
    return m


def placement(measures: Faces, aligned: bool) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return x and y (N,) of the point between the eyes, scale, and roll in radians, in the frame."""
    kind = "aligned" if aligned else "loose"
    x, y, scale, roll = (measures[f"{kind}_{part}"] for part in ("x", "y", "scale", "roll"))
    return x, y, scale, roll


def landmarks(
    measures: Faces, size: tuple[int, int], aligned: bool, crop: Crop = WHOLE
) -> npt.NDArray[np.float32]:
    """Return eyes, nose and mouth corners (N, 5, 2) in pixels of a crop that is resized to ``size``."""
    m = measures
    turn, width = m["turn"], m["mouth_half_width"]
    corner = m["mouth_y"] + m["mouth_curve"]
    points = np.stack(
        [
            np.stack([np.full_like(turn, -0.5), np.zeros_like(turn)], axis=-1),
            np.stack([np.full_like(turn, 0.5), np.zeros_like(turn)], axis=-1),
            np.stack([1.3 * turn, m["nose_y"]], axis=-1),
            np.stack([0.6 * turn - width, corner - m["skew"]], axis=-1),
            np.stack([0.6 * turn + width, corner + m["skew"]], axis=-1),
        ],
        axis=1,
    )  # (N, 5, 2) in eye distances
    return placed(m, points, size, aligned, crop).astype(np.float32)


def placed(
    measures: Faces, points: FloatArray, size: tuple[int, int], aligned: bool, crop: Crop = WHOLE
) -> FloatArray:
    """Convert points (N, K, 2) from face coordinates to pixels of a crop that is resized to ``size``."""
    x, y, scale, roll = placement(measures, aligned)
    cosine, sine = (scale * np.cos(roll))[:, None], (scale * np.sin(roll))[:, None]
    framed = np.stack(
        [
            x[:, None] + cosine * points[..., 0] - sine * points[..., 1],
            y[:, None] + sine * points[..., 0] + cosine * points[..., 1],
        ],
        axis=-1,
    )
    # pixel centres lie at whole numbers, so the crop's edge lies half a pixel before its first
    grid = np.array([size[1] / crop.width, size[0] / crop.height])
    return np.asarray((framed - (crop.left, crop.top) + 0.5) * grid - 0.5)


def face(measures: Faces, row: int) -> dict[str, float]:
    """Return one row as plain floats; NumPy scalars would turn the renderer's float32 into float64."""
    return {name: float(values[row]) for name, values in measures.items()}
