"""All that the Toolbox exports is offered, or left out with a reason; no parameter is forgotten."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from art.attacks import evasion

from harness.parameters import keyword_parameters
from harness.specs import AttackSpec
from harness_art.attacks import function_of
from harness_art.bridged import GIVEN, Bridged
from harness_art.table import ATTACKS, LEFT_OUT


def test_every_exported_attack_is_offered_or_left_out() -> None:
    exported = {name for name, value in vars(evasion).items() if inspect.isclass(value)}
    offered = [row.name for row in ATTACKS]
    assert len(set(offered)) == len(offered)
    assert not set(offered) & set(LEFT_OUT)
    assert exported <= set(offered) | set(LEFT_OUT)
    # the Toolbox exports this one only where numba is installed
    assert set(offered) | set(LEFT_OUT) <= exported | {"BrendelBethgeAttack"}
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.name)
def test_every_parameter_is_the_manifests_or_the_bridges(row: Bridged) -> None:
    theirs = inspect.signature(getattr(evasion, row.name)).parameters
    ours = keyword_parameters(function_of(row.name), AttackSpec.given)
    by_norm = {"norm", "eps"} if row.norms else set()
    for name, parameter in theirs.items():
        if name in {*GIVEN, *row.given, *by_norm}:
            assert name not in ours or name in row.added
            continue
        known = ours[row.renamed.get(name, name)]
        assert known.default == row.defaults.get(name, parameter.default)
    assert set(ours) == {
        row.renamed.get(name, name) for name in theirs if name not in {*GIVEN, *row.given, *by_norm}
    } | set(row.added)
    assert set(row.given) <= set(theirs)


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.name)
def test_defaults_keep_to_their_own_bounds(row: Bridged) -> None:
    from harness.errors import AttackError
    from harness.parameters import convert

    for name, parameter in keyword_parameters(function_of(row.name), AttackSpec.given).items():
        assert convert(name, parameter.default, parameter, AttackError) == parameter.default


def test_whether_an_attack_takes_a_target_is_as_the_toolbox_says() -> None:
    for row in ATTACKS:
        parameters = inspect.signature(getattr(evasion, row.name)).parameters
        if row.targets:
            assert "targeted" in parameters, row.name


@pytest.mark.parametrize("plugin", ["harness_art", "harness_foolbox"])
def test_registering_imports_neither_torch_nor_the_library(plugin: str) -> None:
    code = (
        f"import sys, {plugin} as plugin; plugin.harness_attacks(); plugin.harness_converters();"
        "print(sorted({'torch', 'art', 'foolbox', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
