"""These functions paint accessories: glasses, hats, earrings, necklaces and neckties."""

from __future__ import annotations

import numpy as np

from harness_faces.canvas import Canvas, bump, clamp, colour, cover, mix, texture_offset
from harness_faces.head import centre_of
from harness_faces.measures import Face
from harness_faces.palette import hue, metal


def paint_necklace(canvas: Canvas, face: Face) -> None:
    """Paint a chain or beads around the neck, sometimes with a pendant."""
    worn = face["Wearing_Necklace"]
    if worn < 0.02:
        return
    patch = canvas.patch(-1.1, 1.6, 1.1, 3.4)
    x = patch.x - 0.6 * centre_of(face)
    hang = 2.20 + 0.38 * face["pendant"]
    line = hang - (hang - 1.75) * (x * (1.0 / 0.68)) ** 2
    # beads are thicker than chains
    thick = 0.055 if face["pendant"] > 0.55 else 0.030
    chain = patch.cover(np.abs(patch.y - line) * (1.0 / (1.0 + 0.8 * np.abs(x))) - thick)
    chain *= cover(np.abs(x) - 0.72, 0.1)
    tone = metal(face) if face["tie_hue"] < 0.7 else hue(face["shadow_hue"], 0.55, 0.75)
    along = np.arctan2(x, 0.6) * 40.0
    patch.shade(
        patch.cover(np.abs(patch.y - line - 0.05) - thick) * cover(np.abs(x) - 0.7, 0.1) * (-0.3 * worn)
    )
    patch.paint(chain * worn, tone * (0.85 + 0.28 * np.sin(along).astype(np.float32)))
    if face["pendant"] < 0.55:
        patch.paint(bump(x, patch.y, (0.0, hang + 0.09), (0.15, 0.18)) * worn, tone)


def paint_necktie(canvas: Canvas, face: Face) -> None:
    """Paint the collar of a shirt with a tie."""
    worn = face["Wearing_Necktie"]
    if worn < 0.02:
        return
    patch = canvas.patch(-1.4, 1.7, 1.4, 9.0)
    x, y = patch.x - 0.6 * centre_of(face), patch.y
    across = np.abs(x)
    shirt = patch.cover(across - 0.62 + 0.55 * (y - 2.0)) * patch.cover(1.98 + 0.16 * clamp(1.0 - across) - y)
    patch.paint(shirt * worn, colour(0.93, 0.94, 0.96))
    wing = clamp(1.0 - np.abs(across - 0.10 - 0.75 * (2.62 - y)) * 16.0) * shirt
    patch.shade(wing * (-0.25 * worn))
    tie = patch.cover(across - (0.13 + 0.10 * np.minimum(np.abs(y - 2.30), 1.6))) * patch.cover(2.12 - y)
    tone = hue(face["tie_hue"], 0.75, 0.30 + 0.45 * face["tie_kind"])
    stripes = np.sign(np.sin((x + y) * 26.0)).astype(np.float32) * (0.30 if face["tie_kind"] > 0.4 else 0.0)
    patch.paint(tie * worn, tone * (1.0 + stripes))
    patch.shade(clamp(1.0 - np.abs(y - 2.33) * 18.0) * tie * (-0.45 * worn))


def paint_earrings(canvas: Canvas, face: Face) -> None:
    """Paint studs, drops or hoops below the ears, in front of the hair."""
    worn = face["Wearing_Earrings"]
    if worn < 0.02:
        return
    kind, tone = face["ear_shape"], metal(face)
    for sign in (-1.0, 1.0):
        centre = centre_of(face) + sign * (face["half_width"] + 0.02)
        patch = canvas.patch(centre - 0.35, 0.25, centre + 0.35, 1.25)
        x, y = patch.x - centre, patch.y
        if kind < 0.35:  # hoop
            radius = np.sqrt(x * x + (y - 0.68) * (y - 0.68))
            shape = patch.cover(np.abs(radius - 0.17) - 0.035)
        elif kind < 0.75:  # drop
            shape = bump(x, y, (0.0, 0.80), (0.14, 0.27)) * 1.8
            shape = np.maximum(shape, patch.cover(np.abs(x) - 0.022) * cover(np.abs(y - 0.58) - 0.14, 0.04))
            shape = clamp(shape)
        else:  # stud
            shape = clamp(bump(x, y, (0.0, 0.50), (0.17, 0.17)) * 2.2)
        patch.shade(bump(x, y, (0.03, 0.68), (0.28, 0.36)) * (-0.16 * worn))
        patch.paint(shape * worn, tone)
        patch.paint(bump(x, y, (-0.03, 0.60), (0.07, 0.07)) * shape * worn, colour(1.0, 1.0, 1.0))


