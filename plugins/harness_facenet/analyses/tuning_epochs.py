"""Accuracy of unseen persons' triplets after each epoch of training, with and without pre-training."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate
from harness.errors import HarnessError
from harness.results import Results
from harness_facenet.analyses.study import notes_of

STAGES = ("standard", "tuning")
NAMES = {"sa": "SA", "ra": "RA"}


def run(results: Results) -> Analysis:
    """Show SA and RA, at margin 0, after each epoch of standard training and of fine-tuning.

    Rows: data set x model x stage x epoch. They are of triplets of training persons whom nothing was learned
    from, under the attack of training with its few steps: curves, and no robustness. Intervals are over these
    persons. Recipes with a one-cycle learning rate end with a small one: the epochs of a short training are
    not those of a longer one that was stopped.

    Raises:
        HarnessError: no model's card has such curves.
    """
    frames = []
    for dataset in dict.fromkeys(map(str, results.models()["dataset"])):
        for model, notes in notes_of(results, dataset).items():
            for stage in STAGES:
                # An adversarial recipe begins with the standard one's stage, which is told once.
                if stage in notes and (stage == "tuning" or notes["recipe"] == "standard"):
                    frame = pd.DataFrame(notes[stage])
                    frame.insert(0, "epoch", range(1, len(frame) + 1))
                    for name, value in (("stage", stage), ("model", model), ("dataset", dataset)):
                        frame.insert(0, name, value)
                    frames.append(frame)
    if not frames:
        raise HarnessError(f"{results.path}: no card has the curves of a facenet; run a suite with one")
    table = pd.concat(frames, ignore_index=True)
    groups = [(own, name) for _, own in table.groupby("dataset", sort=False) for name in NAMES]
    figure = drawing.figure(12.5, 3.4 * table["dataset"].nunique() + 0.5)
    looks: dict[str, Any] = {
        str(name): drawing.style(place) | {"markersize": 3}
        for place, name in enumerate(table["model"].unique())
    }
    for axes, (own, name) in drawing.panels(figure, groups, across=len(NAMES)):
        for label, rows in own.groupby("model", sort=False):
            look = looks[str(label)]
            axes.plot(rows["epoch"], 100 * rows[name], linewidth=1, color=look["color"])
            for row in rows.to_dict("records"):
                drawing.interval(axes, row["epoch"], estimate(row, name), scale=100, along="y", **look)
        drawing.percent_axis(axes, f"{NAMES[name]}, %")
        axes.set_xlabel("epoch")
        axes.set_title(f"{own['dataset'].iloc[0]}: {NAMES[name]}", fontsize=9, loc="left")
    drawing.legend_beside(figure, looks)
    drawing.title(figure, "Right triplets of unseen training persons by epoch (95 % interval over persons)")
    return Analysis(table, figure)
