"""A face is drawn layer by layer, and then gets the light, blur and grain of a photograph."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from harness_faces.accessories import (
    paint_earrings,
    paint_glasses,
    paint_hat,
    paint_necklace,
    paint_necktie,
)
from harness_faces.background import paint_background
from harness_faces.canvas import Canvas, colour
from harness_faces.eyes import paint_brows, paint_eyes
from harness_faces.frame import SOURCE_SIZE, WHOLE, Crop
from harness_faces.hair import paint_back_hair, paint_facial_hair, paint_front_hair
from harness_faces.head import paint_body, paint_head, shade_face
from harness_faces.measures import Face
from harness_faces.mouth import paint_mouth, paint_nose
from harness_faces.textures import tile

LAYERS = (
    paint_background,
    paint_back_hair,
    paint_body,
    paint_necklace,
    paint_necktie,
    paint_head,
    shade_face,
    paint_nose,
    paint_mouth,
    paint_facial_hair,
    paint_eyes,
    paint_brows,
    paint_front_hair,
    paint_earrings,
    paint_hat,
    paint_glasses,
)
"""The layers from back to front; the first fills the picture, the others paint the person."""


def draw(
    face: Face, size: tuple[int, int], aligned: bool = True, crop: Crop = WHOLE
) -> npt.NDArray[np.uint8]:
    """Draw a face, or a part of its frame, as uint8 RGB (3, H, W); ``size`` is height and width."""
    kind = "aligned" if aligned else "loose"
    placed = (face[f"{kind}_x"], face[f"{kind}_y"], face[f"{kind}_scale"], face[f"{kind}_roll"])
    canvas = Canvas(size, placed, crop)
    for layer in LAYERS:
        layer(canvas, face)
    return _develop(canvas, face, size[0] * (SOURCE_SIZE[0] / crop.height))


def _develop(canvas: Canvas, face: Face, height: float) -> npt.NDArray[np.uint8]:
    """Add the tint, exposure, blur and grain of a photograph whose whole frame has this height in pixels."""
    rgb = canvas.rgb
    warm = 0.035 * face["light_tint"]
    contrast = 1.0 + 0.06 * face["contrast"] + 0.04 * face["Attractive"]
    rgb *= colour(1.0 + warm, 1.0, 1.0 - warm) * (contrast * (1.0 + 0.06 * face["exposure"]))
    rgb += 0.5 * (1.0 - contrast)
    # the blur depends on the size of the picture, not on that of the face in it
    sigma = (0.16 + 1.15 * face["Blurry"]) * height / 88.0
    if sigma > 0.2:
        for plane in rgb:
            cv2.GaussianBlur(plane, (0, 0), sigma, dst=plane, borderType=cv2.BORDER_REPLICATE)
    grain = tile(0.0)
    rows = np.arange(rgb.shape[1]) + int(face["texture_x"] * 256)
    columns = np.arange(rgb.shape[2]) + int(face["texture_y"] * 256)
    noise = grain.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")
    rgb += noise * (0.004 + 0.009 * face["grain"])
    rgb *= 255.0
    rgb += 0.5
    np.maximum(rgb, 0.0, out=rgb)
    np.minimum(rgb, 255.0, out=rgb)
    return rgb.astype(np.uint8)