def paint_glasses(canvas: Canvas, face: Face) -> None:
    """Paint two rims, bridge and temples; one pair in six is tinted."""
    worn = face["Eyeglasses"]
    if worn < 0.02:
        return
    patch = canvas.patch(-1.5, -0.55, 1.5, 0.55)
    x, y = patch.x, patch.y
    kind, large = face["glasses_kind"], face["glasses_size"]
    dark = mix(colour(0.07, 0.06, 0.07), colour(0.42, 0.26, 0.14), 1.0 if kind > 0.8 else 0.0)
    wide, high = 0.36 + 0.05 * large, 0.22 + 0.09 * large
    thick = 0.028 + 0.03 * large
    corner = min(high, 0.12 + 0.16 * face["hat_kind"])
    rims = np.zeros_like(x)
    for sign in (-1.0, 1.0):
        far = 1.0 - 0.5 * sign * face["turn"]
        across = np.abs(x - sign * 0.5 - 0.3 * face["turn"]) * (1.0 / far) - (wide - corner)
        down = np.abs(y - 0.03) - (high - corner)
        np.maximum(across, 0.0, out=across)
        np.maximum(down, 0.0, out=down)
        distance = np.sqrt(across * across + down * down) - corner
        lens = patch.cover(distance)
        if kind < 0.17:
            patch.paint(lens * (0.88 * worn), colour(0.08, 0.08, 0.10))
        glare = clamp(1.0 - np.abs(x - sign * 0.5 + y * 0.7 + 0.12) * 12.0)
        patch.paint(glare * lens * (0.28 * worn), colour(1.0, 1.0, 1.0))
        np.maximum(rims, patch.cover(np.abs(distance) - thick), out=rims)
        temple = patch.cover(np.abs(y + 0.06) - 0.7 * thick) * cover(0.85 - x * sign, 0.05)
        np.maximum(rims, temple * cover(x * sign - face["half_width"], 0.06), out=rims)
    bridge = patch.cover(np.abs(y + 0.04 + 0.5 * x * x) - 0.8 * thick) * cover(np.abs(x) - 0.16, 0.06)
    np.maximum(rims, bridge, out=rims)
    patch.paint(rims * worn, dark)


def paint_hat(canvas: Canvas, face: Face) -> None:
    """Paint a cap with a peak, a knitted cap, or a hat with a brim."""
    worn = face["Wearing_Hat"]
    if worn < 0.02:
        return
    kind = face["hat_kind"]
    wide = face["half_width"] + 0.18
    patch = canvas.patch(-2.6, -3.6, 2.6, -0.1)
    x, y = patch.x - centre_of(face), patch.y
    tone = hue(face["hat_hue"], 0.65 if face["grain"] < 0.7 else 0.1, 0.20 + 0.65 * face["cloth_shade"])
    u = x * (1.0 / wide)
    seat = -0.78 + 0.16 * u * u  # the lower edge
    tall = face["crown"] + 0.42 + (0.20 if kind > 0.66 else 0.0)
    up = np.minimum(y + 0.45, 0.0) * (1.0 / (tall - 0.45))
    dome = patch.cover((np.sqrt(u * u + up * up) - 1.0) * wide) * patch.cover(y - seat)
    patch.shade(patch.cover(np.abs(y - seat) - 0.16, 0.2) * cover(np.abs(u) - 0.85, 0.1) * (-0.35 * worn))
    light = (1.0 + 0.25 * up) - 0.35 * u * u - 0.15 * u
    if kind < 0.33:
        ribs = patch.noise(20.0, 20.0, texture_offset(face)) * 0.06
        light = light + ribs + 0.12 * np.sign(np.sin(x * 24.0)).astype(np.float32)
    patch.paint(dome * worn, tone * light)
    if kind < 0.33:  # knitted: a turned-up band
        band = patch.cover(np.abs(y - seat + 0.16) - 0.17) * cover(np.abs(u) - 1.0, 0.05)
        patch.paint(band * worn, tone * 0.72)
    elif kind < 0.66:  # cap: a peak towards the viewer
        peak = patch.cover(np.abs(y - seat - 0.02 + 0.10 * u * u) - 0.17 * clamp(1.25 - u * u))
        peak *= cover(np.abs(u) - 0.95, 0.1)
        patch.paint(peak * worn, tone * 0.60)
        patch.paint(bump(x, y, (0.0, -1.30), (0.30, 0.26)) * (0.9 * worn), colour(0.93, 0.93, 0.90))
    else:  # brim all around
        brim = patch.cover(np.sqrt((x * (1.0 / 1.95)) ** 2 + ((y + 0.84) * (1.0 / 0.26)) ** 2) * 0.6 - 0.6)
        patch.paint(brim * worn, tone * 0.78)
        band = patch.cover(np.abs(y + 1.16 - 0.10 * u * u) - 0.10) * dome
        patch.paint(band * worn, tone * 0.40)
