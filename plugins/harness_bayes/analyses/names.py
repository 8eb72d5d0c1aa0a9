"""Names are what figures of the study call models, attacks and data sets; a model has a look, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.analysis.drawing import COLOURS, spaced
from harness_bayes.analyses.study import (
    CLOSEST,
    CNN,
    LINEAR,
    OPTIMAL,
    PGD,
    RBF,
    TRADES,
    Attacked,
    Data,
    Model,
)

NAMES = {
    OPTIMAL: "Bayes-optimal",
    CNN: "CNN",
    LINEAR: "linear SVM",
    RBF: "RBF SVM",
    TRADES: "CNN, TRADES",
    PGD: "CNN, PGD-trained",
    "mfa": "MFA",
}
# A kind of model has one colour of the palette and one marker everywhere.
LOOKS = {OPTIMAL: (6, "D"), CNN: (1, "o"), LINEAR: (4, "s"), RBF: (0, "^"), TRADES: (3, "v"), PGD: (2, "P"),
         "mfa": (5, "X")}  # fmt: skip
ATTACKS = {
    "cw-l2": "CW-L2",
    "ddn": "DDN",
    "fmn": "FMN",
    "component-gradient": "component gradient",
    "gradient-descent": "gradient descent",
    CLOSEST: "closest adversarial of all attacks",
}


def look(kind: str) -> dict[str, Any]:
    """Return the mark of a kind of model."""
    place, marker = LOOKS.get(kind, (7, "*"))
    return {"color": COLOURS[place], "marker": marker, "linestyle": "none"}


def shades(models: Sequence[Model]) -> dict[str, str]:
    """Return a colour for each label: that of its kind, the lighter the more of the kind came before."""
    from matplotlib.colors import to_hex, to_rgb

    found = {}
    for model in models:
        same = [other.label for other in models if other.kind == model.kind]
        light = 0.65 * same.index(model.label) / max(len(same) - 1, 1)
        red, green, blue = (part + (1 - part) * light for part in to_rgb(look(model.kind)["color"]))
        found[model.label] = to_hex((red, green, blue))
    return found


def model_text(model: Model) -> str:
    """Return "CNN, width=32" for "cnn[width=32]"; an id of the suite's own as it is."""
    if not model.label.startswith(model.kind):
        return model.label
    rest = model.label.removeprefix(model.kind)
    return NAMES.get(model.kind, model.kind) + (f", {rest[1:-1]}" if rest.startswith("[") else rest)


def attack_text(item: Attacked) -> str:
    """Return an attack as people read it, with its threat where the name alone does not say."""
    name = ATTACKS.get(item.attack, item.attack)
    return name if item.attack == CLOSEST or item.threat == "l2 minimal" else f"{name}, {item.threat}"


def data_text(data: Data, joint: str = ", ") -> str:
    """Return what is told apart, learned from what, and what stands in for what."""
    task = "" if data.task == data.label else spaced(data.task)
    told = [part for part in (task, data.group if task else data.label) if part]
    if data.stand_in_for:
        told.append(stand_in_text(data))
    return joint.join(told)


def stand_in_text(data: Data) -> str:
    """Return what stands in for what."""
    return f"{data.made_of or data.label} in place of {data.stand_in_for}"
