"""Masks are the pixels that attacks change, and where a patch lands that may choose its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.analysis import Analysis, drawing
from harness.analysis.comparisons import Attacked
from harness.analysis.pictures import Pixels
from harness.analysis.reading import typed
from harness.results import Results
from harness_biometrics.analyses.kept import box_of, kept_of, nothing_kept
from harness_biometrics.analyses.study import ATTACKS, attack_text, read_study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVERYWHERE = 0.9
"""An attack that changes this share of the pixels has no mask to show."""
SPREAD = 1.3
"""If all cases together change so many times the pixels of one, the attack chooses its place."""


@dataclass(frozen=True, eq=False)
class Landed:
    """Landed says where an attack's changes lie, over the kept cases."""

    attacked: Attacked
    face: Pixels  # (C, H, W) the mean of the originals
    shares: npt.NDArray[np.float64]  # (H, W) in how many of the cases each pixel was in the changed region
    pixels: float
    """The mean number of changed pixels."""
    cases: int

    @property
    def wanders(self) -> bool:
        """Return whether the place differs between cases."""
        return bool((self.shares > 0).sum() > SPREAD * max(self.pixels, 1))


def run(results: Results, *, cases: int = 200) -> Analysis:
    """Show which pixels each attack changes; where the place is chosen, how often each pixel is in it.

    Rows: model x attack x goal, for attacks that do not change whole images: ``pixels`` and ``share`` of the
    image that are changed in a case, by the mean; ``places``, how many different regions were chosen; ``top``
    to ``right``, the box of what was changed in any case; ``row`` and ``column``, the centre of the changes,
    by the mean, as shares of height and width.

    Args:
        cases: at most so many kept cases of each attack are looked at.

    Raises:
        HarnessError: no picture of such an attack is kept.
    """
    rows: list[dict[str, Any]] = []
    shown: list[Landed] = []
    for verifier in read_study(results):
        for attacked in verifier.attacks:
            found = _landed(results, attacked, cases)
            if found is not None:
                shown.append(found[0])
                rows.append(attacked.identity | found[1])
    if not rows:
        raise nothing_kept(results, "attacks on a part of the image")
    return Analysis(typed(rows), _figure(shown))


def _different(shown: list[Landed]) -> Iterator[Landed]:
    """Yield each region once: one that every model and goal has in common, and the places chosen on each."""
    met = set()
    for one in shown:
        own = (one.attacked.verifier.dataset, one.attacked.verifier.model, one.attacked.goal)
        key = (one.attacked.attack, *(own if one.wanders else ()))
        if key not in met:
            met.add(key)
            yield one


def _landed(results: Results, attacked: Attacked, cases: int) -> tuple[Landed, dict[str, Any]] | None:
    regions, faces = [], []
    for kept in islice(kept_of(results, attacked), cases):
        changed = kept.changed
        if kept.original is not None and changed is not None and changed.any():
            regions.append(changed)
            faces.append(kept.original)
    if not regions:
        return None
    masks = np.stack(regions)
    if masks.mean() > EVERYWHERE:
        return None
    face = np.stack(faces).mean(axis=0).round().astype(np.uint8)
    pixels = float(masks.sum(axis=(1, 2)).mean())
    landed = Landed(attacked, face, masks.mean(axis=0), pixels, len(masks))
    top, left, bottom, right = box_of(np.asarray(masks.any(axis=0)))
    centres = [((a + c) / 2, (b + d) / 2) for a, b, c, d in map(box_of, regions)]
    height, width = masks.shape[1:]
    row = {
        "cases": len(masks),
        "pixels": pixels,
        "share": pixels / (height * width),
        "places": len({box_of(mask)[:2] for mask in regions}) if landed.wanders else 1,
        "top": top,
        "left": left,
        "bottom": bottom,
        "right": right,
        "row": float(np.mean([y for y, _ in centres])) / height,
        "column": float(np.mean([x for _, x in centres])) / width,
    }
    return landed, row


def _figure(shown: list[Landed]) -> Figure:
    """Draw a panel per model and attack: the region in colour on the mean face."""
    import matplotlib

    several = len({one.attacked.verifier.model for one in shown}) > 1
    shown = list(_different(shown))
    wanders = any(one.wanders for one in shown)
    across = min(len(shown), 4)
    figure = drawing.figure(2.3 * across + (1.0 if wanders else 0.2), 2.9 * -(-len(shown) // across) + 0.4)
    axes: Axes
    drawn: list[Axes] = []
    for axes, one in drawing.panels(figure, shown, across):
        face = one.face.mean(axis=0)
        axes.imshow(face, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        region = np.ma.masked_where(one.shares == 0, one.shares)
        axes.imshow(region, cmap="viridis", vmin=0, vmax=1, alpha=0.85, interpolation="nearest")
        axes.set_axis_off()
        told = f"{one.pixels:.0f} pixels, {100 * one.pixels / face.size:.1f} %"
        name = ATTACKS.get(one.attacked.attack, one.attacked.attack)
        if one.wanders:
            name = attack_text(one.attacked) + (f" on {one.attacked.verifier.model}" if several else "")
        axes.set_title(f"{name}\n{told}", fontsize=8.5)
        drawn.append(axes)
    if wanders:
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 100), "viridis")
        figure.colorbar(scale, ax=drawn, shrink=0.6, label="% of cases in which the pixel is changed")
    drawing.title(figure, "Pixels that attacks change")
    return figure
