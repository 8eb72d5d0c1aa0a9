"""The menagerie says who is imitated and who imitates easily, and who is hardly known again.

Biometrics calls them lambs, wolves and goats (Doddington et al. 1998).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.comparisons import CLEAN, Verifier
from harness.analysis.reading import estimate, estimate_columns, typed
from harness.errors import HarnessError
from harness.metrics import rate
from harness.results import Results
from harness_biometrics.analyses.study import place_text, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "all attacks"


def run(results: Results, *, most: int = 20) -> Analysis:
    """Return how often each person is imitated, imitates, and is not known again, with 95 % intervals.

    Rows: model x attack x role x person, and role x value of an annotation (``by``) that has two or three
    values. Of role "target" and "intruder", ``rate`` is the share of impostor comparisons that are accepted
    with the person's image as reference, or as probe: without an attack ("clean"), under each impersonation,
    and over all of these ("all attacks"). Of role "person" it is the share of the genuine comparisons that
    are rejected, without an attack or under evasion. All are at the operating point, the first threshold.
    Intervals are over the persons on the other side, or over images where a person meets only itself.

    Args:
        most: persons per panel of the figure: those with the highest rates.

    Raises:
        HarnessError: no comparisons or no thresholds are stored.
    """
    verifiers = read_study(results)
    annotations = _annotations(results)
    rows = [row for verifier in verifiers for row in _rows(verifier, annotations)]
    if not rows:
        raise HarnessError(f"{results.path}: no thresholds are stored; run the suite again to write them")
    table = typed(rows, ("attack", "role", "person", "by"))
    return Analysis(table, _figure(table, verifiers, most))


def _annotations(results: Results) -> dict[str, pd.DataFrame]:
    """Return by data set a column for each annotation of few values, by sample id."""
    found = results.annotations()
    tables = {}
    for dataset, own in found[found["name"] != "identity"].groupby("dataset"):
        wide = own.pivot_table(index="sample_id", columns="name", values="value", aggfunc="first")
        tables[str(dataset)] = wide.loc[:, wide.nunique().between(2, 3)]
    return tables


def _rows(verifier: Verifier, annotations: dict[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    if verifier.thresholds.empty:
        return
    known = annotations.get(verifier.dataset, pd.DataFrame())
    for attack, role, cases in _cases(verifier, float(verifier.thresholds["threshold"].iloc[0])):
        side, other = ("probe", "reference") if role == "intruder" else ("reference", "probe")
        who = verifier.identity | {"attack": attack, "role": role}
        if role == "person":
            other = "sample" if cases["sample"].notna().all() else ""
        for person, own in cases.groupby(side, sort=True):
            found = rate(own["hit"], own[other] if other else None)
            yield (
                who
                | {"person": str(person), "by": None, "value": None, "n": found.n}
                | estimate_columns("rate", found)
            )
        image = "sample" if role != "target" else "reference_sample"
        for name in known:
            values = cases[image].map(known[name])
            for value, own in cases[values.notna()].groupby(values):
                found = rate(own["hit"], own[side])
                row = who | {"person": None, "by": str(name), "value": float(value), "n": found.n}
                yield row | estimate_columns("rate", found)


def _cases(verifier: Verifier, threshold: float) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield attack, role and comparisons: probe, reference, sample, reference_sample, hit."""
    names = np.array(list(verifier.people), object)
    clean = verifier.clean
    accepted = clean.distances < threshold
    frame = pd.DataFrame({"probe": names[clean.probes], "reference": names[clean.references]})
    frame = frame.assign(sample=None, reference_sample=None, hit=accepted != clean.same)
    for role in ("target", "intruder"):
        yield CLEAN, role, frame[~clean.same]
    yield CLEAN, "person", frame[clean.same]
    attacked = {goal: [a for a in verifier.of(goal) if len(a.cases)] for goal in ("impersonate", "evade")}
    for goal, roles in (("impersonate", ("target", "intruder")), ("evade", ("person",))):
        frames = []
        for one in attacked[goal]:
            cases = one.cases.rename(columns={"sample_id": "sample", "reference": "reference_sample"})
            cases = cases.rename(columns={"identity": "probe", "target": "reference"})
            frames.append(cases.assign(hit=(cases["after"] < threshold) == (goal == "impersonate")))
            for role in roles:
                yield one.attack, role, frames[-1]
        if len(frames) > 1:
            for role in roles:
                yield ALL, role, pd.concat(frames, ignore_index=True)


def _figure(table: pd.DataFrame, verifiers: list[Verifier], most: int) -> Figure | None:
    """Draw for each model who is imitated, and who imitates, under all attacks; without any, the clean."""
    people = table[table["by"].isna()]
    drawn = []
    for verifier in verifiers:
        own = people[(people["dataset"] == verifier.dataset) & (people["model"] == verifier.model)]
        attacks = [name for name in own["attack"].unique() if name != CLEAN]
        attacks = (
            own[own["attack"].isin(attacks) & own["role"].isin(["target", "intruder"])]["attack"]
            .unique()
            .tolist()
        )
        attack = ALL if ALL in attacks else attacks[0] if attacks else CLEAN
        for role in ("target", "intruder"):
            rows = own[(own["attack"] == attack) & (own["role"] == role)]
            if len(rows):
                drawn.append((verifier, attack, role, rows))
    if not drawn:
        return None
    longest = max(min(len(rows), most) for *_, rows in drawn)
    down = -(-len(drawn) // 2)
    figure = drawing.figure(9.6, (0.19 * longest + 1.3) * down + 0.5)
    for axes, (verifier, attack, role, rows) in drawing.panels(figure, drawn, 2):
        overall = 100 * float(np.average(rows["rate"], weights=rows["n"]))
        rows = rows.sort_values(["rate", "person"], ascending=[False, True]).head(most)
        for at, row in enumerate(rows.to_dict("records")):
            drawing.interval(
                axes,
                at,
                estimate(row, "rate"),
                scale=100,
                color=drawing.COLOURS[role == "intruder"],
                marker="o",
                markersize=4,
            )
        drawing.category_axis(axes, rows["person"], along="y")
        axes.set_xlim(-2, 102)
        axes.set_xlabel(
            f"% of comparisons in which the person {'is imitated' if role == 'target' else 'imitates'}",
            fontsize=8,
        )
        axes.axvline(overall, color="0.7", linewidth=0.8, zorder=0)
        axes.set_title(f"{verifier.model}, {attack}", fontsize=9.5)
        drawing.plain_axes(axes, "x")
    places = {place_text(verifier) for verifier in verifiers}
    drawing.title(
        figure, f"Who is imitated, and who imitates (line: all persons): {', '.join(sorted(places))}"
    )
    return figure
