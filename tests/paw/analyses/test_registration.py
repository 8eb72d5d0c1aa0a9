"""The plugin offers its analyses, and describing and running them loads no torch."""

from __future__ import annotations

import importlib
import subprocess
import sys

import harness_paw
from harness.parameters import keyword_parameters

NAMES = {
    "localisation-heatmaps",
    "switch-weights",
    "relation-weights",
    "paw-tables",
    "paw-claims",
    "paw-robustness",
    "crop-moves",
}


def test_every_analysis_is_offered_and_needs_no_parameter() -> None:
    specs = harness_paw.harness_analyses()
    assert {spec.name for spec in specs} == NAMES
    for spec in specs:
        module, _, name = spec.run.partition(":")
        parameters = keyword_parameters(getattr(importlib.import_module(module), name))
        assert not any(parameter.required for parameter in parameters.values())


def test_describing_them_imports_nothing_heavy_and_running_them_no_torch() -> None:
    program = (
        "import sys, harness_paw as plugin\n"
        "specs = plugin.harness_analyses()\n"
        "heavy = {'pandas', 'numpy', 'matplotlib', 'scipy', 'cv2', 'torch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "import importlib\n"
        "for spec in specs: importlib.import_module(spec.run.partition(':')[0])\n"
        "assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
