"""These functions return the colours of skin, hair, eyes, lips, clothes and jewellery."""

from __future__ import annotations

import colorsys

from harness_faces.canvas import Colour, colour, mix
from harness_faces.measures import Face

_SKIN = (  # from light to dark
    colour(0.93, 0.77, 0.67),
    colour(0.88, 0.69, 0.56),
    colour(0.80, 0.59, 0.45),
    colour(0.62, 0.43, 0.31),
    colour(0.42, 0.27, 0.20),
)
_SKIN_AT = (0.0, 0.35, 0.70, 0.88, 1.0)
_EYES = (
    colour(0.28, 0.16, 0.09),
    colour(0.33, 0.40, 0.22),
    colour(0.30, 0.47, 0.66),
    colour(0.42, 0.48, 0.52),
)
_OTHER_HAIR = (colour(0.36, 0.15, 0.08), colour(0.22, 0.16, 0.14), colour(0.52, 0.38, 0.24))


def hue(angle: float, saturation: float, value: float) -> Colour:
    """Return a colour from hue, saturation and value, each from 0 to 1."""
    return colour(*colorsys.hsv_to_rgb(angle % 1.0, saturation, value))


def skin(face: Face) -> Colour:
    """Return the colour of the skin, paler and less saturated with Pale_Skin."""
    # fair hair goes with fair skin
    tone = face["skin_tone"] * (1.0 - 0.45 * face["Blond_Hair"])
    for place in range(len(_SKIN) - 1):
        low, high = _SKIN_AT[place], _SKIN_AT[place + 1]
        if tone <= high:
            base = mix(_SKIN[place], _SKIN[place + 1], (tone - low) / (high - low))
            break
    base = mix(base, colour(0.90, 0.66, 0.50), 0.25 * (face["skin_hue"] - 0.5))
    base = mix(base, colour(0.72, 0.62, 0.55), 0.18 * (1.0 - face["Young"]))
    return mix(base, colour(0.95, 0.88, 0.86), 0.80 * face["Pale_Skin"])


def hair(face: Face) -> Colour:
    """Return the colour of the hair: the named ones by their strengths, else auburn or one of two browns."""
    chosen = _OTHER_HAIR[min(2, int(face["other_hair"] * 3))]
    shade = 0.8 + 0.4 * face["hair_shade"]
    for name, named in (
        ("Black_Hair", colour(0.055, 0.05, 0.06)),
        ("Brown_Hair", colour(0.36, 0.20, 0.11)),
        ("Blond_Hair", colour(0.88, 0.70, 0.40)),
        ("Gray_Hair", colour(0.70, 0.70, 0.72)),
    ):
        chosen = mix(chosen, named, face[name])
    return chosen * shade


def brow(face: Face) -> Colour:
    """Return the colour of the brows, darker than that of the hair."""
    return mix(hair(face) * 0.55, colour(0.12, 0.08, 0.06), 0.45)


def iris(face: Face) -> Colour:
    """Return the colour of the iris: brown for half of the people, else green, blue or grey."""
    place = face["eye_colour"]
    return _EYES[0] if place < 0.5 else _EYES[1 + min(2, int((place - 0.5) * 6))]


def lips(face: Face, base: Colour) -> Colour:
    """Return the colour of the lips: redder than the skin, or that of a lipstick from red to pink."""
    natural = mix(base * 0.86, colour(0.70, 0.32, 0.32), 0.40 - 0.12 * face["Male"])
    stick = hue(0.93 + 0.09 * face["lipstick_hue"], 0.78, 0.80 - 0.18 * face["shadow_hue"])
    return mix(natural, stick, 0.85 * face["Wearing_Lipstick"])


def cloth(face: Face) -> Colour:
    """Return the colour of the clothes; a third of them are nearly grey."""
    saturation = 0.15 if face["cloth_kind"] < 0.33 else 0.60
    return hue(face["cloth_hue"], saturation, 0.12 + 0.75 * face["cloth_light"])


def metal(face: Face) -> Colour:
    """Return the colour of gold or silver."""
    return colour(0.93, 0.76, 0.30) if face["jewel"] < 0.6 else colour(0.86, 0.88, 0.92)
