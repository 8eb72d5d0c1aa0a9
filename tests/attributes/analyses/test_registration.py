"""The plugin offers the analyses, and describing them loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.analysis.analysis import write
from harness.catalog import Choice, catalog
from harness.parameters import keyword_parameters

from . import study_fixture as tiny

NAMES = {
    "attribute-error",
    "attribute-success",
    "claims",
    "example-panels",
    "flip-correlation",
    "flippability-by-pass",
    "model-comparison",
    "portability",
    "robustness-progress",
}


def test_every_analysis_is_offered() -> None:
    provided = {entry.spec.name for entry in catalog().analyses.values() if entry.plugin.name == "attributes"}
    assert provided == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_parameters_can_stand_in_a_manifest(name: str) -> None:
    entry = catalog().analyses[name]
    parameters = keyword_parameters(entry.load(entry.spec.run))
    assert parameters
    assert not any(parameter.required for parameter in parameters.values())


def test_describing_them_imports_nothing_heavy_and_running_them_no_torch() -> None:
    program = (
        "import sys, harness_attributes as plugin\n"
        "specs = plugin.harness_analyses()\n"
        "heavy = {'pandas', 'numpy', 'matplotlib', 'scipy', 'cv2', 'torch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "import importlib\n"
        "for spec in specs: importlib.import_module(spec.run.partition(':')[0])\n"
        "assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_all_are_written_from_one_folder(tmp_path: Path) -> None:
    kept = {"adversarial": tiny.picture(103)}
    names = ("Male", "Smiling", "Young")
    flips = [tiny.case(image, name, similar=0.97, **kept) for image in "ab" for name in names]
    flips += [tiny.case("c", name, right=False, similar=0.99, **kept) for name in names]
    early = tiny.cell(flips, model="early", kind="separate", parameters={"checkpoint": 2})
    late = {"model": "late", "kind": "separate", "parameters": {"checkpoint": "converged"}}
    cells = [
        early,
        tiny.cell(flips, **late),
        tiny.cell(flips, attack="fgs", **late),
        tiny.cell(flips, model="moon"),
        tiny.cell(flips, model="moon", search="iterative"),
        tiny.transferred(early, [row | {"surrogate_success": True} for row in flips], **late),
    ]
    cards = {"late": tiny.card({"Male": 0.9, "Young": 0.8}), "moon": tiny.card({"Male": 0.95, "Young": 0.7})}
    results = tiny.write(tmp_path, cells, cards=cards, originals={name: tiny.picture(100) for name in "abc"})
    section = catalog().analyses
    choices = []
    for name in sorted(NAMES):
        values = keyword_parameters(section[name].load(section[name].spec.run)).values()
        choices.append(Choice(name, section[name], {p.name: p.default for p in values}, name))
    assert [written.error for written in write(results.path, choices)] == [None] * len(NAMES)
    pictures = {file.stem for file in (tmp_path / "analyses").glob("*.svg")}
    assert pictures == NAMES - {"claims"}
    for name in NAMES:
        assert not results.analysis(name).empty
    before = {file.name: file.read_bytes() for file in (tmp_path / "analyses").iterdir()}
    write(results.path, choices)
    assert {file.name: file.read_bytes() for file in (tmp_path / "analyses").iterdir()} == before
