"""The background behind a face is a colour gradient with soft lights, stripes or clutter."""

from __future__ import annotations

import math

import numpy as np

from harness_faces.canvas import Canvas, bump, clamp, colour, mix, texture_offset
from harness_faces.measures import Face
from harness_faces.palette import hue


def paint_background(canvas: Canvas, face: Face) -> None:
    """Paint the background over the whole picture."""
    whole = canvas.whole()
    x, y = whole.x, whole.y
    kind, light = face["backdrop"], face["backdrop_light"]
    saturation = 0.08 + 0.45 * face["backdrop_phase"]
    near = hue(face["backdrop_hue"], saturation, 0.15 + 0.80 * light)
    far = hue(face["backdrop_hue"] + 0.2 * (face["backdrop_phase"] - 0.5), saturation, 0.90 - 0.75 * light)
    angle = 2.0 * math.pi * face["backdrop_phase"]
    share = clamp((x * math.cos(angle) + y * math.sin(angle)) * 0.16 + 0.5)
    whole.rgb[:] = near
    whole.paint(share, mix(near, far, 0.7))
    offset = texture_offset(face)
    if kind < 0.40:  # clutter, out of focus
        noise = whole.noise(9.0, 9.0, offset, 3.0)
        whole.shade(noise * 0.22)
        whole.paint(clamp(whole.noise(5.0, 4.0, offset[::-1], 3.0) - 0.5) * 0.7, far)
    elif kind < 0.60:  # lights
        for number in range(5):
            place = (face["texture_x"] * (number + 3.7) + 0.31 * number) % 1.0
            height = (face["texture_y"] * (number + 2.3) + 0.17 * number) % 1.0
            centre = (-2.4 + 4.8 * place, -2.9 + 4.0 * height)
            spot = bump(x, y, centre, (0.5 + 0.3 * place, 0.5 + 0.3 * place))
            whole.paint(spot * 0.55, mix(near, colour(1.0, 0.95, 0.85), 0.6))
    elif kind < 0.75:  # stripes, as of curtains and books
        stripes = np.sin(x * (3.0 + 6.0 * face["texture_x"]) + 0.4 * y + 9.0 * face["texture_y"])
        whole.shade(stripes.astype(np.float32) * 0.18)
    else:  # a wall
        whole.shade(whole.noise(14.0, 14.0, offset) * 0.04)
