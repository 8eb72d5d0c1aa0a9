"""Whatever parameters an attack is given, a run ends with records or with one line; never with a traceback.

Every attack of the catalogue, through the command line, on a linear model and two images.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings, strategies as st

from harness.catalog import catalog, read_catalog
from harness.errors import CatalogError, HarnessError
from harness.options import Options
from harness.parameters import Parameter
from harness.results import read_results
from harness.session.session import make_plan, run_suite

OWN = ("core", "attacks")
"""Plugins all of whose attacks are run; those of bridges are slow, and are drawn from."""
LARGEST = 3
"""Of whole numbers in runs: iterations that take hours are right, and no matter of this test."""
SMALLER = {
    f"art/{name}": {"size": [5, 4]} for name in ("PixelAttack", "ThresholdAttack", "VirtualAdversarialMethod")
}
"""Images for attacks that ask about every pixel, and whose every step takes longer than the others' runs."""
HONEST = ("AttackError: ", "ContractError: ", "ModelError: ", "DatasetError: ")

junk = st.one_of(
    st.none(), st.text(max_size=5), st.booleans(), st.lists(st.integers(-1, 3), max_size=3), st.dates()
)
KEYS: dict[str, Any] = {
    "norm": st.sampled_from(["linf", "l2", "l1", ""]) | junk,
    "eps": st.sampled_from(["8/255", "0/0", 0.1, -1.0, 0.0, 1e6, 1e30]) | st.floats() | junk,
    "compute": st.sampled_from(["float32", "bfloat16", "float8"]),
    "fit": st.floats(0, 1) | junk,
    "preset": st.sampled_from(["quick", "default", "large"]),
    "attributes": st.sampled_from([["Bright"], ["Red", "Bright"], ["Nose"], []]) | junk,
}


def values_of(parameter: Parameter) -> Any:
    """Values of the annotated type, the extreme ones too, and some of other types."""
    return _typed(parameter.annotation) | junk


def _typed(annotation: Any) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _typed(arguments[0])
    if origin is typing.Literal:
        return st.sampled_from([*arguments, "something-else"])
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return st.one_of(*[_typed(argument) for argument in arguments])
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(-2, LARGEST)
    if annotation is float:
        return st.floats() | st.floats(0, 2) | st.sampled_from([0.0, 1e-300, 1e300, "1/255"])
    if origin in (list, tuple):
        return st.lists(_typed(arguments[0]) if arguments else st.floats(0, 1), max_size=5)
    return junk


def names() -> list[str]:
    """Qualified names of all attacks, from entry points read outside the tests' own catalogue."""
    from importlib.metadata import entry_points

    return sorted(entry.qualified for entry in read_catalog(entry_points(group="harness")).attacks.values())


def document(name: str, draw: Any) -> dict[str, Any]:
    entry = catalog().attacks[name]
    try:
        known = entry.parameters()
    except CatalogError as error:
        pytest.skip(f"{name} needs what is not installed: {error}")
    # Long runs by default, but for those that are drawn.
    table: dict[str, Any] = {
        key: 2
        for key, parameter in known.items()
        if parameter.annotation is int or typing.get_args(parameter.annotation)[:1] == (int,)
    }
    if entry.spec.norms and entry.spec.budget == "fixed":
        table["eps"] = "8/255"
    for key in draw(st.lists(st.sampled_from(sorted(known) or ["eps"]), max_size=3, unique=True)):
        if key in known:
            table[key] = draw(values_of(known[key]))
    for key in draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=1)):
        table[key] = draw(KEYS[key])
    return {
        "schema": 1,
        "name": "fuzzed",
        "dataset": [{"use": "tiny", "partition": "test", "sample": 2, **SMALLER.get(name, {})}],
        "model": [{"use": "linear"}],
        "attack": [{"use": name, **{key: value for key, value in table.items() if value is not None}}],
    }


def attempt(suite: dict[str, Any]) -> None:
    """Run it; what is refused says so in a line, and what fails in a record does so by a harness's error."""
    folder = Path(tempfile.mkdtemp())
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            options = Options(out=folder / "out")
            make_plan(suite, options)
            run_suite(suite, options)
        records = read_results(folder / "out").samples(columns=["error", "success", "valid"])
    except HarnessError as error:
        line = str(error)
    else:
        line = ""
    finally:
        shutil.rmtree(folder)
    if line:
        assert line.splitlines() == [line]
        event("refused")
        return
    event("run with errors" if records["error"].notna().any() else "run")
    for error in records["error"].dropna().unique():
        assert error.startswith(HONEST), error
        assert len(error.splitlines()) == 1
    assert "Traceback" not in said.getvalue()


relaxed = settings(
    max_examples=40,
    derandomize=True,  # whose change runs it must not decide what it finds; raise the number to find more
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in names() if name.partition("/")[0] in OWN])
@relaxed
@given(data=st.data())
def test_no_parameter_of_an_attack_gives_a_traceback(name: str, data: Any) -> None:
    attempt(document(name, data.draw))


@pytest.mark.slow
@relaxed
@given(data=st.data())
def test_nor_does_one_of_a_bridge(data: Any) -> None:
    others = [name for name in names() if name.partition("/")[0] not in OWN]
    if not others:
        pytest.skip("no bridge is installed")
    attempt(document(data.draw(st.sampled_from(others)), data.draw))
