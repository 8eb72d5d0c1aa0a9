"""docs/contract-kit.md names every check, and its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.testing.analysis_contract import ANALYSIS_CHECKS
from harness.testing.attacks.contract import ATTACK_CHECKS
from harness.testing.converter_contract import CONVERTER_CHECKS
from harness.testing.dataset_contract import DATASET_CHECKS
from harness.testing.measure_contract import MEASURE_CHECKS
from harness.testing.metric_contract import METRIC_CHECKS
from harness.testing.models.contract import MODEL_CHECKS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "contract-kit.md").read_text(encoding="utf-8")


def test_every_check_is_named() -> None:
    attacks, models = DOCUMENT.split("## What models promise")
    for text, checks in (
        (attacks, ATTACK_CHECKS),
        (models, (*MODEL_CHECKS, *DATASET_CHECKS, *MEASURE_CHECKS)),
        (models, (*METRIC_CHECKS, *ANALYSIS_CHECKS, *CONVERTER_CHECKS)),
    ):
        assert [check.name for check in checks if f"`{check.name}`" not in text] == []
    rows = re.findall(r"^\| (`.+?) \|", DOCUMENT, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert named <= {check.name for check in (*ATTACK_CHECKS, *MODEL_CHECKS)}


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    (tmp_path / "test_mine.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"1\d passed, \d skipped", ran.stdout), ran.stdout
