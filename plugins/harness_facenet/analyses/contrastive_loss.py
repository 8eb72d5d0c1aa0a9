"""The contrastive loss by epoch of pre-training (figure 3)."""

from __future__ import annotations

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.errors import HarnessError
from harness.results import Results
from harness_facenet.analyses.study import notes_of


def run(results: Results) -> Analysis:
    """Show the mean NT-Xent loss of each epoch of contrastive adversarial pre-training.

    Rows: data set x model x epoch. The paper's loss is stable from about epoch 150 of 500 on.

    Raises:
        HarnessError: no model was pre-trained.
    """
    frames = []
    for dataset in dict.fromkeys(map(str, results.models()["dataset"])):
        for model, notes in notes_of(results, dataset).items():
            if "contrastive" in notes:
                loss = notes["contrastive"]["loss"]
                columns = {"dataset": dataset, "model": model, "epoch": range(1, len(loss) + 1), "loss": loss}
                frames.append(pd.DataFrame(columns))
    if not frames:
        raise HarnessError(
            f'{results.path}: no model was pre-trained; run a suite with a facenet of recipe = "contrastive"'
        )
    table = pd.concat(frames, ignore_index=True)
    figure = drawing.figure(7.5, 3.2 * table["dataset"].nunique() + 0.4)
    looks = {
        str(name): drawing.style(place) | {"markersize": 3}
        for place, name in enumerate(table["model"].unique())
    }
    for axes, (shown, own) in drawing.panels(figure, list(table.groupby("dataset", sort=False)), across=1):
        for label, rows in own.groupby("model", sort=False):
            axes.plot(rows["epoch"], rows["loss"], linewidth=1, **looks[str(label)])
        drawing.plain_axes(axes, "y")
        axes.set_xlabel("epoch")
        axes.set_title(str(shown), fontsize=9, loc="left")
    drawing.legend_beside(figure, looks)
    drawing.title(figure, "NT-Xent loss of pre-training")
    return Analysis(table, figure)
