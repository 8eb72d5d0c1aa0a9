"""These functions paint head, ears, neck and shoulders, and show light and age on the skin."""

from __future__ import annotations

import math

import numpy as np

from harness_faces.canvas import Canvas, Patch, bump, clamp, colour, cover, mix, smooth_cover, texture_offset
from harness_faces.measures import Face
from harness_faces.palette import cloth, skin
from harness_faces.textures import Plane


def centre_of(face: Face) -> float:
    """Return x of the head's axis; the eyes stay in place, so that a turn moves the outline the other way."""
    return -0.7 * face["turn"]


def rounded(up: Plane) -> Plane:
    """Return reduced squares (h, w) of a vertical position, because skulls are rounder than ellipses."""
    square = up * up
    return square * (0.65 + 0.35 * square)


def outline(face: Face, x: Plane, y: Plane) -> tuple[Plane, Plane, Plane]:
    """Return the position on the head (h, w), sideways and downwards, 1 at the outline, and the radius."""
    side = (x - centre_of(face)) * (1.0 / face["half_width"])
    low = clamp(y * (1.0 / face["chin"]))
    side *= 1.0 - (4.0 * face["jaw_fullness"]) * low * (1.0 - low)
    down = np.where(y > 0, y * (1.0 / face["chin"]), y * (1.0 / face["crown"]))
    return side, down, np.sqrt(side * side + rounded(down))


def paint_body(canvas: Canvas, face: Face) -> None:
    """Paint neck, shoulders and clothes, with the shadow of the chin."""
    base = skin(face)
    axis = 0.6 * centre_of(face)
    patch = canvas.patch(-15.0, 0.9, 15.0, 15.0)
    x, y = patch.x - axis, patch.y
    across = np.abs(x)
    thick = 0.55 + 0.13 * face["Male"] + 0.14 * face["Chubby"] + 0.10 * face["Double_Chin"]
    below = np.minimum(np.maximum(y - 1.9, 0.0), 0.6)
    # the patch of a turned head reaches above the ears, so the neck must end inside it
    neck = patch.cover(across - thick - below * below * 0.7) * cover(0.9 - y, 0.2) * cover(y - 3.0, 0.2)
    patch.paint(neck, base * 0.86)
    chin = face["chin"]
    shadow = smooth_cover(y - (chin + 0.38) + 0.25 * across, 0.7) * neck
    patch.shade(shadow * -0.42)
    patch.shade(clamp((across - 0.55 * thick) * 1.2) * neck * -0.35)
    # shoulders fall off to the sides, the neckline is a U
    wide = 1.9 + 0.35 * face["Male"]
    shoulder = 2.12 + 0.06 * face["Male"] + across * across * (0.42 / wide)
    depth = 0.10 + 0.75 * face["cloth_kind"] * (1.0 - 0.8 * face["Male"]) * (1.0 - face["Wearing_Necktie"])
    neckline = (2.18 + depth) - across * across * (0.9 + 0.8 * face["cloth_shade"])
    body = patch.cover(shoulder - y)
    torso = body * patch.cover(across - wide, 0.1)
    patch.paint(torso, base * 0.90)
    garment = torso * patch.cover(neckline - y)
    worn = mix(cloth(face), colour(0.10, 0.11, 0.15), 0.75 * face["Wearing_Necktie"])
    folds = patch.noise(8.0, 3.0, texture_offset(face), 2.0)
    patch.paint(garment, worn)
    patch.shade(garment * (folds * 0.10 - 0.12 * np.abs(x)))
    if face["cloth_shade"] > 0.7:
        patch.shade(garment * np.sign(np.sin(y * 22.0)).astype(np.float32) * 0.16)


def paint_head(canvas: Canvas, face: Face) -> None:
    """Paint ears and head in the light of this image."""
    base = skin(face)
    reach, chin = face["half_width"] + 0.45, face["chin"]
    patch = canvas.patch(-reach - 0.2, -face["crown"] - 0.1, reach + 0.2, chin + 0.5)
    x, y, axis = patch.x, patch.y, centre_of(face)
    for sign in (-1.0, 1.0):
        ear_x = (x - axis - sign * (face["half_width"] + 0.02)) * (1.0 / 0.15)
        ear_y = (y - 0.18 + sign * 0.5 * face["skew"]) * (1.0 / (0.27 + 0.04 * face["ear_shape"]))
        radius = np.sqrt(ear_x * ear_x + ear_y * ear_y)
        patch.paint(patch.cover((radius - 1.0) * 0.15), base * 0.90)
        patch.shade(clamp(1.0 - radius * 1.6) * -0.35)
    side, down, radius = outline(face, x, y)
    if face["Double_Chin"] > 0.02:
        _paint_double_chin(patch, face)
    inside = patch.cover((radius - 1.0) * (0.93 * face["half_width"]))
    tone = base * np.float32(1.0)
    patch.paint(inside, tone)

    # a sphere's normals, flattened towards the front
    front = np.sqrt(np.maximum(1.0 - 0.92 * radius * radius, 0.0))
    angle = math.pi * (0.15 + 0.7 * face["light_angle"])
    strength = 0.10 + 0.34 * face["light_strength"]
    lit = side * (-math.cos(angle) * strength) - down * (math.sin(angle) * strength * 0.7)
    lit += (front - 0.80) * 0.62
    patch.shade(lit * inside)


