"""These numbers were published: Tables 1 to 5 and the text of Ding et al., in percent."""

from __future__ import annotations

from dataclasses import dataclass

UCELEBA, CUB, CELEBA = "uCelebA", "CUB-200", "CelebA (aligned)"
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips",
    "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby",
    "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male",
    "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose",
    "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair",
    "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
LNETS = "LNets+ANet (Liu et al. 2015)"
TABLE_5: dict[str, tuple[float, ...]] = {
    LNETS: (
        91.00, 79.00, 81.00, 79.00, 98.00, 95.00, 68.00, 78.00, 88.00, 95.00, 84.00, 80.00, 90.00, 91.00,
        92.00, 99.00, 95.00, 97.00, 90.00, 87.00, 98.00, 92.00, 95.00, 81.00, 95.00, 66.00, 91.00, 72.00,
        89.00, 90.00, 96.00, 92.00, 73.00, 80.00, 82.00, 99.00, 93.00, 71.00, 93.00, 87.00,
    ),
    "part-only": (
        93.90, 81.86, 81.88, 84.07, 98.72, 95.71, 70.63, 83.48, 87.97, 95.16, 95.83, 87.53, 91.73, 95.05,
        95.92, 99.46, 97.19, 97.93, 90.26, 86.20, 96.65, 93.55, 96.63, 86.96, 95.71, 73.03, 96.86, 76.40,
        92.87, 94.77, 97.63, 91.98, 82.53, 81.29, 89.07, 98.75, 92.96, 87.13, 96.69, 86.51,
    ),
    "whole-only": (
        93.95, 81.43, 82.06, 84.11, 98.57, 95.45, 70.66, 82.91, 89.08, 95.52, 96.01, 88.63, 92.32, 95.12,
        95.98, 99.40, 96.90, 98.07, 90.67, 86.57, 97.10, 93.24, 96.59, 87.19, 95.40, 74.48, 96.85, 76.06,
        92.95, 94.83, 97.50, 91.61, 82.18, 82.63, 89.13, 98.50, 93.58, 87.14, 96.77, 87.14,
    ),
    "PaW": (
        94.64, 83.01, 82.86, 84.58, 98.93, 95.93, 71.46, 83.63, 89.84, 95.85, 96.11, 88.50, 92.62, 95.46,
        96.26, 99.59, 97.38, 98.21, 91.53, 87.44, 98.39, 94.05, 96.90, 87.56, 96.22, 75.03, 97.08, 77.35,
        93.44, 95.07, 97.64, 92.73, 83.52, 84.07, 89.93, 99.02, 94.24, 87.70, 96.85, 88.59,
    ),
}  # fmt: skip
"""Accuracy by attribute on uCelebA, in the order of ``ATTRIBUTES``."""
AVERAGES = {LNETS: 87.30, "part-only": 90.46, "whole-only": 90.60, "PaW": 91.23}
"""The column "Average" of Table 5. The text swaps part-only and whole-only; Table 3's SNet3, which is
whole-only, has 90.60."""


@dataclass(frozen=True)
class Published:
    """A Published number stands in a table of the paper, and says which model of a suite it is of."""

    table: str
    of: str
    """What its row, or its row and column, is called there."""
    data: str
    accuracy: float | None
    """In percent."""
    parameters: float | None = None
    """In millions."""
    kind: str = ""
    """The model in the catalogue; empty where nobody measures it here."""
    stage: str = ""
    """The stage of training after which it is measured; empty: the trained model on test images."""
    multi_net: bool | None = True
    subnet: str = ""
    aligned: bool | None = None
    """None: whether the faces are aligned or not."""
    cropped: bool | None = None
    """Of CUB-200: whether the images are cut to the bird's box."""


PUBLISHED = (
    Published("1", "without MNL, localisation branch", UCELEBA, 91.01, kind="any", stage="localisation",
              multi_net=False),
    Published("1", "MNL, classification branch", UCELEBA, 91.05, kind="any", stage="classification-branch"),
    Published("1", "MNL, localisation branch", UCELEBA, 91.07, kind="any", stage="localisation"),
    Published("2", "full image, without MNL, localisation branch", CUB, 67.40, kind="any",
              stage="localisation", multi_net=False, cropped=False),
    Published("2", "full image, MNL, classification branch", CUB, 72.10, kind="any",
              stage="classification-branch", cropped=False),
    Published("2", "full image, MNL, localisation branch", CUB, 71.66, kind="any",
              stage="localisation", cropped=False),
    Published("2", "crop, without MNL, localisation branch", CUB, 71.90, kind="any",
              stage="localisation", multi_net=False, cropped=True),
    Published("2", "crop, MNL, classification branch", CUB, 75.76, kind="any",
              stage="classification-branch", cropped=True),
    Published("2", "crop, MNL, localisation branch", CUB, 76.03, kind="any",
              stage="localisation", cropped=True),
    Published("3", "TNet", UCELEBA, 91.07, 19, kind="any", stage="localisation"),
    Published("3", "SNet1", UCELEBA, 91.02, 6, kind="paw-whole-only", stage="whole", subnet="snet1"),
    Published("3", "SNet2", UCELEBA, 90.89, 2, kind="paw-whole-only", stage="whole", subnet="snet2"),
    Published("3", "SNet3", UCELEBA, 90.60, 0.27, kind="paw-whole-only", stage="whole", subnet="snet3"),
    Published("4", "SOMP-thin-32", CELEBA, 89.96, 0.22),
    Published("4", "SOMP-branch-32", CELEBA, 90.74, 1.49),
    Published("4", "Low Rank", CELEBA, 90.88, 4.52),
    Published("4", "SNet3", CELEBA, 90.89, 0.27, kind="paw-whole-only", subnet="snet3", aligned=True),
    Published("text", "PaW, aligned", CELEBA, 91.33, kind="paw", aligned=True),
    Published("text", "MOON, aligned", CELEBA, 90.94, kind="moon", aligned=True),
    Published("text", "4x4 blocks", UCELEBA, 90.95, kind="paw-grid"),
)  # fmt: skip
KINDS = {"part-only": "paw-part-only", "whole-only": "paw-whole-only", "PaW": "paw"}
"""The models of Table 5 in the catalogue."""
