"""Quoted numbers are those of Richardson and Weiss, tables 1 to 3; this project did not measure them."""

from __future__ import annotations

from harness.analysis.claims import Quote
from harness_bayes.analyses.study import CNN, LINEAR, OPTIMAL, RBF, Data

PAPER = "Richardson and Weiss, A Bayes-Optimal View on Adversarial Examples"
Key = str | tuple[str, str]


_MODELS = (OPTIMAL, CNN, LINEAR, RBF)
_SURE = (100.0, 0.0)

# Each line: Bayes-optimal, CNN, linear SVM, RBF SVM; accuracy, then in brackets that under attack.
TABLE_1: dict[Key, tuple[tuple[float, float], ...]] = {
    "Bangs": (_SURE, _SURE, _SURE, (96, 18)),
    "Black_Hair": (_SURE, (98, 2), _SURE, (96, 26)),
    "Brown_Hair": (_SURE, (99, 1), _SURE, (86, 16)),
    "Heavy_Makeup": (_SURE, _SURE, _SURE, (96, 14)),
    "High_Cheekbones": (_SURE, _SURE, _SURE, (96, 10)),
    "Male": (_SURE, _SURE, _SURE, (100, 8)),
    "Mouth_Slightly_Open": (_SURE, _SURE, _SURE, (94, 8)),
    "No_Beard": (_SURE, _SURE, _SURE, (94, 10)),
    "Smiling": (_SURE, _SURE, _SURE, (96, 10)),
    "Wearing_Earrings": (_SURE, (99, 1), _SURE, (94, 16)),
    "Wearing_Lipstick": (_SURE, _SURE, _SURE, (92, 18)),
    "Eyeglasses": (_SURE, _SURE, _SURE, (100, 22)),
    ("0", "6"): (_SURE, _SURE, _SURE, (100, 4)),
    ("2", "7"): (_SURE, _SURE, _SURE, (100, 7)),
    ("4", "5"): (_SURE, _SURE, _SURE, (100, 8)),
}
"""Symmetric data sets."""

# CNN, linear SVM, RBF SVM.
TABLE_2: dict[Key, tuple[tuple[float, float], ...]] = {
    "Male": ((94.7, 5.30), (89.7, 10.3), (89.7, 11.3)),
    "Smiling": ((88.0, 12.0), (88.3, 11.7), (84.3, 16.3)),
    "Bangs": ((94.0, 6.00), (87.0, 13.0), (93.7, 24.7)),
    "Heavy_Makeup": ((86.0, 14.0), (83.7, 16.3), (85.7, 20.7)),
    "Eyeglasses": ((100.0, 0.00), (93.7, 6.33), (96.3, 32.3)),
}
"""Real images of CelebA."""

TABLE_3: dict[Key, tuple[float, float]] = {
    "Male": (92.3, 88.0),
    "Smiling": (89.5, 85.6),
    "Bangs": (94.3, 90.4),
    "Heavy_Makeup": (86.3, 79.9),
    "Eyeglasses": (98.4, 91.7),
}
"""Accuracy of CNNs on real test images: trained on real images, and on samples of the symmetric data set."""

ALMOST_INDISTINGUISHABLE, PERCEPTIBLE = 1.5, 3.0
"""Mean L2 of face images of 64 x 64 (section 2.1): below the one, and around the other."""
WITHIN_GREY_LEVELS = 5


def key_of(data: Data) -> Key | None:
    """Return under what a data set's figures stand in the tables; None where it cannot be told."""
    if data.attribute is not None:
        return data.attribute
    return None if data.pair is None else (min(data.pair), max(data.pair))


def published(data: Data, kind: str) -> tuple[Quote, Quote] | None:
    """Return the paper's accuracies, in percent, of a kind of model on these classes; None where it has none.

    The first is before the attack, the second under it.
    """
    key = key_of(data)
    if key is None or data.to_real:
        return None
    of = "CelebA" if isinstance(key, str) else "MNIST"
    if data.kind == "symmetric" and kind in _MODELS and key in TABLE_1:
        pair, of, table = TABLE_1[key][_MODELS.index(kind)], f"samples of {of}", "table 1"
    elif data.kind == "real" and kind in _MODELS[1:] and key in TABLE_2:
        pair, table = TABLE_2[key][_MODELS.index(kind) - 1], "table 2"
    else:
        return None
    return Quote("accuracy", pair[0], of, table), Quote("accuracy under attack", pair[1], of, table)
