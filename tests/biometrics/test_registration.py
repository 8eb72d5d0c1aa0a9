"""The plugin offers its analyses; all of them on one folder, on an empty one and on one without outcomes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.analysis.analysis import write
from harness.catalog import Choice, catalog
from harness.parameters import keyword_parameters
from harness.specs import AnalysisSpec
from harness_biometrics import harness_analyses
from tests.biometrics import verifier_fixture as tiny

SPECS = {spec.name: spec for spec in harness_analyses()}
PICTURES = {"distal-images", "attack-masks", "patches-on-faces"}
TABLES_ONLY = {"verification", "verification-thresholds"}


def choices(*names: str) -> list[Choice[AnalysisSpec]]:
    section = catalog().analyses
    found = []
    for name in names or SPECS:
        values = keyword_parameters(section[name].load(section[name].spec.run)).values()
        assert not any(parameter.required for parameter in values)
        found.append(Choice(name, section[name], {p.name: p.default for p in values}, name))
    return found


def test_every_analysis_is_offered() -> None:
    provided = {entry.spec.name for entry in catalog().analyses.values() if entry.plugin.name == "biometrics"}
    assert provided == set(SPECS)


def test_running_them_imports_no_torch_and_no_other_plugin() -> None:
    modules = [spec.run.partition(":")[0] for spec in SPECS.values()]
    program = (
        f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
        "heavy = {'torch', 'matplotlib', 'scipy', 'sklearn', 'harness_attributes', 'harness_faces'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_all_are_written_from_one_folder_alike_each_time(tmp_path: Path) -> None:
    attacks = {"eyeglasses": 0.5, "square": 0.6, "universal-patch": 0.4, "distal": 1.9}
    models = [
        tiny.Fake("proposed", parameters={"recipe": "proposed"}, attacks=attacks),
        tiny.Fake("weak", parameters={"recipe": "weak"}, gap=0.8, evasions={"square": 0.5}),
    ]
    results = tiny.write(tmp_path, models, persons=5, calibration=4, pictures=True, annotated=True)
    assert [written.error for written in write(results.path, choices())] == [None] * len(SPECS)
    assert {file.stem for file in (tmp_path / "analyses").glob("*.svg")} == set(SPECS) - TABLES_ONLY
    for name in SPECS:
        assert not results.analysis(name).empty
    before = {file.name: file.read_bytes() for file in (tmp_path / "analyses").iterdir()}
    write(results.path, choices("verification", "det", "attack-masks"))
    assert {file.name: file.read_bytes() for file in (tmp_path / "analyses").iterdir()} == before


def test_a_folder_without_comparisons_is_told_in_one_line(tmp_path: Path) -> None:
    results = tiny.write(tmp_path, [tiny.Fake()], persons=2, calibration=2)
    (tmp_path / "comparisons.parquet").unlink()
    for written in write(results.path, choices()):
        assert written.error is not None
        assert "no comparisons are stored; write [dataset.comparisons] into the suite" in written.error
        assert "\n" not in written.error


def test_cells_without_outcomes_leave_the_clean_numbers(tmp_path: Path) -> None:
    model = tiny.Fake(attacks={"eyeglasses": 0.5, "square": 0.5})
    results = tiny.write(tmp_path, [model], persons=5, calibration=4)
    (tmp_path / "samples/verifier-eyeglasses-impersonate/part-00000.parquet").unlink()
    file = tmp_path / "samples/verifier-square-impersonate/part-00000.parquet"
    tiny.rewrite(file, lambda rows: [row | {"error": "RuntimeError: no", "success": None} for row in rows])
    names = ("verification", "menagerie", "verification-claims", *sorted(PICTURES))
    errors = {written.label: written.error for written in write(results.path, choices(*names))}
    assert {name for name, error in errors.items() if error} == PICTURES
    assert results.analysis("verification")["attack"].tolist() == ["clean"]
