"""Robust accuracy against attacks that training did not see: what the paper leaves to future work."""

from __future__ import annotations

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate_columns, typed
from harness.metrics import NOTHING
from harness.results import Results
from harness_facenet.analyses.study import kind_of, read_study


def run(results: Results) -> Analysis:
    """Compute RA at margin 0 by attack, and its difference to standard training on the same triplets.

    Rows: data set x attack x model. ``trained_on`` says that the model learned from PGD in this ball, or in a
    larger one; other attacks it has not seen. ``gain`` is RA less that of standard training.

    Raises:
        HarnessError: no triplets were attacked.
    """
    subjects = read_study(results)
    rows = []
    for subject in subjects:
        for attack in subject.attacks:
            standard = next(iter(subject.of("standard", attack)), None)
            for tried in (one for one in subject.tried if one.attack == attack):
                compared = standard is not None and tried is not standard
                gain = tried.above(standard, "robust") if compared and standard else NOTHING
                rows.append(
                    {
                        **subject.identity,
                        "attack": tried.cell.attack,
                        "threat": tried.cell.threat,
                        "model": tried.cell.model,
                        "recipe": kind_of(tried.cell.model_parameters) or None,
                        "trained_on": tried.trained_on,
                        **estimate_columns("ra", tried.accuracy("robust")),
                        **estimate_columns("gain", gain),
                    }
                )
    figure = drawing.figure(
        12.5, 0.5 * max(len(subject.attacks) for subject in subjects) * len(subjects) + 1.6
    )
    models = list(dict.fromkeys(row["model"] for row in rows))
    looks = {model: drawing.style(place) for place, model in enumerate(models)}
    for axes, subject in drawing.panels(figure, subjects, across=1):
        for tried in subject.tried:
            place = models.index(tried.cell.model)
            at = subject.attacks.index(tried.attack) + 0.7 * ((place + 0.5) / len(models) - 0.5)
            drawing.interval(axes, at, tried.accuracy("robust"), scale=100, **looks[tried.cell.model])
        drawing.category_axis(axes, subject.attacks, along="y")
        drawing.plain_axes(axes, "x")
        axes.set_title(subject.dataset, fontsize=9, loc="left")
    drawing.legend_beside(figure, looks)
    drawing.title(figure, "Right triplets under each attack at margin 0, % (95 % interval over persons)")
    return Analysis(typed(rows, ("attack", "threat", "model", "recipe")), figure)
