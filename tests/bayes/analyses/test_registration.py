"""The plugin offers the analyses; all of them on one folder, on none, on half a one and on a failed one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.analysis import write
from harness.catalog import Choice, catalog
from harness.parameters import keyword_parameters
from harness.specs import AnalysisSpec

from . import two_class_fixture as tiny

NAMES = (
    "adversarial-panels",
    "attack-agreement",
    "capacity",
    "drawn-samples",
    "l2-by-model",
    "optimality-claims",
    "pixel-change",
    "subspace-distance",
    "toy-distributions",
    "training-data",
    "two-class-accuracy",
)


def test_every_analysis_is_offered() -> None:
    provided = {entry.spec.name for entry in catalog().analyses.values() if entry.plugin.name == "bayes"}
    assert provided == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_can_stand_in_a_manifest(name: str) -> None:
    entry = catalog().analyses[name]
    parameters = keyword_parameters(entry.load(entry.spec.run))
    assert not any(parameter.required for parameter in parameters.values())


def test_running_them_imports_no_torch_and_no_other_plugin() -> None:
    modules = [f"harness_bayes.analyses.{name.replace('-', '_')}" for name in NAMES]
    program = (
        f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
        "heavy = {'torch', 'matplotlib', 'scipy', 'sklearn', 'harness_attributes', 'harness_faces'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


READING = tuple(name for name in NAMES if name != "toy-distributions")
"""Those that read records: the other says the same whatever the folder holds."""


def choices(names: Iterable[str] = NAMES) -> list[Choice[AnalysisSpec]]:
    section = catalog().analyses
    found = []
    for name in names:
        values = keyword_parameters(section[name].load(section[name].spec.run)).values()
        found.append(Choice(name, section[name], {p.name: p.default for p in values}, name))
    return found


def whole() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)

    def rows(l2: float) -> list[dict[str, Any]]:
        kept = {"adversarial": tiny.picture(103)}
        return [
            tiny.case(name, value, **kept) for name, value in zip("abcd", rng.normal(l2, 0.1, 4), strict=True)
        ]

    base = {"width": 8, "depth": 4}
    return [
        tiny.cell(rows(3.0)),
        tiny.cell(rows(3.1), attack="component-gradient"),
        tiny.cell(rows(0.9), data="asymmetric"),
        tiny.cell(rows(0.5), model="cnn", parameters=base),
        tiny.cell(rows(0.5), model="deep", kind="cnn", parameters=base | {"depth": 8}),
        tiny.cell(rows(1.5), model="cnn-trades", parameters=base | {"beta": 1.0}),
        tiny.cell(rows(0.4), model="cnn", data="real", parameters=base),
        tiny.cell(rows(0.4), model="cnn", tested_on="real", parameters=base),
        tiny.cell([], model="rbf-svm", status="skipped", cell=""),
    ]


EXTRAS: dict[str, Any] = {
    "originals": {name: tiny.picture(100) for name in "abcd"},
    "annotations": {"symmetric[Smiling]": dict.fromkeys("abcd", 6.0)},
}


@pytest.mark.slow
def test_all_are_written_from_one_folder_alike_each_time(tmp_path: Path) -> None:
    results = tiny.write(tmp_path, whole(), **EXTRAS)
    assert [written.error for written in write(results.path, choices())] == [None] * len(NAMES)
    assert {file.stem for file in (tmp_path / "analyses").glob("*.svg")} == set(NAMES)
    for name in NAMES:
        assert not results.analysis(name).empty
    before = {file.name: file.read_bytes() for file in (tmp_path / "analyses").iterdir()}
    write(results.path, choices(READING))  # the other is as the contract has it: repeatable
    assert {file.name: file.read_bytes() for file in (tmp_path / "analyses").iterdir()} == before


def test_an_empty_folder_and_a_failed_one_are_told_in_one_line(tmp_path: Path) -> None:
    empty = tiny.write(tmp_path / "empty", [])
    for written in write(empty.path, choices()):
        if written.label == "toy-distributions":  # it reads no record
            assert written.error is None
            continue
        assert written.error is not None
        assert "nothing was run that tells two classes apart" in written.error
    dead = [
        tiny.failed("weights cannot be read"),
        tiny.failed("no", model="cnn", attack="component-gradient"),
    ]
    told = {
        written.label: written.error
        for written in write(tiny.write(tmp_path / "dead", dead).path, choices(READING))
    }
    # what has a row to say of a failed model says it; the others say what they lack
    assert {name for name, error in told.items() if error is None} == {
        "l2-by-model", "optimality-claims", "two-class-accuracy",
    }  # fmt: skip
    for error in told.values():
        assert error is None or ("Error:" not in error and "\n" not in error)


def test_a_folder_in_the_making_gives_what_it_has(tmp_path: Path) -> None:
    cells = whole()
    for row in cells[2:]:
        row |= {"status": "partial", "cases": 4}
    cells[3]["records"] = cells[3]["records"][:2]
    cells[4] |= {"status": "failed", "cell": "", "cases": None, "records": [], "error": "no weights"}
    cells[5]["records"] = []
    results = tiny.write(tmp_path, cells, **EXTRAS)
    assert [written.error for written in write(results.path, choices(READING))] == [None] * len(READING)
    for name in READING:
        table = results.analysis(name)
        numbers = table.select_dtypes("number")
        # few images leave a number without interval, which is no lack
        numbers = numbers[[column for column in numbers if not str(column).endswith(("_low", "_high"))]]
        reasons = [
            column for column in table if str(column).endswith("reason") or column in ("detail", "setting")
        ]
        missing = numbers.isna().any(axis=1)
        assert table.loc[missing, reasons].notna().any(axis=1).all(), name
