"""These functions paint eyes and brows."""

from __future__ import annotations

import numpy as np

from harness_faces.canvas import Canvas, clamp, colour, cover, texture_offset
from harness_faces.measures import Face
from harness_faces.palette import brow, hue, iris, skin


def paint_eyes(canvas: Canvas, face: Face) -> None:
    """Paint both eyes with lids, lashes, make-up and the bags below."""
    for sign in (-1.0, 1.0):
        _paint_eye(canvas, face, sign)


def _paint_eye(canvas: Canvas, face: Face, sign: float) -> None:
    far = 1.0 - 0.6 * sign * face["turn"]
    half_width, half_height = face["eye_half_width"] * far, face["eye_half_height"]
    centre_y = sign * face["skew"]
    patch = canvas.patch(sign * 0.5 - 0.5, centre_y - 0.45, sign * 0.5 + 0.5, centre_y + 0.55)
    outward = (patch.x - sign * 0.5) * sign  # towards the temple
    u = outward * (1.0 / half_width)
    y = patch.y - centre_y + outward * face["eye_slant"]
    arch = 1.0 - u * u
    top, bottom = arch * -half_height, arch * (0.72 * half_height)
    makeup, bags, old = face["Heavy_Makeup"], face["Bags_Under_Eyes"], 1.0 - face["Young"]

    if bags > 0.02:
        fold = y - (half_height + 0.10 - 0.13 * u * u)
        span = clamp(1.45 - np.abs(u))
        patch.paint(
            clamp(1.0 - np.abs(fold) * 9.0) * span * (0.50 * bags), skin(face) * colour(0.42, 0.36, 0.46)
        )
        patch.shade(clamp(1.0 - np.abs(fold - 0.13) * 13.0) * span * (0.14 * bags))
        line = clamp(1.0 - np.abs(fold - 0.07) * (1.0 / max(0.03, 0.7 * patch.pixel)))
        patch.shade(line * span * (-0.34 * bags))
    if makeup > 0.02:
        shadow = clamp((y - top * 1.1 + 0.17) * 9.0) * cover(y - top, 0.05) * clamp(1.5 - np.abs(u + -0.15))
        patch.paint(shadow * (0.72 * makeup), hue(0.70 + 0.35 * face["shadow_hue"], 0.50, 0.36))
    lid = y - (top * 1.25 - 0.075 + 0.02 * old)
    crease = clamp(1.0 - np.abs(lid) * (1.0 / max(0.022, 0.6 * patch.pixel))) * clamp(1.15 - np.abs(u))
    patch.shade(crease * -0.30)

    opening = patch.cover(np.maximum(top - y, y - bottom)) * cover(np.abs(u) - 1.0, 0.1)
    patch.paint(opening, colour(0.93, 0.91, 0.89) * (0.96 - 0.08 * old))
    ix = patch.x - sign * 0.5 - 0.25 * face["turn"] - 0.015 * face["gaze_x"]
    iy = y - 0.008 - 0.01 * face["gaze_y"]
    radius = np.sqrt(ix * ix + iy * iy)
    patch.paint(patch.cover(radius - 0.098) * opening, iris(face) * 0.55)
    patch.paint(patch.cover(radius - 0.078) * opening, iris(face))
    patch.paint(patch.cover(radius - 0.042) * opening, colour(0.03, 0.03, 0.03))
    patch.shade(clamp(1.0 - (y - top) * 14.0) * opening * -0.45)
    glint = np.sqrt((ix - 0.03) * (ix - 0.03) + (iy + 0.035) * (iy + 0.035))
    bright = 0.75 + 0.25 * face["Attractive"]
    patch.paint(patch.cover(glint - 0.022) * opening * bright, colour(1.0, 1.0, 1.0))

    thick = 0.014 + 0.026 * makeup + 0.008 * (1.0 - face["Male"])
    lashes = patch.cover(np.abs(y - top + 0.3 * thick) - thick) * cover(np.abs(u) - 1.03 - 0.15 * makeup, 0.1)
    patch.paint(lashes * (0.70 + 0.25 * makeup), colour(0.09, 0.06, 0.06))
    lower = patch.cover(np.abs(y - bottom) - 0.010) * cover(np.abs(u) - 1.0, 0.1)
    patch.paint(lower * (0.25 + 0.45 * makeup), colour(0.20, 0.12, 0.11))
    if makeup > 0.02:  # a wing
        wing = patch.cover(np.abs(y + 0.45 * (outward - half_width)) - 0.022) * cover(
            np.abs(u - 1.15) - 0.22, 0.1
        )
        patch.paint(wing * (0.8 * makeup), colour(0.08, 0.06, 0.07))


def paint_brows(canvas: Canvas, face: Face) -> None:
    """Paint both brows as arcs that peak towards the temple and get thinner outwards."""
    tone = brow(face)
    bushy = face["Bushy_Eyebrows"]
    for sign in (-1.0, 1.0):
        patch = canvas.patch(sign * 0.52 - 0.5, -0.80, sign * 0.52 + 0.5, 0.05)
        far = 1.0 - 0.5 * sign * face["turn"]
        u = ((patch.x - sign * 0.51) * sign) * (1.0 / (0.33 * far))
        peak = u - 0.18
        bow = (
            face["brow_y"]
            + 0.8 * sign * face["skew"]
            + 0.03
            - face["brow_arch"] * (1.0 - 0.70 * peak * peak)
            - 0.006 * (1.0 - u)
        )
        thick = face["brow_thickness"] * (1.0 - 0.35 * u)
        hairs = patch.noise(26.0, 26.0, texture_offset(face)) * (0.010 + 0.018 * bushy)
        edge = np.abs(patch.y - bow) - thick + hairs
        alpha = patch.cover(edge, 0.03) * cover(np.abs(u) - 1.0, 0.25)
        density = 0.55 + 0.40 * bushy + 0.15 * face["Heavy_Makeup"]
        patch.paint(alpha * min(0.97, density), tone)
