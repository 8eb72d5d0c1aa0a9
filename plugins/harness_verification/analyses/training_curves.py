"""Training curves show loss and AU-ROC of verifiers in training (Arvinte et al., figures 2 and 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.results import Results
from harness_verification.analyses.training_notes import trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = (
    ("training_loss", "loss of attacked pairs"),
    ("validation_loss", "loss of clean pairs, unseen persons"),
    ("validation_auc", "AU-ROC of clean pairs, unseen persons"),
)


def run(results: Results) -> Analysis:
    """Show the loss of training pairs, and loss and AU-ROC of clean pairs of persons who were not learned.

    Rows: data set x model x validation. ``training_loss`` is the mean since the validation before; at step 0
    there is none. Those persons belong to the training partition: they are neither those of thresholds nor
    those who are attacked. An overfitting recipe has a validation loss that rises again.

    Raises:
        HarnessError: no model is a verifier with curves.
    """
    found = trained(results, "curves", "run a suite with a verifier")
    table = pd.concat(
        [pd.DataFrame(one.note).assign(**one.columns) for one in found], ignore_index=True
    ).astype({"step": "int64", **{name: "float64" for name, _ in PANELS}})
    return Analysis(
        table[["dataset", "model", "recipe", "step", *(name for name, _ in PANELS)]], _figure(table)
    )


def _figure(table: pd.DataFrame) -> Figure:
    figure = drawing.figure(12.5, 3.2 * table["dataset"].nunique() + 0.5)
    groups = [(own, name, label) for _, own in table.groupby("dataset", sort=False) for name, label in PANELS]
    models = list(table["model"].unique())
    looks = {model: drawing.style(place) | {"markersize": 3} for place, model in enumerate(models)}
    for axes, (own, name, label) in drawing.panels(figure, groups, across=len(PANELS)):
        for model, rows in own.dropna(subset=name).groupby("model", sort=False):
            axes.plot(rows["step"], rows[name], linewidth=1, **looks[str(model)])
        drawing.plain_axes(axes, "y")
        axes.set_xlabel("step")
        axes.set_title(f"{own['dataset'].iloc[0]}: {label}", fontsize=9, loc="left")
    drawing.legend_beside(figure, looks)
    drawing.title(figure, "Verifiers while they were trained")
    return figure
