"""Packages from elsewhere: wheels built, installed into a fresh environment, and run there by the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.results import read_results

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXTRAS = Path(__file__).parent / "face_extras"
Command = Callable[..., "subprocess.CompletedProcess[str]"]

SUITE = """\
schema = 1
name = "thirdparty"
keep = true

[[dataset]]
use = "synthetic-faces"
size = [32, 28]
count = 240
partition = "test"
sample = 4

[[model]]
use = "ridge"

[[attack]]
use = "one-step"
eps = "8/255"
attributes = ["Male", "Smiling"]

[[attack]]
use = "noise"
eps = "8/255"
attributes = ["Male", "Smiling"]

[[attack]]
use = "pgd"
eps = "8/255"
steps = 5
attributes = ["Male", "Smiling"]
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of the harness and of the third party, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*build, "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT), str(EXTRAS)],
        check=True,
    )
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment, and the working folder beside it."""
    return tmp_path_factory.mktemp("fresh")


@pytest.fixture(scope="module")
def python(place: Path, wheels: dict[str, Path]) -> Path:
    """The interpreter of a fresh environment that has the two wheels, and our dependencies on its path."""
    venv.create(place / "environment", symlinks=True)
    python = place / "environment" / "bin" / "python"
    pip(python, "install", "--no-deps", "--no-index", *map(str, wheels.values()))
    # Last, so that pip sees only what is its own to replace. A path that a .pth file adds has no .pth files
    # of its own, so an editable install of the harness stays behind.
    site = next((place / "environment").glob("lib/python*/site-packages"))
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(ours)) + "\n")
    return python


@pytest.fixture
def command(python: Path, place: Path) -> Command:
    """Run the fresh environment's own `harness`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "PYTHON"))}
    environment = clean | {"HARNESS_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python.with_name("harness"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=place,
            env=environment,
        )

    return run


def pip(python: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", *arguments],
        check=True,
        capture_output=True,
    )


def test_the_wheel_holds_every_package(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["face_robustness_harness"]) as wheel:
        names = set(wheel.namelist())
    for source in ("harness", *(f"plugins/{path.name}" for path in (ROOT / "plugins").glob("harness_*"))):
        for path in (ROOT / source).rglob("*.py"):
            inside = path.relative_to(ROOT / "plugins" if source.startswith("plugins") else ROOT)
            assert inside.as_posix() in names
    assert "harness/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "plugins/", "results/"))]


def test_the_fresh_environment_runs_the_wheel(python: Path, place: Path) -> None:
    code = "import harness, harness_faces; print(harness.__file__, harness_faces.__file__, sep='\\n')"
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=place)
    for line in ran.stdout.splitlines():
        assert Path(line).is_relative_to(place)


def test_a_third_party_is_listed_run_verified_and_missed(python: Path, place: Path, command: Command) -> None:
    def listed(kind: str) -> dict[str, Any]:
        found = json.loads(command("ls", kind, "--json").stdout)
        assert found["broken"] == []
        return {row["name"]: row for row in found[kind]}

    assert listed("models")["ridge"] == {
        "name": "ridge",
        "plugin": "face-extras",
        "distribution": "face-extras",
        "version": "0.3.0",
        "summary": "ridge regression on small images",
    }
    attacks = listed("attacks")
    assert attacks["one-step"]["distribution"] == "face-extras"
    assert attacks["pgd"]["distribution"] == "face-robustness-harness"
    assert "[face-extras 0.3.0]" in command("ls", "attacks").stdout
    card = command("info", "model", "ridge").stdout
    assert "by      face-extras 0.3.0, plugin face-extras" in card
    assert "side: int, default 12" in card

    checked = command("check", "face-extras")
    assert checked.returncode == 0, checked.stdout
    assert "one-step" in checked.stdout
    assert "ridge" in checked.stdout

    (place / "suite.toml").write_text(SUITE)
    ran = command("run", "suite.toml")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "24 cases attacked; 3 cells, 0 pairs skipped" in ran.stdout
    board = read_results(place / "results" / "thirdparty").leaderboard().set_index("attack")
    assert board.loc["one-step", "clean_accuracy"] > 0.6
    assert board.loc["one-step", "success_rate"] > board.loc["noise", "success_rate"]
    shown = command("show", "results/thirdparty")
    assert shown.returncode == 0
    assert "ridge" in shown.stdout
    assert "one-step" in shown.stdout
    verified = command("verify", "results/thirdparty")
    assert verified.stdout.startswith("24 adversarials judged again, 0 differ from their records\nproved:\n")

    pip(python, "uninstall", "--yes", "face-extras")
    missed = command("run", "suite.toml")
    assert missed.returncode == 2
    assert missed.stdout == ""
    (line,) = missed.stderr.splitlines()
    assert line.startswith('harness: suite.toml: model "ridge" is unknown; ')
    assert "ridge" not in listed("models")
    # What was found is still there to be read.
    assert command("show", "results/thirdparty").returncode == 0
