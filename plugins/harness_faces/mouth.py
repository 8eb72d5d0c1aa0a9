"""These functions paint nose and mouth."""

from __future__ import annotations

import numpy as np

from harness_faces.canvas import Canvas, bump, clamp, colour, cover
from harness_faces.measures import Face
from harness_faces.palette import lips, skin


def paint_nose(canvas: Canvas, face: Face) -> None:
    """Paint bridge, tip, wings and nostrils, mostly by light and shadow."""
    turn, tip, half = face["turn"], face["nose_y"], face["nose_half_width"]
    big, pointy = face["Big_Nose"], face["Pointy_Nose"]
    patch = canvas.patch(-0.75, -0.35, 0.75, tip + 0.30)
    y = patch.y
    # the bridge leans from between the eyes to the tip
    along = clamp(y * (1.0 / tip))
    x = patch.x - (0.2 + 1.1 * along) * turn
    across = np.abs(x)
    bridge = 0.085 + (0.45 * half - 0.04) * along + 0.05 * big * along - 0.015 * pointy
    span = cover(np.abs(y - 0.5 * tip + 0.05) - 0.5 * tip, 0.18)
    depth = 0.15 + 0.10 * big + 0.12 * pointy
    dark = 1.0 + 0.9 * np.sign(x) * (face["light_angle"] - 0.5)  # the side away from the light
    patch.shade(clamp(1.0 - np.abs(across - bridge) * 9.0) * span * dark * -depth)
    patch.shade(clamp(1.0 - across * (14.0 + 10.0 * pointy)) * span * (0.14 + 0.16 * pointy))
    x0 = 1.3 * turn
    ball = (0.13 + 0.07 * big - 0.045 * pointy, 0.12 + 0.04 * big)
    patch.shade(bump(patch.x, y, (x0 - 0.02, tip - 0.03), ball) * (0.20 + 0.20 * pointy))
    # wings
    for sign in (-1.0, 1.0):
        wing_x, wing_y = x0 + sign * (half - 0.06), tip + 0.05
        wx, wy = (patch.x - wing_x) * (1.0 / (0.095 + 0.03 * big)), (y - wing_y) * (1.0 / (0.10 + 0.03 * big))
        ring = np.sqrt(wx * wx + wy * wy)
        outer = clamp(1.0 - np.abs(ring - 1.0) * 2.6) * clamp((patch.x - wing_x) * sign * 14.0 + 0.5)
        patch.shade(outer * (-0.26 - 0.16 * big))
        hole = (x0 + sign * (0.42 * half + 0.012), tip + 0.10)
        patch.paint(
            bump(patch.x, y, hole, (0.075 + 0.035 * big, 0.050 + 0.012 * big)) * 0.85, skin(face) * 0.28
        )
    # the shadow below is as wide as the nose, and has a point below a pointed one
    below = y - tip - 0.15 - 0.05 * pointy
    width = half * (0.95 - 0.25 * pointy) - np.abs(below) * (0.6 + 1.0 * pointy)
    patch.shade(cover(np.abs(patch.x - x0) - width, 0.08) * clamp(1.0 - np.abs(below) * 9.0) * -0.27)


def paint_mouth(canvas: Canvas, face: Face) -> None:
    """Paint lips, the gap between them with teeth, and the folds of a smile."""
    turn, middle, half = 0.6 * face["turn"], face["mouth_y"], face["mouth_half_width"]
    lip, gap, smile = face["lip"], face["mouth_gap"], face["Smiling"]
    patch = canvas.patch(turn - 0.95, middle - 0.65, turn + 0.95, middle + 0.50)
    x = patch.x - turn
    u = x * (1.0 / half)
    arch = 1.0 - u * u
    # where the lips meet; the corners are raised by a smile
    line = middle + face["mouth_curve"] * u * u + face["skew"] * u
    y = patch.y - line
    across = np.abs(u)
    within = cover(across - 1.0, 0.10)
    bow = 1.0 - 0.20 * clamp(1.0 - across * 5.0)  # cupid's bow
    top = -(lip * 0.95 * bow + 0.45 * gap) * np.maximum(arch, 0.0) - 0.012
    bottom = (lip * 1.25 + 0.62 * gap) * np.maximum(arch, 0.0) + 0.012
    tone = lips(face, skin(face))
    whole = patch.cover(np.maximum(top - y, y - bottom), 0.04) * within
    patch.paint(whole, tone)
    patch.shade(whole * (y < 0) * -0.16)
    gloss = 0.10 + 0.22 * face["Wearing_Lipstick"]
    patch.shade(bump(x, y, (-0.03, 0.62 * gap + 0.6 * lip), (0.7 * half, 0.5 * lip)) * gloss)
    patch.shade(bump(x, y, (0.0, 0.62 * gap + 1.25 * lip + 0.09), (0.75 * half, 0.08)) * -0.20)
    inner_top = -0.50 * gap * arch
    inner_bottom = 0.62 * gap * arch
    if gap > 0.004:
        hole = patch.cover(np.maximum(inner_top - y, y - inner_bottom)) * cover(across - 0.93, 0.1)
        patch.paint(hole, colour(0.22, 0.05, 0.06))
        bite = inner_bottom - gap * (0.30 + 0.28 * (1.0 - smile)) * arch
        teeth = patch.cover(y - bite) * hole * cover(across - 0.80, 0.15)
        patch.paint(teeth * (0.60 + 0.38 * smile), colour(0.95, 0.93, 0.88))
    else:
        patch.shade(patch.cover(np.abs(y) - 0.016, 0.03) * within * (-0.55 - 0.25 * smile))
    patch.shade(clamp(1.0 - np.abs(y) * 18.0) * clamp(1.0 - np.abs(across - 1.0) * 7.0) * -0.35)
    if smile > 0.02:
        for sign in (-1.0, 1.0):
            v = patch.y - (middle - 0.38)
            fold = sign * (0.24 + 0.30 * v + 0.45 * v * v) + 0.3 * turn
            span = cover(np.abs(v - 0.20) - 0.20, 0.12)
            patch.shade(clamp(1.0 - np.abs(x - fold) * 14.0) * span * (-0.26 * smile))
            cheek = bump(x, patch.y, (sign * 0.66, middle - 0.50), (0.26, 0.15))
            patch.shade(cheek * (0.10 * smile))
