"""These functions paint hair: behind the neck, around the face, bangs, sideburns and beards."""

from __future__ import annotations

import numpy as np

from harness_faces.canvas import Canvas, Patch, clamp, colour, cover, mix, texture_offset
from harness_faces.head import centre_of, outline, rounded
from harness_faces.measures import Face
from harness_faces.palette import hair
from harness_faces.textures import Plane


def _strands(patch: Patch, face: Face) -> Plane:
    """Return the lightness (h, w) of strands that run from the parting outwards and then down."""
    x, y = patch.x, patch.y
    wavy, straight = face["Wavy_Hair"], face["Straight_Hair"]
    part = centre_of(face) + 0.5 * (face["parting"] - 0.5)
    fan = np.maximum(y + 2.5, 0.6)
    np.minimum(fan, 2.4, out=fan)
    across = (x - part) / fan
    phase = 6.28 * face["wave_phase"]
    if wavy > 0.02:
        wave = np.sin(y * 5.6 + np.abs(x) * 2.2 + phase).astype(np.float32)
        across += wave * (0.075 * wavy)
    # hair that is neither wavy nor straight has strands that cross a little
    along = 3.0 + 5.0 * (1.0 - max(wavy, straight))
    texture = Patch(across, y, patch.rgb, patch.pixel).noise(62.0, along, texture_offset(face), 1.2)
    light = texture * (0.13 + 0.07 * straight)
    if wavy > 0.02:
        light += wave * (0.20 * wavy)
    if straight > 0.02:
        # straight hair reflects the light in a ring
        ring = np.sqrt(x * x + (y - 0.1) * (y - 0.1)) - 1.38
        light += clamp(1.0 - np.abs(ring) * 5.0) * (0.50 * straight)
    return light


def _outer(patch: Patch, face: Face) -> Plane:
    """Return the distance (h, w) to the outline of the hair: a dome, and a curtain below the ears."""
    x, y = patch.x - centre_of(face), patch.y
    depth, wavy = face["hair_depth"], face["Wavy_Hair"]
    width, height = face["half_width"] + depth, face["crown"] + 1.1 * depth
    fall = clamp(y * 0.6)
    side = x * (1.0 / width) / (1.0 + fall * (0.02 + 0.22 * wavy - 0.10 * face["Straight_Hair"]))
    up = np.minimum(y, 0.0) * (1.0 / height)
    distance = (np.sqrt(side * side + rounded(up)) - 1.0) * width
    ripple = np.sin(y * 6.5 + 6.28 * face["wave_phase"] + np.sign(x) * 0.8).astype(np.float32)
    distance += ripple * (0.015 + 0.065 * wavy) * clamp(y + 1.2)
    tousled = 0.035 * (1.0 - face["Straight_Hair"])
    return distance + patch.noise(7.0, 7.0, texture_offset(face), 2.0) * tousled


def _paint_hair(patch: Patch, face: Face, alpha: Plane, dim: float) -> None:
    base = hair(face) * dim
    light = _strands(patch, face)
    sheen = mix(base, colour(0.95, 0.88, 0.80), 0.25)
    patch.paint(alpha, base + np.maximum(light, 0.0) * sheen + light * base)


def paint_back_hair(canvas: Canvas, face: Face) -> None:
    """Paint long hair behind the neck."""
    if face["hair_reach"] < 1.0 or face["Bald"] > 0.5:
        return
    edge = face["half_width"] + face["hair_depth"] + 0.6
    patch = canvas.patch(-edge, -0.6, edge, face["hair_reach"] + 0.3)
    ends = patch.y - face["hair_reach"] + 0.2 * patch.x * patch.x
    _paint_hair(patch, face, patch.cover(_outer(patch, face)) * patch.cover(ends, 0.25), 0.55)


def paint_front_hair(canvas: Canvas, face: Face) -> None:
    """Paint hair around the face, and bangs over it."""
    edge = face["half_width"] + face["hair_depth"] + 0.5
    reach = face["hair_reach"]
    patch = canvas.patch(-edge, -face["crown"] - 0.6, edge, reach + 0.25)
    x, y = patch.x - centre_of(face), patch.y
    receding, bangs, bald = face["Receding_Hairline"], face["Bangs"], face["Bald"]
    side = x * (1.0 / face["half_width"])
    up = np.minimum(y, 0.0) * (1.0 / face["crown"])
    opening = np.sqrt(side * side + rounded(up)) - (
        0.955 - (0.10 * face["hair_front"] if reach > 1.0 else 0.0)
    )
    # the hairline is lower at the temples, or higher there if it recedes
    part = 0.5 * (face["parting"] - 0.5)
    line = face["hairline"] + (0.30 - 0.45 * receding) * (x - part) * (x - part)
    if receding > 0.02:
        line = line - receding * 0.30 * clamp(1.0 - np.abs(np.abs(x) - 0.55) * 3.0)
    bare = patch.cover(opening * face["half_width"], 0.07) * patch.cover(line - y, 0.09)
    hair_here = patch.cover(_outer(patch, face)) * (1.0 - bare)
    hair_here *= patch.cover(y - reach, 0.25)
    if bald > 0.01:
        # a fringe above the ears remains
        hair_here *= 1.0 - bald * cover(y + 0.30, 0.25)
        hair_here *= 1.0 - 0.45 * bald
    shadow = patch.cover(line - 0.10 - y, 0.2) - patch.cover(line + 0.10 - y, 0.2)
    patch.shade(-0.25 * np.abs(shadow) * (1.0 - bald) * cover(opening, 0.1))
    _paint_hair(patch, face, hair_here, 1.0)
    if bald > 0.01:
        shine = clamp(1.0 - ((patch.x + 0.2) * (patch.x + 0.2) + (y + 1.18) * (y + 1.18)) * 7.0)
        patch.paint(shine * cover(opening, 0.10) * (0.40 * bald), colour(1.0, 0.97, 0.93))
    if bangs > 0.02:
        _paint_bangs(canvas, face)


