"""Draws the README's pictures from a results folder: `python docs/figures.py results/celeba`.

Only drawn faces may be shown: CelebA's images are not the project's to publish.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np

import harness
from harness.export.terminal import table

DOCS = Path(__file__).parent
MAGNIFIED = 10
SHOWN = (("Smiling", "ffa"), ("Eyeglasses", "ffa"), ("Male", "pgd"), ("Wearing_Lipstick", "pgd"))


def main(folder: str) -> None:
    """Write board.svg and adversarial.png beside this file."""
    results = harness.read_results(folder)
    if set(results.leaderboard()["dataset"]) != {"synthetic-faces"}:
        raise SystemExit(f"{folder} is not of drawn faces alone")
    draw_board(results)
    draw_panels(results)


def draw_board(results: harness.Results) -> None:
    """The leaderboard as a terminal shows it."""
    from rich.console import Console

    width = 150
    console = Console(record=True, width=width, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(results.leaderboard(), results.suite, width))
    drawn = console.export_svg(title="harness show results/celeba")
    # Fonts from elsewhere are not loaded where a picture stands in a page; any monospaced one will do.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    (DOCS / "board.svg").write_text(drawn, encoding="utf-8")


def draw_panels(results: harness.Results) -> None:
    """Original, perturbation magnified around grey, and adversarial, one row per attribute."""
    mpl.use("Agg")
    from matplotlib import pyplot

    entry = harness.catalog().datasets["synthetic-faces"]
    parameters = results.suite["suite"]["dataset"][0]
    dataset = entry.load(entry.spec.load)(size=tuple(parameters["size"]))
    row_of = {sample_id: row for row, sample_id in enumerate(dataset.ids)}
    figure, axes = pyplot.subplots(
        3, len(SHOWN), figsize=(2.1 * len(SHOWN), 7.6), layout="constrained", squeeze=False
    )
    for column, (attribute, attack) in zip(axes.T, SHOWN, strict=True):
        cases = results.samples(
            where={"model": "moon", "attack": attack, "target": attribute, "success": True}
        )
        # The median success, not the prettiest one.
        case = cases[cases["clean_correct"]].sort_values("pass").iloc[cases["clean_correct"].sum() // 2]
        original = dataset.images(np.array([row_of[case["sample_id"]]]))[0].transpose(1, 2, 0)
        adversarial = cv2.imdecode(np.frombuffer(case["adversarial"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        change = adversarial.astype(int) - original
        magnified = np.clip(128 + MAGNIFIED * change, 0, 255).astype(np.uint8)
        here = dataset.attribute_names.index(attribute)
        was, became = case["decisions_clean"][here], case["decisions_adv"][here]
        titles = (
            f"{attribute}: {'yes' if was else 'no'}",
            f"{attack}, x{MAGNIFIED}: up to {round(case['linf'] * 255)}/255",
            f"{attribute}: {'yes' if became else 'no'}\nPASS {case['pass']:.3f}",
        )
        for axis, picture, title in zip(column, (original, magnified, adversarial), titles, strict=True):
            axis.imshow(picture)
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    figure.savefig(DOCS / "adversarial.png", dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["results/celeba"])