def _paint_double_chin(patch: Patch, face: Face) -> None:
    x, y = patch.x - 0.8 * centre_of(face), patch.y
    strength, chin = face["Double_Chin"], face["chin"]
    across = x * (1.0 / (0.80 + 0.1 * face["Chubby"]))
    lower = chin + 0.30 * strength - 0.30 * across * across
    roll = patch.cover(y - lower) * cover(np.abs(across) - 1.0, 0.25) * cover(1.0 - y, 0.3)
    patch.paint(roll * min(1.0, 1.5 * strength), skin(face) * 0.95)
    edge = np.abs(y - lower + 0.01) * (1.0 / 0.10)
    patch.shade(clamp(1.0 - edge) * roll * (-0.45 * strength))


def shade_face(canvas: Canvas, face: Face) -> None:
    """Paint eye sockets, cheeks, chin and skin, before the features of the face are drawn."""
    turn, old = face["turn"], 1.0 - face["Young"]
    patch = canvas.patch(-1.35, -1.3, 1.35, face["chin"] + 0.15)
    x, y = patch.x, patch.y
    shade = bump(x, y, (0.6 * turn, face["mouth_y"] + 0.30), (0.34, 0.14)) * -0.16
    shade += bump(x, y, (0.6 * turn, face["chin"] - 0.20), (0.34, 0.22)) * 0.10
    shade += bump(x, y, (0.3 * turn, -0.72), (0.9, 0.45)) * 0.07
    high, round_face = face["High_Cheekbones"], face["Chubby"]
    for sign in (-1.0, 1.0):
        far = 1.0 - 0.5 * sign * turn
        shade += bump(x, y, (sign * 0.5 + 0.3 * turn, -0.06), (0.40, 0.32)) * -0.15
        cheek = (sign * 0.66 * far + 0.3 * turn, 0.47 - 0.06 * face["Smiling"])
        shade += bump(x, y, cheek, (0.36, 0.22)) * (0.05 + 0.27 * high)
        hollow = (sign * 0.76 * far + 0.2 * turn, 0.88)
        shade += bump(x, y, hollow, (0.30, 0.34)) * (-0.04 - 0.21 * high + 0.14 * round_face)
        shade += bump(x, y, (sign * 0.62 * far, 1.15), (0.40, 0.35)) * (0.16 * round_face - 0.10 * old)
    plain = 1.0 - face["Attractive"]
    pores = patch.noise(13.0, 13.0, texture_offset(face))
    patch_noise = patch.noise(5.0, 5.0, texture_offset(face)[::-1])
    skin_here = cover(outline(face, x, y)[2] - 0.95, 0.1)
    shade += (pores * 0.055 + patch_noise * 0.045) * (0.12 + plain) * skin_here
    patch.shade(shade)
    if plain > 0.3:  # spots
        spots = clamp((patch.noise(30.0, 30.0, texture_offset(face), 1.2) - 2.0) * 1.5) * skin_here
        patch.paint(spots * (0.55 * plain), colour(0.50, 0.24, 0.18))
    _paint_colour(patch, face)
    if old > 0.02:
        _shade_wrinkles(patch, face, old)


def _paint_colour(patch: Patch, face: Face) -> None:
    rosy = 0.62 * face["Rosy_Cheeks"] + 0.16 * face["Heavy_Makeup"]
    for sign in (-1.0, 1.0):
        centre = (sign * 0.68 + 0.25 * face["turn"], 0.52)
        blush = bump(patch.x, patch.y, centre, (0.42, 0.34))
        patch.paint(blush * rosy, colour(0.92, 0.34, 0.36))


def _shade_wrinkles(patch: Patch, face: Face, old: float) -> None:
    x, y, turn = patch.x, patch.y, face["turn"]
    lines = np.zeros_like(x)
    width = 1.0 / max(0.028, 0.75 * patch.pixel)
    brow_span = cover(np.abs(x - 0.3 * turn) - 0.55, 0.4)
    for number, height in enumerate((-0.86, -0.72, -0.58)):
        bend = height + 0.05 * x * x + 0.012 * np.sin(x * 6.0 + 2.0 * number + 6.0 * face["grain"])
        lines += clamp(1.0 - np.abs(y - bend) * width) * brow_span
    for sign in (-1.0, 1.0):
        # from the nose's wing past the mouth's corner
        fold = sign * (0.24 + 0.34 * (y - 0.62)) + 0.8 * turn
        span = cover(np.abs(y - 0.95) - 0.30, 0.15)
        lines += clamp(1.0 - np.abs(x - fold) * (0.8 * width)) * span * 1.2
        for slope in (-0.35, 0.0, 0.35):  # crow's feet
            outward = x * sign - 0.76
            span = cover(np.abs(outward - 0.10) - 0.09, 0.06)
            lines += clamp(1.0 - np.abs(y - 0.02 - slope * outward) * width) * span * 0.8
        jowl = bump(x, y, (sign * 0.62, face["chin"] - 0.42), (0.20, 0.22))
        patch.shade(jowl * (-0.16 * old))
    patch.shade(np.minimum(lines, 1.5) * (-0.34 * old))