def _paint_bangs(canvas: Canvas, face: Face) -> None:
    bangs = face["Bangs"]
    edge = face["half_width"]
    patch = canvas.patch(-edge - 0.1, -face["crown"], edge + 0.1, -0.1)
    x, y = patch.x - centre_of(face), patch.y
    lean = 0.5 * (face["bangs_phase"] - 0.5)
    tips = patch.noise(16.0, 0.5, texture_offset(face)) * 0.085
    low = (-1.00 + 0.52 * bangs) + lean * x + 0.10 * x * x + tips
    side, _, radius = outline(face, patch.x, y)
    alpha = patch.cover(y - low, 0.08) * cover(np.maximum(np.abs(side), radius) - 1.02, 0.08)
    patch.shade(patch.cover(y - low - 0.07, 0.12) * cover(radius - 0.98, 0.05) * (-0.28 * bangs))
    _paint_hair(patch, face, alpha * min(1.0, 1.6 * bangs), 0.96)


def paint_facial_hair(canvas: Canvas, face: Face) -> None:
    """Paint stubble, beard, goatee, mustache and sideburns."""
    shadow, beard = face["5_o_Clock_Shadow"], (1.0 - face["No_Beard"]) * face["Male"]
    goatee, mustache, sideburns = face["Goatee"], face["Mustache"], face["Sideburns"]
    if max(shadow, beard, goatee, mustache, sideburns) < 0.02:
        return
    edge, chin, mouth, turn = face["half_width"] + 0.05, face["chin"], face["mouth_y"], face["turn"]
    patch = canvas.patch(-edge - 0.1, -0.25, edge + 0.1, chin + 0.1)
    x, y = patch.x, patch.y
    side, _, radius = outline(face, x, y)
    head = cover(radius - 0.985, 0.04)
    middle = x - 0.6 * turn
    lips = np.abs(middle) * (1.0 / (face["mouth_half_width"] + 0.02))
    rows = (y - mouth) * (1.0 / (face["lip"] + 0.6 * face["mouth_gap"] + 0.03))
    off_lips = 1.0 - cover(np.sqrt(lips * lips + rows * rows) - 1.0, 0.25)
    # the jaw, from the ears along the cheeks to the chin, and the upper lip
    cheek_line = 0.98 - 0.62 * side * side
    jaw = cover(cheek_line - y, 0.24) * head
    upper_lip = _mustache(face, x - 0.8 * turn, y)
    speckle = patch.noise(34.0, 34.0, texture_offset(face), 0.5)
    tone = mix(hair(face) * 0.75, colour(0.08, 0.07, 0.07), 0.35)
    if shadow > 0.02:
        grown = np.maximum(jaw, upper_lip * 0.9) * off_lips * (0.40 + 0.14 * speckle) * (0.95 * shadow)
        patch.paint(clamp(grown), colour(0.17, 0.17, 0.20))
    curls = 1.0 + speckle * 0.30
    grown = np.zeros_like(x)
    if beard > 0.02 and shadow < 0.98:
        # a short beard over the whole jaw, which no other attribute describes
        grown = np.maximum(grown, jaw * (0.62 * beard * (1.0 - 0.6 * shadow)))
        grown = np.maximum(grown, upper_lip * (0.30 * beard))
    if goatee > 0.02:
        across, down = middle * (1.0 / 0.36), (y - mouth - 0.36) * (1.0 / 0.36)
        patch_chin = cover(np.sqrt(across * across + down * down) - 1.0, 0.25)
        ring = cover(np.abs(np.sqrt(lips * lips + (y - mouth) ** 2 * 9.0) - 1.25) - 0.16, 0.2)
        ring *= cover(mouth - 0.1 - y, 0.1)
        grown = np.maximum(grown, np.maximum(patch_chin, ring) * (0.92 * goatee))
    if mustache > 0.02:
        grown = np.maximum(grown, upper_lip * (0.95 * mustache))
    if sideburns > 0.02:
        strip = cover(0.80 - np.abs(side), 0.08) * cover(np.abs(side) - 0.99, 0.04)
        strip *= cover(y - 0.80, 0.20) * cover(-0.2 - y, 0.1)
        grown = np.maximum(grown, strip * (0.88 * sideburns))
    patch.paint(clamp(grown * off_lips * curls), tone)


def _mustache(face: Face, x: Plane, y: Plane) -> Plane:
    base = face["mouth_y"] - face["lip"] - 0.5 * face["mouth_gap"] - 0.085
    across = np.abs(x) * (1.0 / (1.08 * face["mouth_half_width"]))
    drop = base + (0.10 + 0.5 * face["mouth_curve"]) * across * across
    return cover(np.abs(y - drop) - (0.105 - 0.06 * across), 0.05) * cover(across - 1.0, 0.1)
