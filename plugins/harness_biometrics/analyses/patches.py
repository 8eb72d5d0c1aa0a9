"""Patches on faces: targets, the patch that was learned for each, and faces that wear it (figure 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Analysis, drawing
from harness.analysis.comparisons import Attacked
from harness.analysis.pictures import Pixels, image_row
from harness.analysis.reading import choose, typed
from harness.errors import HarnessError
from harness.results import Results
from harness_biometrics.analyses.kept import Kept, box_of, kept_of, nothing_kept
from harness_biometrics.analyses.study import attack_text, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE, GAP, LEFT, TOP, BELOW = 0.95, 0.06, 0.1, 0.75, 0.3
PATCH = 1.7
Line = tuple[Attacked, str, list[Kept]]


def run(results: Results, *, attack: str = "universal-patch", persons: int = 4, faces: int = 4) -> Analysis:
    """Show targets, the patch that brings faces near to each, enlarged, and faces that wear it.

    Rows: model x target x face, in the order of the records: distances before and after, and ``success``.
    Of an attack with a patch per image, the one that is enlarged is that of the first face.

    Args:
        attack: its name in the catalogue.
        persons: at most so many targets per model.
        faces: at most so many faces per target.

    Raises:
        HarnessError: there is no such attack, or no picture of it is kept.
    """
    tried = [one for verifier in read_study(results) for one in verifier.of("impersonate")]
    if not tried:
        raise HarnessError(f"{results.path}: no impersonation was run; put an attack into the suite")
    choose([attack], dict.fromkeys(one.kind for one in tried), "attack")
    lines: list[Line] = []
    rows: list[dict[str, Any]] = []
    for attacked in (one for one in tried if one.kind == attack):
        groups: dict[str, list[Kept]] = {}
        for kept in kept_of(results, attacked):
            if kept.changed is not None and kept.changed.any():
                groups.setdefault(str(kept.facts["target"]), []).append(kept)
        for target, group in list(groups.items())[:persons]:
            lines.append((attacked, target, group[:faces]))
            for kept in group[:faces]:
                told = ("target", "reference", "sample_id", "distance_clean", "distance_adv", "success")
                rows.append(attacked.identity | {name: kept.facts[name] for name in told})
    if not rows:
        raise nothing_kept(results, attack)
    return Analysis(typed(rows), _figure(lines))


def _patch(kept: Kept) -> Pixels:
    """Return what an adversarial shows inside the box of its changes; grey where nothing was changed."""
    changed = kept.changed
    assert changed is not None
    top, left, bottom, right = box_of(changed)
    shown = np.where(changed, kept.adversarial, np.uint8(235))
    return shown[:, top:bottom, left:right]


def _figure(lines: Sequence[Line]) -> Figure:
    """Draw a line per target: its image, the patch, and faces with the patch."""
    first = lines[0][2][0].adversarial
    tall = WIDE * first.shape[1] / first.shape[2]
    most = max(len(group) for *_, group in lines)
    start = LEFT + WIDE + 0.25 + PATCH + 0.25
    width = start + most * (WIDE + GAP) + 0.2
    figure = drawing.figure(width, TOP + (tall + BELOW) * len(lines) + 0.1, layout=None)
    height = figure.get_size_inches()[1]
    drawing.write(
        figure,
        LEFT,
        height - 0.3,
        f"Targets, and faces under attack by {attack_text(lines[0][0])}",
        fontsize=11,
    )
    for x, text in ((LEFT, "target"), (LEFT + WIDE + 0.25, "patch, enlarged"), (start, "faces that wear it")):
        drawing.write(figure, x, height - TOP + 0.06, text, fontsize=8)
    for number, (attacked, _, group) in enumerate(lines):
        top = height - TOP - number * (tall + BELOW)
        patch = _patch(group[0])
        inches = min(PATCH, tall * patch.shape[2] / patch.shape[1])
        if group[0].reference is not None:
            image_row(figure, [group[0].reference], LEFT, top, WIDE)
        else:
            drawing.write(
                figure, LEFT, top - 0.2, f"{group[0].facts['target']}\n(not kept)", fontsize=7.5, va="top"
            )
        image_row(figure, [patch], LEFT + WIDE + 0.25, top, inches)
        image_row(figure, [kept.adversarial for kept in group], start, top, WIDE, (), GAP)
        drawing.write(
            figure, LEFT, top - tall - 0.05, attacked.verifier.model, fontsize=7, va="top", color="0.3"
        )
        for place, kept in enumerate(group):
            told = "accepted" if kept.facts["success"] else "rejected"
            x = start + place * (WIDE + GAP) + WIDE / 2
            drawing.write(figure, x, top - tall - 0.05, told, ha="center", va="top", fontsize=7, color="0.3")
    return figure
