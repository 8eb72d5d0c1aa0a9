"""Plugins as packaged: folders, wheel contents and entry points agree, and registering one is cheap."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.catalog import GROUP, KINDS
from harness.errors import ManifestError
from harness.parameters import check, keyword_parameters
from harness.specs import AttackSpec, DatasetSpec, MeasureSpec, ModelSpec, Spec

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EVERYTHING = [
    pytest.param(kind, name, id=f"{kind}-{name}")
    for kind in KINDS
    for name in harness.catalog().section(kind)
]


def test_folders_packages_and_entry_points_agree() -> None:
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    declared = PROJECT["project"]["entry-points"][GROUP]
    assert folders
    assert packages == {"harness", *(f"plugins/{folder}" for folder in folders)}
    # The core's own metrics are a plugin too, inside the harness package.
    assert sorted(declared.values()) == sorted([*folders, "harness.metrics"])
    assert all(value in (f"harness_{name}", f"harness.{value[8:]}") for name, value in declared.items())


def test_import_contracts_name_every_plugin() -> None:
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    linter = PROJECT["tool"]["importlinter"]
    assert set(linter["root_packages"]) == {"harness", *folders}
    contracts = {contract["type"]: contract for contract in linter["contracts"]}
    assert set(contracts["independence"]["modules"]) == folders
    assert any(folders <= set(contract.get("forbidden_modules", ())) for contract in linter["contracts"])


def test_what_is_installed_is_what_is_declared() -> None:
    found = {
        point.name: point.value
        for point in entry_points(group=GROUP)
        if point.dist is not None and point.dist.name == PROJECT["project"]["name"]
    }
    assert found == PROJECT["project"]["entry-points"][GROUP], "install again: pip install -e ."


def test_registering_all_plugins_imports_nothing_heavy() -> None:
    code = "import harness, json, sys; found = harness.catalog(); print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(ran.stdout)}
    assert "harness_attacks" in loaded
    heavy = {"torch", "pandas", "pyarrow", "pydantic", "skimage", "sklearn", "scipy", "cv2", "art", "rich"}
    assert not loaded & heavy


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_every_spec_names_code_that_is_there(kind: str, name: str) -> None:
    entry = harness.catalog().section(kind)[name]
    spec: Any = entry.spec
    assert spec.summary
    assert "\n" not in spec.summary
    if not spec.library:  # names of another library stay as they are
        assert spec.name == spec.name.lower().replace("_", "-").replace(" ", "-")
    targets = {
        AttackSpec: ("run",),
        DatasetSpec: ("load",),
        ModelSpec: ("build", "train"),
        MeasureSpec: ("run",),
    }.get(type(spec), ("run",))
    for target in targets:
        named = getattr(spec, target)
        if named is None:
            continue
        function = entry.load(named)
        assert callable(function)
        if kind != "metrics":  # they have no parameters
            keyword_parameters(function, ("rng", "fit"))


@pytest.mark.parametrize(
    ("kind", "name"), [one for one in EVERYTHING if one.values[0] in ("models", "attacks")]
)
def test_presets_hold_parameters_that_there_are(kind: str, name: str) -> None:
    entry: Any = harness.catalog().section(kind)[name]
    known = entry.parameters()
    for preset, values in entry.spec.presets.items():
        resolved = check(f"{name} {preset}", {**values}, known, ManifestError)
        assert set(values) <= set(resolved)


def test_specs_are_frozen() -> None:
    spec = Spec(name="a", summary="b")
    with pytest.raises(AttributeError):
        spec.name = "c"  # type: ignore[misc]


def test_the_public_names_are_there() -> None:
    import harness.run  # a module of that name must not hide the function

    for name in harness.__all__:
        assert getattr(harness, name) is not None
    for name in ("run", "attack", "wrap_model", "read_results", "catalog"):
        assert callable(getattr(harness, name))
    for name in ("Untargeted", "Targeted", "FlipAttribute", "Impersonate", "Evade"):
        assert hasattr(harness.goals, name)
    for name in ("Linf", "L2", "Minimal", "Region"):
        assert hasattr(harness.threats, name)
    with pytest.raises(AttributeError, match="nothing"):
        harness.nothing  # noqa: B018


def test_the_library_that_does_the_work_is_part_of_the_version() -> None:
    attacks = harness.catalog().attacks
    art = version("adversarial-robustness-toolbox")
    assert attacks["art/HopSkipJump"].version.endswith(f", adversarial-robustness-toolbox {art}")
    assert "," not in attacks["pgd"].version
    for entry in attacks.values():
        assert bool(entry.spec.library) == (entry.plugin.name in ("art", "foolbox"))
