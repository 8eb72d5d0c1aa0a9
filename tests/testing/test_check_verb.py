"""`harness check`: what it prints, with which status it ends, and what it says of wrong requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from harness.catalog import catalog
from harness.cli import main
from tests.installing import install

PLUGIN = """\
import harness

@harness.hookimpl
def harness_attacks():
    def spec(name, function, **said):
        return harness.AttackSpec(
            name=name, summary="", run=f"tests.testing.broken_attacks:{function}",
            heads=frozenset({"attributes", "classes"}), norms=("linf",), **said
        )

    return [
        spec("climb", "climb"),
        spec("slow", "climb", presets={"short": {"steps": 8}}),
        spec("timid", "stops_early"),
        spec("bytes", "returns_bytes"),
    ]

@harness.hookimpl
def harness_models():
    return [
        harness.ModelSpec(
            name="sound", summary="", head="attributes", build="tests.testing.broken_models:sound"
        )
    ]
"""


BARE = """\
import harness

@harness.hookimpl
def harness_attacks():
    return []
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """`harness check` in this process, with a plugin of four attacks, two unsound, and a sound model."""
    install(tmp_path, "site-mixed", "1.0", {"mixed": "site_mixed"}, {"site_mixed": PLUGIN})
    install(tmp_path, "site-lost", "1.0", {"lost": "site_lost"}, {"site_lost": "import nowhere_to_be_found"})
    install(tmp_path, "site-bare", "1.0", {"bare": "site_bare"}, {"site_bare": BARE})
    monkeypatch.syspath_prepend(tmp_path)
    catalog.cache_clear()
    threads = torch.get_num_threads()

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        status = main(["check", *arguments])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    yield run
    torch.set_num_threads(threads)
    catalog.cache_clear()
    sys.modules.pop("site_mixed", None)


def test_a_sound_attack_has_one_line_per_check(check: Command) -> None:
    ran = check("mixed/climb")
    assert (ran.status, ran.err) == (0, "")
    first, *lines, last = ran.out.splitlines()
    assert first == "climb"
    assert len(lines) == 17
    assert "  ✓ images" in lines
    assert (
        "  – passes             its spec forecasts no passes, so `harness plan` cannot show its cost" in lines
    )
    assert not any("✗" in line for line in lines)
    assert last == "29 passed, 5 skipped"


def test_a_failure_has_one_line_for_all_heads_and_ends_with_1(check: Command) -> None:
    ran = check("mixed", "timid", "--only", "goals", "--only", "pixel-range")
    assert ran.status == 1
    heading, pixels, goals, last = ran.out.splitlines()
    assert (heading, pixels) == ("timid", "  ✓ pixel-range")
    told = "  ✗ goals              attributes, classes: on linear scores, linf 0.0280777: misses "
    assert goals.startswith(told)
    assert last == "2 passed, 2 failed"


def test_one_fault_has_one_line_and_names_what_depends_on_it(check: Command) -> None:
    ran = check("mixed", "bytes")
    assert ran.status == 1
    lines = ran.out.splitlines()
    (line,) = [line for line in lines if "✗" in line]
    assert line.startswith("  ✗ images             attributes, classes: on linear scores, linf 8/255: ")
    assert line.endswith("return images (B, C, H, W)") or "uint8 instead of floating-point" in line
    assert lines[-2].startswith(
        "  – repair images first, on which these depend: constant-model, pixel-range, "
    )
    assert lines[0] == "bytes"
    assert not any("passes   " in line for line in lines[2:-2] if "–" not in line)


def test_all_that_a_plugin_brings_is_checked(check: Command) -> None:
    ran = check("mixed", "climb", "slow", "timid", "sound", "--json", "--skip", "nan-model")
    assert ran.status == 1
    found = json.loads(ran.out)
    assert found["failed"] == 2
    results = found["results"]
    assert {result["subject"] for result in results} == {"climb", "slow", "timid", "sound"}
    failed = [result for result in results if result["status"] == "failed"]
    assert {(result["subject"], result["check"]) for result in failed} == {("timid", "goals")}
    assert {result["check"] for result in results if result["cause"] == "goals"} == {"direction", "reached"}
    assert not [result for result in results if result["check"] == "nan-model"]
    assert found["passed"] == sum(result["status"] == "passed" for result in results)


def test_presets_and_parameters_hold(check: Command) -> None:
    calls = {}
    for name, given in (("climb", ()), ("slow", ()), ("slow", ("--set", "slow.steps=3"))):
        ran = check("mixed", name, "--only", "seeds", "--json", *given)
        assert ran.status == 0
        calls[name, given] = json.loads(ran.out)["results"][0]["seconds"]
    assert check("mixed", "climb", "--only", "goals", "--set", "climb.steps=0").status == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["mixde"], 'plugin "mixde" is unknown; did you mean "mixed"?'),
        (["mixed", "clim"], 'plugin "mixed" has no "clim"; did you mean "climb"?'),
        (["mixed/clim"], 'plugin "mixed" has no "clim"; did you mean "climb"?'),
        (["mixed", "--only", "pixels-range"], 'check "pixels-range" is unknown; did you mean "pixel-range"?'),
        (["mixed", "--skip", "pixels-range"], 'check "pixels-range" is unknown; did you mean "pixel-range"?'),
        (["mixed", "--set", "steps=3"], "--set steps: write NAME.PARAMETER=VALUE"),
        (["mixed", "--set", "clim.steps=3"], 'the plugin has no "clim"; did you mean "climb"?'),
        (["mixed", "--set", "climb.stesp=3"], 'attack climb: "stesp" is unknown; did you mean "steps"?'),
        (["mixed", "--set", "climb.steps=1.5"], "attack climb.steps = 1.5 must be int"),
        (["lost"], 'plugin "lost" could not be loaded: ModuleNotFoundError'),
        (["bare"], 'plugin "bare" has none of what is checked'),
    ],
)
def test_a_wrong_request_is_one_line_and_ends_with_2(check: Command, arguments: list[str], line: str) -> None:
    ran = check(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert line in ran.err
    assert len(ran.err.splitlines()) == 1


def test_the_verb_needs_no_pytest_and_help_no_torch() -> None:
    code = (
        "import sys; from harness.cli import main, parser; parser().format_help(); assert 'torch' "
        "not in sys.modules;"
        "status = main(['check', 'attacks/noise', '--only', 'empty']); assert 'pytest' not in sys.modules;"
        "sys.exit(status)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "noise\n  ✓ empty\n3 passed\n"
