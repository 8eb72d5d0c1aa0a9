"""This table holds CelebA's attribute rates and correlations, measured on 200 identities with 30 images each.

Each row holds the attribute's name, the share of images that have it, the cut of its standard normal latent,
the share of the latent's variance that lies between identities, and its loadings on the identity and on the
image factors; all but the rate in hundredths. The cuts differ from the rates' normal quantiles because the
logical rules make some attributes absent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness_faces.attribute_names import CELEBA_ATTRIBUTES

# fmt: off
_TABLE: tuple[tuple[str, float, int, int, tuple[int, ...], tuple[int, ...]], ...] = (
    ("5_o_Clock_Shadow", 0.106, 116, 87, (83, -32, 6, 14, -9, 14), (2, -4, -7, 0, 25)),
    ("Arched_Eyebrows", 0.430, 18, 62, (-65, 1, -27, 7, -3, -2), (-29, 10, -19, 17, -1)),
    ("Attractive", 0.593, -23, 67, (-54, -51, -4, 2, -22, 7), (-30, 25, -8, 2, 9)),
    ("Bags_Under_Eyes", 0.255, 65, 49, (56, 20, 8, 14, -13, -1), (-20, -33, 3, -6, 14)),
    ("Bald", 0.017, 212, 96, (73, 44, -35, -17, -23, -2), (1, -14, -10, 8, -5)),
    ("Bangs", 0.203, 82, 58, (-22, 7, 40, 17, 28, -6), (-7, 28, 49, -28, 7)),
    ("Big_Lips", 0.341, 41, 86, (-17, -3, -26, 12, 42, -3), (-13, -3, -1, 2, 1)),
    ("Big_Nose", 0.277, 58, 76, (64, 36, -20, 29, -7, -4), (-14, -25, -4, -1, -1)),
    ("Black_Hair", 0.222, 64, 62, (23, -32, -42, 44, 26, 6), (-10, 5, -29, -16, -3)),
    ("Blond_Hair", 0.203, 72, 84, (-62, 35, 47, -7, -28, 9), (-7, 9, 9, -7, -36)),
    ("Blurry", 0.040, 177, 27, (22, 10, 11, -12, 16, 19), (58, -21, 21, -16, -2)),
    ("Brown_Hair", 0.197, 71, 53, (-22, -30, 7, -23, 13, -11), (3, 10, 22, 16, 61)),
    ("Bushy_Eyebrows", 0.144, 103, 76, (46, -43, -2, 36, -4, 6), (-15, 3, -17, 0, 6)),
    ("Chubby", 0.041, 173, 66, (55, 49, -29, 9, -1, -13), (-5, -19, -5, 2, -5)),
    ("Double_Chin", 0.034, 181, 61, (46, 57, -9, 19, 4, -13), (-16, -33, -2, 6, -6)),
    ("Eyeglasses", 0.048, 167, 76, (56, 9, -3, 5, 16, -2), (41, -24, 4, -7, 1)),
    ("Goatee", 0.051, 163, 84, (81, 15, -25, -27, 1, 4), (5, -13, -14, 15, 4)),
    ("Gray_Hair", 0.023, 173, 84, (28, 63, 50, 0, 16, -26), (5, -22, -3, 3, -31)),
    ("Heavy_Makeup", 0.498, -6, 73, (-83, -8, -8, 1, 1, -6), (-36, 31, 0, 11, -12)),
    ("High_Cheekbones", 0.440, 14, 45, (-44, 29, -6, 27, -11, 18), (-62, -32, 13, -9, 7)),
    ("Male", 0.288, 55, 96, (97, 0, 0, 0, 0, 0), (3, -3, -2, 0, 2)),
    ("Mouth_Slightly_Open", 0.460, 10, 30, (-21, 19, -3, 20, -15, 13), (-45, -35, 17, -6, 4)),
    ("Mustache", 0.057, 156, 88, (81, 16, -39, -14, 6, 3), (8, -19, -3, 12, 6)),
    ("Narrow_Eyes", 0.128, 113, 38, (13, 1, 1, 10, 22, 10), (-14, -27, 10, -9, 1)),
    ("No_Beard", 0.852, -104, 94, (-93, 6, 18, 6, 4, -12), (-7, 9, 5, -8, -7)),
    ("Oval_Face", 0.149, 104, 57, (-44, -14, -29, -5, -20, -43), (-30, 21, -12, 0, 8)),
    ("Pale_Skin", 0.055, 161, 22, (-14, -11, 26, -3, 15, -10), (6, 29, -6, -4, -7)),
    ("Pointy_Nose", 0.334, 44, 63, (-34, -17, 8, -19, -2, 13), (-13, 10, -6, 5, 0)),
    ("Receding_Hairline", 0.070, 141, 61, (31, 36, -42, -4, 2, -14), (3, -29, -51, 19, -4)),
    ("Rosy_Cheeks", 0.100, 127, 42, (-60, 10, 9, 19, -4, 4), (-70, 20, 4, 5, -17)),
    ("Sideburns", 0.043, 172, 79, (82, -14, -1, -23, -1, 16), (14, -14, -10, 17, 22)),
    ("Smiling", 0.452, 11, 38, (-27, 19, 2, 33, -14, 23), (-63, -39, 17, -13, 10)),
    ("Straight_Hair", 0.189, 79, 41, (11, -21, 35, 39, -7, -25), (-5, 7, -29, -68, 12)),
    ("Wavy_Hair", 0.397, 23, 56, (-46, -3, -6, -14, 28, 9), (-9, 13, 22, 43, 9)),
    ("Wearing_Earrings", 0.260, 64, 50, (-53, 33, -17, 10, 4, 4), (-22, -10, -4, 5, -8)),
    ("Wearing_Hat", 0.033, 185, 53, (29, 2, 0, -15, 4, -1), (25, -17, 29, 6, -20)),
    ("Wearing_Lipstick", 0.618, -40, 89, (-93, -3, -5, 1, 5, -3), (-25, 18, 3, 7, -5)),
    ("Wearing_Necklace", 0.209, 80, 33, (-45, 26, 0, 7, 10, 15), (-14, -7, 15, 5, -13)),
    ("Wearing_Necktie", 0.051, 158, 63, (76, 11, 5, 2, -5, -9), (-7, -4, -24, -9, 18)),
    ("Young", 0.799, -84, 85, (-30, -75, -16, 10, -9, -23), (0, 19, -6, -7, 10)),
)
# fmt: on

if tuple(row[0] for row in _TABLE) != CELEBA_ATTRIBUTES:
    raise AssertionError("the attribute table has another order than the attribute names")


def _column(number: int) -> npt.NDArray[np.float64]:
    return np.array([row[number] for row in _TABLE], dtype=np.float64)


RATES = _column(1)
"""(40,): the share of CelebA's images that have the attribute."""
CUTS = _column(2) / 100.0
"""(40,): the value that the latent of a present attribute exceeds."""
IDENTITY_SHARE = _column(3) / 100.0
"""(40,): the share of the latent's variance that lies between identities."""
IDENTITY_LOADINGS = _column(4) / 100.0
"""(40, 6): the loadings on the factors that all images of an identity share."""
IMAGE_LOADINGS = _column(5) / 100.0
"""(40, 5): the loadings on the factors that change from image to image."""
