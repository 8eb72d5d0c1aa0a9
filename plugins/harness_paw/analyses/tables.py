"""The tables hold what was published beside what a suite's models reach (Ding et al., Tables 1 to 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate, estimate_columns, typed
from harness.metrics import Estimate
from harness.results import Results
from harness_paw.analyses.quoted import (
    ATTRIBUTES,
    AVERAGES,
    CUB,
    KINDS,
    LNETS,
    PUBLISHED,
    TABLE_5,
    UCELEBA,
    Published,
)
from harness_paw.analyses.study import FAMILY, PAW, Net, Study, accuracy_of, read_studies

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

AVERAGE = "Average"
BIRDS = "cub-200"


def run(results: Results) -> Analysis:
    """Put the paper's figures beside those of the suite's models, table by table.

    Rows: data set x table x what the paper's row is of (in Table 5 x attribute). ``published`` is the paper's
    accuracy, on ``published_on``, and ``accuracy`` that of ``model``, with a 95 % interval over persons where
    the card tells them; both are shares. ``measured_on`` says on which images: those of validation where the
    number is one of a stage of training. ``parameters`` counts the model (Tables 3 and 4). Table 2 is of 200
    kinds of birds; the cascade here answers attributes, so that what stands beside it is the mean over the
    312 attributes of CUB-200. A model of the suite that the paper has no figure of is a row of table "ours".
    Where no model of the suite is meant by a row, its own columns are null.

    Raises:
        HarnessError: no model of the cascade is in the suite.
    """
    studies = read_studies(results)
    rows = [row for study in studies for row in _rows(study)]
    table = typed(rows, ("model", "measured_on"))
    return Analysis(table, _figure(studies, table))


def _rows(study: Study) -> Iterator[dict[str, Any]]:
    told: set[str] = set()
    for published in PUBLISHED:
        nets = _meant(study, published)
        for net in nets or (None,):
            told |= {net.name} if net and not published.stage else set()
            yield _row(study, published, net)
    for method, values in TABLE_5.items():
        nets = study.of(KINDS[method]) if method in KINDS else []
        for net in nets or (None,):
            told |= {net.name} if net else set()
            yield from _by_attribute(study, method, values, net)
    for net in study.nets:
        if net.dataset == study.dataset and net.name not in told:
            yield _row(study, Published("ours", net.name, "", None), net)


def _meant(study: Study, published: Published) -> list[Net]:
    """Return the models that a published number is to be compared with.

    A stage that several models have in common is measured once: it is that of the first of them.
    """
    if not published.kind:
        return []
    own = [net for net in study.nets if net.dataset == study.dataset]
    nets = [
        net
        for net in own
        if published.kind in ("any", net.kind)
        and (net.kind in FAMILY or published.kind != "any")
        and (net.kind not in FAMILY or published.multi_net in (None, net.multi_net))
        and published.aligned in (None, net.aligned)
        and (published.data == CUB) == (net.dataset_kind == BIRDS)
        and published.cropped in (None, net.cropped)
        and published.subnet in ("", net.subnet)
        and (not published.stage or net.stage(published.stage))
    ]
    if published.kind == PAW:
        nets = [net for net in nets if net in study.of(PAW)]
    return nets[:1] if published.stage else nets


def _row(study: Study, published: Published, net: Net | None) -> dict[str, Any]:
    found, where, parameters = Estimate(None, None, None, 0), None, None
    if net is not None and published.stage:
        values = list(net.stage(published.stage).values())
        found, where = Estimate(float(np.mean(values)), None, None, len(values)), "validation"
        parameters = _parameters(net, published.stage)
    elif net is not None:
        found, where = accuracy_of(net), str(net.card.get("scored_on"))
        parameters = net.card.get("parameters")
    return _columns(study, published, AVERAGE, published.accuracy, net, found, where, parameters)


def _by_attribute(
    study: Study, method: str, values: tuple[float, ...], net: Net | None
) -> Iterator[dict[str, Any]]:
    published = Published("5", method, UCELEBA, None)
    where = None if net is None else str(net.card.get("scored_on"))
    ends: Mapping[str, Any] = {} if net is None else net.card.get("accuracy_interval") or {}
    for name, value in zip(ATTRIBUTES, values, strict=True):
        mine = None if net is None else net.accuracy.get(name)
        low, high = ends.get(name) or (None, None)
        yield _columns(study, published, name, value, net, Estimate(mine, low, high, 0), where, None)
    whole = Estimate(None, None, None, 0) if net is None else accuracy_of(net)
    count = None if net is None else net.card.get("parameters")
    yield _columns(study, published, AVERAGE, AVERAGES[method], net, whole, where, count)


def _columns(
    study: Study,
    published: Published,
    attribute: str,
    quoted: float | None,
    net: Net | None,
    found: Estimate,
    where: str | None,
    parameters: Any,
) -> dict[str, Any]:
    millions = published.parameters
    return {
        **study.identity,
        "table": published.table,
        "of": published.of,
        "attribute": attribute,
        "published_on": published.data,
        "published": None if quoted is None else quoted / 100,
        "model": None if net is None else net.name,
        "aligned": None if net is None else net.aligned,
        "measured_on": where,
        **estimate_columns("accuracy", found),
        "published_parameters": None if millions is None else round(1e6 * millions),
        "parameters": parameters,
    }


def _parameters(net: Net, stage: str) -> int | None:
    """Return how many parameters the network of a stage has, where the card counts them."""
    counts = net.notes.get("parameters") or {}
    found = counts.get({"whole": "whole", "localisation": "localisation"}.get(stage, ""))
    return None if found is None else int(found)


# --- figure -----------------------------------------------------------------------------------------------

SERIES = tuple(name for name in TABLE_5 if name != LNETS)


def _figure(studies: list[Study], table: pd.DataFrame) -> Figure | None:
    """Draw Table 5 as measured: accuracy by attribute, lines for what was published."""
    five = table[(table["table"] == "5") & table["accuracy"].notna()]
    shown = [study for study in studies if (five["dataset"] == study.dataset).any()]
    if not shown:
        return None
    figure = drawing.figure(13.5, 4.9 * len(shown) + 0.4)
    for axes, study in drawing.panels(figure, shown, across=1):
        own = five[five["dataset"] == study.dataset]
        names = [name for name in (*ATTRIBUTES, AVERAGE) if (own["attribute"] == name).any()]
        for turn, method in enumerate(SERIES):
            look = drawing.style(turn)
            mine = own[own["of"] == method].drop_duplicates("attribute").set_index("attribute")
            for place, name in enumerate(names):
                if name not in mine.index:
                    continue
                row = mine.loc[name].to_dict()
                at = place + 0.22 * (turn - 1)
                drawing.interval(axes, at, estimate(row, "accuracy"), scale=100, along="y", **look)
                axes.plot(
                    [at - 0.09, at + 0.09],
                    2 * [100 * row["published"]],
                    color=look["color"],
                    alpha=0.5,
                    lw=2.5,
                )
        drawing.category_axis(axes, map(drawing.spaced, names))
        drawing.plain_axes(axes, "y")
        axes.set_ylabel("% right")
        axes.set_title(drawing.dataset_text(study.dataset, study.stand_in_for), fontsize=10)
    entries: dict[str, Any] = {name: drawing.style(turn) | {"ls": "none"} for turn, name in enumerate(SERIES)}
    entries["published, all of uCelebA"] = {"color": "0.6", "lw": 2.5}
    drawing.legend_beside(figure, entries)
    drawing.title(figure, "Accuracy by attribute (Table 5), with 95 % intervals")
    return figure
