"""The command as a process: help that is quick because it is light, pipes, exit statuses, no tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Command

HARNESS = Path(sysconfig.get_path("scripts")) / "harness"
HEAVY = {"torch", "pandas", "pydantic", "pyarrow", "numpy", "rich", "pluggy"}


def loaded(*arguments: str) -> set[str]:
    """Top-level modules that a command has imported when it ends."""
    code = (
        "import sys\n"
        "from harness.cli import main\n"
        "try:\n"
        f"    main({list(arguments)!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in ran.stderr.splitlines()}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], []])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert not loaded(*arguments) & HEAVY


def test_listing_imports_no_torch() -> None:
    assert not loaded("ls", "models") & {"torch", "pandas", "pydantic", "pyarrow"}


def test_the_command_is_installed() -> None:
    ran = subprocess.run([HARNESS, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("harness ")


def test_help_names_every_verb_and_the_exit_statuses(harness: Command) -> None:
    ran = harness("--help")
    assert ran.status == 0
    for verb in ("run", "plan", "train", "show", "export", "verify", "ls", "info"):
        assert f"    {verb} " in ran.out
        assert harness(verb, "--help").status == 0
    assert "exit status: 0 all cells done, 1 some failed, 2 the request was wrong" in ran.out
    assert "HARNESS_LIMIT" in ran.out


def test_no_verb_is_a_wrong_request(harness: Command) -> None:
    ran = harness()
    assert ran.status == 2
    assert "usage: harness" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "invalid choice: 'rnu'"),
        (["run"], "SUITE; see harness run --help"),
        (["run", "small.toml", "--limmit", "3"], "unrecognized arguments: --limmit"),
        (["export", "results"], "--format; see harness export --help"),
        (["show"], "DIR"),
    ],
)
def test_a_malformed_command_is_one_line(
    refused: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in refused(*arguments)


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_seen_enough_is_no_error(buffered: bool) -> None:
    process = subprocess.Popen(
        [HARNESS, "ls", "attacks", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), said) == (0, "")


def test_a_run_in_a_process_of_its_own(site: Path, suite: Path, tmp_path: Path) -> None:
    plugin = Path(__file__).parent / "plugin"
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{plugin}"}
    arguments = ["run", str(suite), "--limit", "2"]
    fine = subprocess.run([HARNESS, *arguments], capture_output=True, text=True, env=environment, check=False)
    # Where there is no terminal it stays quiet.
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "8 cases attacked" in fine.stdout
    wrong = subprocess.run(
        [HARNESS, *arguments, "--device", "cuda:99"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
    assert "Traceback" not in wrong.stderr
