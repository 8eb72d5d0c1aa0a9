"""Quoted numbers were published by others; this project did not measure them.

Liu et al. 2015 give the accuracies of LNets+ANet; they are quoted from Ding et al. 2018, table 5, since that
is where they were read. Both localise the face in the unaligned images of CelebA ("uCelebA"), so they are not
of the aligned images that the separate networks and MOON see.
"""

from __future__ import annotations

from harness.analysis.claims import Quote

CELEBA = "CelebA"
UNALIGNED = "uCelebA (unaligned)"
LNETS = "LNets+ANet"

_STUDY = "Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness"

MEANS = (
    Quote("Kalayeh et al.", 8.20, CELEBA, f"Kalayeh et al. 2017, as quoted by {_STUDY}, section 2"),
    Quote("MOON", 9.06, CELEBA, f"Rudd et al. 2016, as quoted by {_STUDY}, section 2.3"),
    Quote("separate", 9.20, CELEBA, f"{_STUDY}, section 2.3"),
    Quote("separate, softmax", 9.30, CELEBA, f"{_STUDY}, section 5"),
    Quote("separate, two epochs", 9.78, CELEBA, f"{_STUDY}, section 6"),
    Quote(LNETS, 12.70, UNALIGNED, f"Liu et al. 2015, as quoted by {_STUDY}, section 2.3"),
    Quote(
        "FaceTracer", 18.88, CELEBA, f"Kumar et al. 2009, measured by Liu et al. 2015, as quoted by {_STUDY}"
    ),
    Quote("trivial", 19.96, CELEBA, f"{_STUDY}, section 2.3"),
)
"""Mean classification errors over the 40 attributes, in percent, of the test set."""

LNETS_SOURCE = "Liu et al. 2015, as quoted by Ding et al. 2018, table 5 (uCelebA: unaligned images)"
LNETS_ACCURACY = {
    "5_o_Clock_Shadow": 91,
    "Arched_Eyebrows": 79,
    "Attractive": 81,
    "Bags_Under_Eyes": 79,
    "Bald": 98,
    "Bangs": 95,
    "Big_Lips": 68,
    "Big_Nose": 78,
    "Black_Hair": 88,
    "Blond_Hair": 95,
    "Blurry": 84,
    "Brown_Hair": 80,
    "Bushy_Eyebrows": 90,
    "Chubby": 91,
    "Double_Chin": 92,
    "Eyeglasses": 99,
    "Goatee": 95,
    "Gray_Hair": 97,
    "Heavy_Makeup": 90,
    "High_Cheekbones": 87,
    "Male": 98,
    "Mouth_Slightly_Open": 92,
    "Mustache": 95,
    "Narrow_Eyes": 81,
    "No_Beard": 95,
    "Oval_Face": 66,
    "Pale_Skin": 91,
    "Pointy_Nose": 72,
    "Receding_Hairline": 89,
    "Rosy_Cheeks": 90,
    "Sideburns": 96,
    "Smiling": 92,
    "Straight_Hair": 73,
    "Wavy_Hair": 80,
    "Wearing_Earrings": 82,
    "Wearing_Hat": 99,
    "Wearing_Lipstick": 93,
    "Wearing_Necklace": 71,
    "Wearing_Necktie": 93,
    "Young": 87,
}
"""Accuracy in percent, as published: whole percents."""

LNETS_ERRORS = {name: (100 - percent) / 100 for name, percent in LNETS_ACCURACY.items()}
"""The same as shares of errors."""
