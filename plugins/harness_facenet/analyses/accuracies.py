"""Standard and robust accuracy of triplets by model and attack, beside published ones (figures 4 and 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate_columns, typed
from harness.metrics import NOTHING
from harness.results import Results
from harness_facenet.analyses.study import Subject, Tried, epochs_of, kind_of, read_study
from harness_facenet.triplet_metrics import Which

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED: dict[str, tuple[float, float, float]] = {
    "standard": (0.8231, 0.417, 0.601),
    "adversarial": (0.819, 0.845, 0.832),
    "contrastive": (0.815, 0.843, 0.831),
    "semi-supervised": (0.515, 0.743, 0.631),
}
"""SA, RA and S&R of figure 4, and of the semi-supervised model of figure 5, whose other rows are others."""
NAMES: tuple[tuple[str, Which], ...] = (("sa", "standard"), ("ra", "robust"), ("s_and_r", "both"))


def run(results: Results) -> Analysis:
    """Compute SA, RA and S&R at the margin and at zero, with 95 % intervals over persons.

    Rows: data set x model x attack. ``sa``, ``ra`` and ``s_and_r`` are at the margin 0, those that end in
    ``_at_margin`` at the suite's. ``ra_above_standard`` is the difference of RA to that of standard training
    under the same attack, on the same triplets. ``paper_…`` are the published numbers, which are of another
    definition, and are shown, not compared. ``stops_early``: the attack leaves a triplet that is wrong at the
    margin, so that the RA at zero is too large.

    Raises:
        HarnessError: no triplets were attacked.
    """
    subjects = read_study(results)
    rows = [_row(subject, tried) for subject in subjects for tried in subject.tried]
    table = typed(rows, ("model", "recipe", "attack", "threat", "role"))
    return Analysis(table, _figure(subjects))


def _row(subject: Subject, tried: Tried) -> dict[str, Any]:
    cell = tried.cell
    kind = kind_of(cell.model_parameters)
    row: dict[str, Any] = {
        **subject.identity,
        "model": cell.model,
        "recipe": kind or None,
        **epochs_of(cell.model_parameters),
        "attack": cell.attack,
        "threat": cell.threat,
        "trained_on": tried.trained_on,
        "stops_early": tried.stops_early,
        "triplets": len(tried.records),
        "persons": int(tried.records["cluster"].nunique()),
        "coverage": tried.coverage,
    }
    for name, which in NAMES:
        row |= estimate_columns(name, tried.accuracy(which))
        row |= estimate_columns(f"{name}_at_margin", tried.accuracy(which, at_margin=True))
    standard = [one for one in subject.of("standard", tried.attack) if one is not tried]
    row |= estimate_columns("ra_above_standard", tried.above(standard[0], "robust") if standard else NOTHING)
    published = PUBLISHED.get(kind, (None, None, None))
    return row | {f"paper_{name}": value for (name, _), value in zip(NAMES, published, strict=True)}


def _figure(subjects: list[Subject]) -> Figure:
    groups = [(subject, attack) for subject in subjects for attack in subject.attacks]
    figure = drawing.figure(12.5, 2.6 * -(-len(groups) // 3) + 0.7)
    looks = {"SA": drawing.style(0), "RA": drawing.style(1), "S&R": drawing.style(2)}
    for axes, (subject, attack) in drawing.panels(figure, groups, across=3):
        own = [tried for tried in subject.tried if tried.attack == attack]
        for place, tried in enumerate(own):
            for shift, ((_, which), look) in enumerate(zip(NAMES, looks.values(), strict=True)):
                at = place + 0.22 * (shift - 1)
                drawing.interval(axes, at, tried.accuracy(which), scale=100, **look)
        drawing.category_axis(axes, [tried.cell.model for tried in own], along="y")
        drawing.plain_axes(axes, "x")
        axes.set_xlim(0, 100)
        axes.set_title(f"{subject.dataset}: {attack}", fontsize=9, loc="left")
    drawing.legend_beside(figure, looks)
    drawing.title(figure, "Right triplets at margin 0, % (95 % interval over persons)")
    return figure
