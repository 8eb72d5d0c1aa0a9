"""Attribute error sets our classification errors beside published ones (Rozsa et al., figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.errors import HarnessError
from harness.metrics import wilson
from harness.results import Results
from harness_attributes.analyses.errors import errors_of
from harness_attributes.analyses.quoted import LNETS, LNETS_ERRORS, LNETS_SOURCE, MEANS, UNALIGNED
from harness_attributes.analyses.study import CONVERGED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN = "mean"
TRIVIAL = "trivial"
COLUMNS = (
    "dataset", "stand_in_for", "classifier", "attribute", "error", "low", "high",
    "n", "attributes", "quoted", "source", "scored_on",
)  # fmt: skip


def run(results: Results, *, quote: bool = True) -> Analysis:
    """Tell the classification error by attribute, of each model and of always answering the commoner value.

    Rows: classifier x attribute, and its mean over ``attributes`` attributes in the row "mean"; errors are
    shares. Ours come from the cards of the weights, with a 95 % interval of ``n`` scored images: over persons
    where the card has one, else Wilson's, which takes images of a person for independent.
    Published ones have ``quoted`` True and say in ``source`` who measured them on what; they are of the
    40 attributes of CelebA, whatever the data set is that they stand beside.

    Args:
        quote: whether to set published numbers beside ours.

    Raises:
        HarnessError: no model's card says what it scores per attribute.
    """
    rows: list[dict[str, Any]] = []
    stand_ins = _stand_ins(results)
    models = results.models()
    for dataset, own in models.groupby("dataset", sort=False):
        found = _measured(str(dataset), stand_ins.get(str(dataset)), own)
        if not found:
            continue
        order = _order(found, _leader(own))
        names = {row["attribute"] for row in found}
        if quote:
            found += _quoted(str(dataset), stand_ins.get(str(dataset)), names)
        found.sort(key=lambda row: order.get(row["attribute"], len(order)))
        rows += found
    if not rows:
        raise HarnessError(
            f"{results.path}: no model says what it scores by attribute; weights that this harness trains do"
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n": "Int64", "attributes": "Int64"})
    return Analysis(table, _figure(table))


def _measured(dataset: str, stand_in_for: str | None, models: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    trivial: dict[str, dict[str, Any]] = {}
    same = {"dataset": dataset, "stand_in_for": stand_in_for, "quoted": False}
    for model, card in zip(models["model"], models["card"], strict=True):
        known = {"n": card.get("scored_images"), "scored_on": card.get("scored_on"), "source": "this run"}
        errors = errors_of(card)
        ends = card.get("accuracy_interval") or {}
        rows += [
            _row(name, error, same | known | {"classifier": model}, ends.get(name))
            for name, error in errors.items()
        ]
        if errors:
            rows.append(_mean(errors, same | known | {"classifier": model}))
        for name, error in errors_of(card, "majority_by_attribute").items():
            trivial.setdefault(name, _row(name, error, same | known | {"classifier": TRIVIAL}))
    if trivial:
        # A model that answers the commoner value scores the same, and would stand there twice.
        same_as = set(models["model"][models["use"].str.endswith("/majority")])
        rows = [row for row in rows if row["classifier"] not in same_as]
        rows += trivial.values()
        some = next(iter(trivial.values()))
        rows.append(_mean({name: row["error"] for name, row in trivial.items()}, some))
    return rows


def _row(
    attribute: str, error: float, known: Mapping[str, Any], right: Sequence[float] | None = None
) -> dict[str, Any]:
    """Return a row; ``right`` is the interval of the accuracy where the card tells it."""
    n = known.get("n")
    low: float | None
    high: float | None
    if right:
        low, high = (1 - end for end in reversed(right))
    else:
        low, high = wilson(round(error * n), n) if n else (None, None)
    return {**known, "attribute": attribute, "error": error, "low": low, "high": high, "attributes": 1}


def _mean(errors: Mapping[str, float], known: Mapping[str, Any]) -> dict[str, Any]:
    error = sum(errors.values()) / len(errors)
    more = {"attribute": MEAN, "error": error, "low": None, "high": None, "attributes": len(errors)}
    return {**known, **more}


def _quoted(dataset: str, stand_in_for: str | None, names: set[str]) -> list[dict[str, Any]]:
    known = {"dataset": dataset, "stand_in_for": stand_in_for, "quoted": True}
    lnets = {"classifier": f"{LNETS} (quoted)", "source": LNETS_SOURCE, "scored_on": f"test of {UNALIGNED}"}
    rows = [
        known | lnets | {"attribute": name, "error": error, "attributes": 1}
        for name, error in LNETS_ERRORS.items()
        if name in names
    ]
    for quote in MEANS:
        told = {"classifier": f"{quote.name} (quoted)", "error": quote.value / 100, "source": quote.source}
        where = {"attribute": MEAN, "attributes": len(LNETS_ERRORS), "scored_on": f"test of {quote.of}"}
        rows.append(known | told | where)
    return rows


def _leader(models: pd.DataFrame) -> str:
    """Return the model whose errors sort the attributes: separate networks, converged, else the first."""

    def rank(row: Any) -> tuple[bool, bool, bool]:
        loss = row.parameters.get("loss", "euclidean")
        checkpoint = row.parameters.get("checkpoint", CONVERGED)
        return "separate" not in row.use, checkpoint != CONVERGED, loss != "euclidean"

    rows: list[Any] = list(models.itertuples())
    scored = [row for row in rows if errors_of(row.card)]
    return str(min(scored, key=rank).model) if scored else ""


def _order(rows: list[dict[str, Any]], leader: str) -> dict[str, int]:
    """Return the places of the attributes: by the leader's error, others after them by the first model's."""
    errors = {row["attribute"]: row["error"] for row in rows if row["classifier"] == leader}
    others: dict[str, float] = {}
    for row in rows:
        others.setdefault(row["attribute"], row["error"])
    names = others.keys() - {MEAN}
    ordered = sorted(names, key=lambda name: (name not in errors, errors.get(name, others[name]), name))
    return {name: place for place, name in enumerate([*ordered, MEAN])}


def _stand_ins(results: Results) -> dict[str, str | None]:
    cells = results.cells()
    pairs = zip(cells["dataset"], cells["stand_in_for"], strict=True)
    return {dataset: other if isinstance(other, str) else None for dataset, other in pairs}


def _figure(table: pd.DataFrame) -> Figure:
    groups = list(table.groupby("dataset", sort=False))
    most = max(own["attribute"].nunique() - 1 for _, own in groups)
    classifiers = max(own.loc[own["attribute"] == MEAN, "classifier"].nunique() for _, own in groups)
    wide, tall = max(4.5, 0.26 * most + 1.2), max(4.2, 0.26 * classifiers + 1.2)
    figure = drawing.figure(wide + 5.2, tall * len(groups) + 0.4)
    grid = figure.subplots(len(groups), 2, squeeze=False, width_ratios=[wide, 3.2])
    for line, (dataset, own) in zip(grid, groups, strict=True):
        _by_attribute(line[0], own)
        _means(line[1], own)
        title = drawing.dataset_text(str(dataset), own["stand_in_for"].iloc[0])
        images = own.loc[~own["quoted"], "n"].dropna()
        line[0].set_title(f"{title} (n = {drawing.range_text(images)} images)", fontsize=10)
        line[1].set_title("key, and mean over attributes (number of them)", fontsize=10)
    drawing.title(figure, "Classification error; hollow and dashed: quoted from publications, on CelebA")
    return figure


def _styles(own: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return how classifiers are drawn: ours filled, the trivial one grey, quoted ones hollow and dashed."""
    styles: dict[str, dict[str, Any]] = {}
    ours = 0
    for classifier, quoted in dict(zip(own["classifier"], own["quoted"], strict=True)).items():
        if quoted:
            marker = "s" if LNETS in classifier else "D"  # the one that is drawn by attribute too
            styles[classifier] = {"color": "0.35", "marker": marker, "linestyle": "--"}
            styles[classifier]["markerfacecolor"] = "white"
        elif classifier == TRIVIAL:
            styles[classifier] = {"color": "0.45", "marker": "_", "linestyle": "", "markersize": 9}
        else:
            styles[classifier] = drawing.style(ours) | {"linestyle": "-"}
            ours += 1
    return styles


