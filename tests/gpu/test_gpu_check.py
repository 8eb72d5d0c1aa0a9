"""The check of a GPU, tried without one: it runs to its end, and says what differs, failed or is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.model import Model
from tests.gpu import networks, same_attacks
from tests.gpu.preparation import ROOT, register, unpack
from tests.gpu.report import Report, Row

CPU = torch.device("cpu")


@pytest.mark.slow
def test_it_runs_to_its_end_without_a_gpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu-check.json"
    command = [sys.executable, "tests/gpu/gpu_check.py", "--out", str(out), "--wheels", str(tmp_path)]
    ran = subprocess.run([*command, "cpu", "cpu"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "NO GPU: nothing was compared" in ran.stdout.splitlines()[-1]
    told = json.loads(out.read_text())
    rows = told["rows"]
    assert {row["status"] for row in rows} == {"same", "measured"}
    parts = [row["part"] for row in rows]
    assert list(dict.fromkeys(parts)) == [
        "precision",
        "attacks",
        "waiting",
        "moon paper",
        "similarity",
        "bridges",
    ]
    named = {row["name"].split()[0] for row in rows if row["part"] == "attacks"}
    assert len(named) == 17  # every attack of this project
    paper = {row["name"]: row["figures"] for row in rows if row["part"] == "moon paper"}
    assert list(paper) == ["bare passes", "pgd", "cw-l2", "ffa", "eyeglasses"]
    assert 0 < paper["pgd"]["share_of_bare_passes"] < 2
    assert paper["pgd"]["forwards"] == 3


class Coarse(nn.Module):
    """A network whose images are rounded to eight bits, as bfloat16 does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.module(x + ((x * 256).round() / 256 - x).detach())
        return outputs


def test_a_device_that_rounds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    small = networks.smalls(24)["attributes"]
    asked: list[int] = []
    plain = networks.Small.model

    def model(self: networks.Small, device: torch.device, *, double: bool = False) -> Model:
        asked.append(1)
        made = plain(self, device, double=double)
        return replace(made, module=Coarse(made.module).eval()) if len(asked) % 2 == 0 else made

    case = same_attacks.Case("ffa", "attributes")
    assert same_attacks.compared(case, small, (CPU, CPU)).status == "same"
    monkeypatch.setattr(networks.Small, "model", model)
    row = same_attacks.compared(case, small, (CPU, CPU))
    assert row.status == "differs"
    assert "in float64 too" in row.note


def test_what_fails_is_a_row_and_the_rest_goes_on() -> None:
    def broken() -> Row:
        raise ValueError("two\nlines")

    report = Report(time.perf_counter() + 60, lambda line: None)
    report.check("attacks", "broken", broken)
    with report.part("similarity"):
        raise KeyError("no such thing")
    report.check("attacks", "whole", lambda: Row("attacks", "whole", "same"))
    assert [(row.name, row.status) for row in report.rows] == [
        ("broken", "failed"),
        ("preparation", "failed"),
        ("whole", "same"),
    ]
    assert report.rows[0].note.startswith("ValueError: two lines (test_gpu_check.py:")
    assert report.verdict(("cpu", "cuda:0")).startswith("NOT THE SAME: 2 rows differ or failed")


def test_nothing_new_begins_when_the_time_is_over() -> None:
    report = Report(time.perf_counter() - 1, lambda line: None)
    report.check("attacks", "late", lambda: pytest.fail("it began"))
    assert [(row.name, row.status) for row in report.rows] == [("late", "skipped")]
    assert "1 were skipped" in report.verdict(("cpu", "cuda:0"))


def test_only_wheels_that_are_missing_or_newer_are_unpacked(tmp_path: Path) -> None:
    for name in ("no_such_thing-1.0", "torch-0.1", "platformdirs-99.0"):
        with zipfile.ZipFile(tmp_path / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name.partition('-')[0]}/__init__.py", "")
    aside = tmp_path / "aside"
    assert unpack(tmp_path, aside) == ["no_such_thing", "platformdirs"]
    assert sorted(path.name for path in aside.iterdir()) == ["no_such_thing", "platformdirs"]


def test_an_uninstalled_checkout_has_its_plugins(tmp_path: Path) -> None:
    project: Any = {"version": "9.9", "entry-points": {"harness": {"attacks": "harness_attacks"}}}
    register(project, tmp_path)
    (found,) = distributions(path=[str(tmp_path)])
    assert (found.metadata["Name"], found.version) == ("face-robustness-harness", "9.9")
    assert [(point.group, point.name) for point in found.entry_points] == [("harness", "attacks")]
