"""Drawing: colours, names and axes that the figures of the study share."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by colour-blind readers too (Okabe and Ito 2008); a kind of model has one colour everywhere.
COLOURS = {
    OPTIMAL: "#000000",
    CNN: "#D55E00",
    LINEAR: "#E69F00",
    RBF: "#0072B2",
    TRADES: "#CC79A7",
    PGD: "#009E73",
    "mfa": "#56B4E9",
}
OTHER = "#8C6D31"
MARKERS = {OPTIMAL: "D", CNN: "o", LINEAR: "s", RBF: "^", TRADES: "v", PGD: "P", "mfa": "X"}
NAMES = {
    OPTIMAL: "Bayes-optimal",
    CNN: "CNN",
    LINEAR: "linear SVM",
    RBF: "RBF SVM",
    TRADES: "CNN, TRADES",
    PGD: "CNN, PGD-trained",
    "mfa": "MFA",
}
ATTACKS = {
    "cw-l2": "CW-L2",
    "component-gradient": "component gradient",
    "gradient-descent": "gradient descent",
    CLOSEST: "closest adversarial of all attacks",
}


def colour(kind: str) -> str:
    """Of a kind of model."""
    return COLOURS.get(kind, OTHER)


def marker(kind: str) -> str:
    """Of a kind of model."""
    return MARKERS.get(kind, "*")


def shades(models: Sequence[Model]) -> dict[str, str]:
    """A colour for each label: that of its kind, the lighter the more of the kind came before."""
    from matplotlib.colors import to_hex, to_rgb

    found = {}
    for model in models:
        same = [other.label for other in models if other.kind == model.kind]
        light = 0.65 * same.index(model.label) / max(len(same) - 1, 1) if len(same) > 1 else 0.0
        red, green, blue = (part + (1 - part) * light for part in to_rgb(colour(model.kind)))
        found[model.label] = to_hex((red, green, blue))
    return found


def model_text(model: Model) -> str:
    """ "cnn[width=32]" → "CNN, width=32"; an id of the suite's own as it is."""
    if not model.label.startswith(model.kind):
        return model.label
    rest = model.label.removeprefix(model.kind)
    return NAMES.get(model.kind, model.kind) + (f", {rest[1:-1]}" if rest.startswith("[") else rest)


def attack_text(item: Attacked) -> str:
    """An attack as people read it, with its threat where the name alone does not say."""
    name = ATTACKS.get(item.attack, item.attack)
    return name if item.attack == CLOSEST or item.threat == "l2 minimal" else f"{name}, {item.threat}"


def spaced(name: str) -> str:
    """An attribute's name as people read it."""
    return name.replace("_", " ")


def data_text(data: Data, joint: str = ", ") -> str:
    """What is told apart, learned from what, and what stands in for what."""
    task = "" if data.task == data.label else spaced(data.task)
    told = [part for part in (task, data.group if task else data.label) if part]
    if data.stand_in_for:
        told.append(stand_in_text(data))
    return joint.join(told)


def stand_in_text(data: Data) -> str:
    """What stands in for what."""
    return f"{data.made_of or data.label} in place of {data.stand_in_for}"


def percent(value: float) -> str:
    """ "97.5 %"."""
    return f"{100 * value:.1f} %"


def new_figure(width: float, height: float) -> Figure:
    """A figure of width x height inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(figure: Figure, rows: int, columns: int, **options: Any) -> list[list[Axes]]:
    """A grid of axes, always as rows of columns."""
    grid: list[list[Axes]] = figure.subplots(rows, columns, squeeze=False, **options).tolist()
    return grid


def plain_axes(axes: Axes, *, grid: str | None = None) -> None:
    """No frame above and to the right; a light grid along "x", "y" or "both"."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(axis=grid, color="0.92", linewidth=0.8)  # type: ignore[arg-type]
        axes.set_axisbelow(True)


def legend_beside(
    figure: Figure, handles: Iterable[Any], labels: Iterable[str], title: str | None = None
) -> None:
    """One legend to the right of all panels, where it covers nothing."""
    handles = list(handles)
    if handles:
        figure.legend(
            handles, list(labels), title=title, loc="outside right upper", frameon=False, fontsize=9,
            alignment="left",
        )  # fmt: skip


def title(figure: Figure, text: str) -> None:
    """Above all panels, from the left, and no wider than what the legend beside them leaves."""
    room = int(12 * (figure.get_size_inches()[0] - 2.9))
    figure.suptitle(textwrap.fill(text, max(room, 30)), x=0.01, ha="left", fontsize=11)


def patches(models: Sequence[Model]) -> tuple[list[Any], list[str]]:
    """Legend handles and texts of models, by colour."""
    from matplotlib.patches import Patch

    tints = shades(models)
    return [Patch(color=tints[model.label]) for model in models], [model_text(model) for model in models]