def _by_attribute(axes: Any, own: pd.DataFrame) -> None:
    names = [name for name in dict.fromkeys(own["attribute"]) if name != MEAN]
    places = {name: place for place, name in enumerate(names)}
    for classifier, look in _styles(own).items():
        rows = own[(own["classifier"] == classifier) & (own["attribute"] != MEAN)]
        if rows.empty:
            continue
        axes.plot(
            [places[name] for name in rows["attribute"]],
            100 * rows["error"].to_numpy(float),
            linewidth=1,
            **{"markersize": 5, **look},
        )
    drawing.category_axis(axes, map(drawing.spaced, names))
    top = max(10.0, 100 * float(own["error"].max()))
    drawing.percent_axis(axes, "classification error, %", top=top)


def _means(axes: Any, own: pd.DataFrame) -> None:
    rows = own[own["attribute"] == MEAN].sort_values("error", ascending=False, kind="stable")
    styles = _styles(own)
    listed: list[Any] = list(rows.itertuples())
    for place, row in enumerate(listed):
        look = {**styles[str(row.classifier)], "linestyle": ""}
        axes.plot([100 * float(row.error)], [place], **({"markersize": 7} | look))
        axes.annotate(f"{100 * float(row.error):.2f}", (100 * float(row.error), place), (7, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    labels = [f"{row.classifier} ({row.attributes})" for row in listed]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_xlim(0, 118 * float(rows["error"].max()) + 1)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("classification error, %")
    drawing.plain_axes(axes, "y")
