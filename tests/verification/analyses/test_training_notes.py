"""Analyses of what training measured: from cards alone, and a clear line where there are none."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from harness.catalog import catalog
from harness.errors import HarnessError
from harness.results import Results, read_results
from harness.store.folder import Store
from harness.testing import analysis_checks
from harness_verification.analyses import generated_pairs, quadruplets, training_curves

NAMES = ("generated-pairs", "quadruplets", "training-curves")
CURVES: dict[str, list[float | None]] = {
    "step": [0, 10, 20],
    "training_loss": [None, 30.0, 20.0],
    "validation_loss": [40.0, 25.0, 26.0],
    "validation_auc": [0.8, 0.85, 0.84],
}


def picture(height: int, width: int) -> str:
    _, octets = cv2.imencode(".png", np.full((height, width, 3), 90, np.uint8))
    return base64.b64encode(octets.tobytes()).decode()


def folder(path: Path, cards: dict[str, dict[str, Any]]) -> Results:
    """A results folder whose models have these cards."""
    models = [
        {
            "dataset": "faces",
            "model": model,
            "use": "verification/verifier",
            "parameters": {"recipe": model.partition("[")[0]},
            "weights": "0",
            "outputs": [],
            "card": card,
        }
        for model, card in cards.items()
    ]
    store = Store(path)
    store.open()
    store.write_models(models)
    store.write_suite({"suite": {"name": "tiny"}})
    store.write_cells([])
    return read_results(path)


def test_curves_of_each_verifier_are_rows(tmp_path: Path) -> None:
    cards = {
        "proposed": {"training": {"curves": CURVES}},
        "weak": {"training": {"curves": CURVES}},
        "raw-pixels": {},
    }
    found = training_curves.run(folder(tmp_path, cards))
    assert found.table["model"].tolist() == ["proposed"] * 3 + ["weak"] * 3
    assert found.table["recipe"].tolist() == ["proposed"] * 3 + ["weak"] * 3
    own = found.table[found.table["model"] == "weak"]
    assert own["step"].tolist() == [0, 10, 20]
    assert own["training_loss"].isna().tolist() == [True, False, False]
    assert own["validation_auc"].tolist() == [0.8, 0.85, 0.84]
    assert found.figure is not None
    panels = [axes for axes in found.figure.axes if axes.get_visible()]
    assert [len(axes.lines) for axes in panels] == [2, 2, 2]
    assert panels[0].lines[0].get_xydata().tolist() == [[10, 30], [20, 20]]  # type: ignore[union-attr]


def test_generated_pairs_are_compared_with_real_ones(tmp_path: Path) -> None:
    pairs = {"real": [4.0, 5.0, 6.0, 7.0], "generated": [3.0, 3.0, 7.0, 1.0]}
    found = generated_pairs.run(folder(tmp_path, {"doa": {"training": {"curves": CURVES, "pairs": pairs}}}))
    assert found.table["pairs"].tolist() == ["real", "generated"]
    assert found.table["mean"].tolist() == [5.5, 3.5]
    assert found.table["quantile_50"].tolist() == [5.5, 3.0]
    assert found.table["nearer"].tolist() == [0.75, 0.75]
    assert found.table["n"].tolist() == [4, 4]
    assert found.figure is not None


def test_quadruplets_are_the_pictures_of_the_cards(tmp_path: Path) -> None:
    shown = {"quadruplets": picture(8, 16), "unseen": picture(12, 16)}
    found = quadruplets.run(folder(tmp_path, {"proposed": {"training": {"pictures": shown}}}))
    assert found.table[["picture", "height", "width"]].to_numpy().tolist() == [
        ["quadruplets", 8, 16],
        ["unseen", 12, 16],
    ]
    assert found.figure is not None
    (image,) = found.figure.axes[0].images
    assert np.asarray(image.get_array()).shape == (8, 16, 3)
    assert (np.asarray(image.get_array()) == 90).all()


@pytest.mark.parametrize(
    ("analysis", "remedy"),
    [
        (training_curves, "run a suite with a verifier"),
        (generated_pairs, "set generated_pairs = true"),
        (quadruplets, 'recipe = "proposed"'),
    ],
)
def test_folders_without_such_notes_say_what_to_do(tmp_path: Path, analysis: Any, remedy: str) -> None:
    with pytest.raises(HarnessError, match=remedy):
        analysis.run(folder(tmp_path, {"moon": {"accuracy": 0.9}}))


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_of_analyses_is_kept(name: str) -> None:
    results = [case.result() for case in analysis_checks(catalog().analyses[name])]
    assert [(result.check, result.line) for result in results if result.status == "failed"] == []


def test_every_analysis_is_offered_and_imports_no_torch() -> None:
    entries = [entry for entry in catalog().analyses.values() if entry.plugin.name == "verification"]
    assert sorted(entry.spec.name for entry in entries) == sorted(NAMES)
    modules = [entry.spec.run.partition(":")[0] for entry in entries]
    program = (
        f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
        "assert not {'torch', 'matplotlib', 'cv2', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
