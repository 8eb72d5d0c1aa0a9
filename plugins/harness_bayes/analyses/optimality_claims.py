"""Optimality claims: what the paper states of optimal and learned classifiers, judged on these records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analysis.analysis import Analysis
from harness.results import Results
from harness_bayes.analyses import drawing, statements
from harness_bayes.analyses.evidence import FAILS, HOLDS, OPEN, families, verdict
from harness_bayes.analyses.judgements import CLAIMS
from harness_bayes.analyses.reading import read_study
from harness_bayes.analyses.statements import Bars, Claim
from harness_bayes.analyses.study import CLOSEST, table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(
    results: Results,
    *,
    attack: str = CLOSEST,
    near: float = Bars.near,
    accurate: float = Bars.accurate,
    part: float = Bars.part,
    tolerance: float = Bars.tolerance,
    gain: float = Bars.gain,
    agreement: float = Bars.agreement,
    contrast: float = Bars.contrast,
) -> Analysis:
    """The paper's claims, one row per claim and task (data sets made of the same images and classes).

    ``paper`` and ``ours`` give the figures in words, ``conditions`` from where on a claim is said to hold.
    ``verdict`` is "holds" if every one of the ``comparisons`` that could be made holds in the numbers, "does
    not hold" if one does not, "cannot be judged" where none could be made. ``clear`` says whether the 95 %
    intervals leave no doubt. ``coverage`` is the smallest share of planned cases that any number rests on.
    ``detail`` has the reasons and reservations.

    Args:
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks, and so is
            as fair to models that other attacks suit.
        near: the least accuracy that is near 100 %.
        accurate: the least accuracy of a model that is called brittle.
        part: the most that "much less" is, of a mean L2 over another.
        tolerance: how far from 1 L2 over half the subspace distance may be.
        gain: the most that a larger CNN's mean L2 may be, over the smallest one's.
        agreement: the most that one attack's mean L2 may be, over the other's.
        contrast: the least that the Bayes-optimal model's mean L2 on symmetric data may be, over that on
            asymmetric data.

    Raises:
        HarnessError: nothing tells two classes apart, or there is no such attack.
    """
    bars = Bars(near, accurate, part, Bars.indistinguishable, tolerance, gain, agreement, contrast)
    study = read_study(results)
    rows: list[dict[str, Any]] = []
    for family in families(study, study.of(attack)):
        for judge in CLAIMS:
            claim, found, missing = judge(family, bars, attack)
            rows.append(
                {
                    "task": family.data[0].task,
                    "datasets": ", ".join(data.label for data in family.data),
                    "stand_in_for": family.data[0].stand_in_for,
                    "attack": attack,
                    "claim": claim.name,
                    "paper": claim.paper,
                    "conditions": claim.conditions.format(**bars.told),
                    **verdict(found, missing),
                }
            )
    table = table_of(rows)
    table["clear"] = table["clear"].astype("boolean")
    return Analysis(table, _figure(table))


SHORT = {claim.name: claim.short for claim in vars(statements).values() if isinstance(claim, Claim)}


# --- figure -----------------------------------------------------------------------------------------------

# Vermilion and blue are told apart by colour-blind readers; the lighter ones are within the interval.
TINTS = {
    (HOLDS, True): "#0072B2", (HOLDS, False): "#9CCBE8",
    (FAILS, True): "#D55E00", (FAILS, False): "#F4C09A",
}  # fmt: skip


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.patches import Patch, Rectangle

    tasks = list(
        dict.fromkeys(
            zip(table["task"], table["stand_in_for"].astype(object), table["datasets"], strict=True)
        )
    )
    claims = list(dict.fromkeys(table["claim"]))
    figure = drawing.new_figure(1.5 * len(tasks) + 5.6, 0.4 * len(claims) + 1.4)
    axes = drawing.panels(figure, 1, 1)[0][0]
    for row in table.to_dict("records"):
        x = tasks.index((row["task"], row["stand_in_for"], row["datasets"]))
        y = claims.index(row["claim"])
        judged = row["verdict"] != OPEN
        clear = bool(row["clear"]) if judged else False
        tint = TINTS[row["verdict"], clear] if judged else "0.93"
        axes.add_patch(Rectangle((x - 0.48, y - 0.45), 0.96, 0.9, color=tint, linewidth=0))
        text = f"{row['verdict']}\n{row['held']} of {row['comparisons']}" if judged else "not judged"
        partial = judged and (row["coverage"] is None or row["coverage"] < 1)
        axes.text(x, y, text + (" (incomplete)" if partial else ""), ha="center", va="center", fontsize=7.5,
                  color="white" if clear else "black")  # fmt: skip
    labels = [
        drawing.spaced(task) + (f"\n(stand-in\nfor {stand})" if isinstance(stand, str) else "")
        for task, stand, _ in tasks
    ]
    axes.set_xticks(range(len(tasks)), labels, fontsize=8.5)
    axes.set_yticks(range(len(claims)), [SHORT[claim] for claim in claims], fontsize=8.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.set_ylim(len(claims) - 0.5, -0.5)
    for side in axes.spines.values():
        side.set_visible(False)
    handles = [Patch(color=tint) for tint in TINTS.values()] + [Patch(color="0.93")]
    texts = [
        "holds",
        "holds, within the\n95 % interval",
        "does not hold",
        "does not hold, within\nthe interval",
        "cannot be judged",
    ]
    drawing.legend_beside(figure, handles, texts)
    drawing.title(figure, "Claims of the Bayes-optimal study on these records")
    return figure
