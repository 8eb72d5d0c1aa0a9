"""`harness ls` and `harness info`: what there is, who brings it, and the card of each thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.catalog import catalog
from tests.installing import install

from .conftest import SUITE, Command


@pytest.mark.parametrize("kind", ["models", "attacks", "datasets", "measures", "metrics", "analyses"])
def test_lists_for_people_and_programs(harness: Command, kind: str) -> None:
    found = harness("ls", kind, "--json").json
    assert found["broken"] == []
    shown = harness("ls", kind)
    assert shown.status == 0
    for row in found[kind]:
        assert set(row) == {"name", "plugin", "distribution", "version", "summary"}
        line = next(line for line in shown.out.splitlines() if line.split()[0] == row["name"])
        assert row["summary"] in line
        assert f"[{row['distribution']} {row['version']}]" in line
    if not found[kind]:
        assert shown.out == f"no {kind}\n"


def test_a_third_party_is_named(harness: Command) -> None:
    (row,) = (row for row in harness("ls", "models", "--json").json["models"] if row["name"] == "linear")
    assert row == {
        "name": "linear",
        "plugin": "tiny",
        "distribution": "tiny-faces",
        "version": "1.2",
        "summary": "ridge regression",
    }
    assert "[tiny-faces 1.2]" in harness("ls", "model").out  # the singular will do


def test_a_broken_plugin_is_listed_with_its_reason(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bad", "bad-faces", "0.9", {"bad": "bad_faces"}, {"bad_faces": "import nothing_here"})
    monkeypatch.syspath_prepend(tmp_path / "bad")
    catalog.cache_clear()
    shown = harness("ls", "attacks")
    assert shown.status == 0
    assert "not loaded: plugin bad of bad-faces 0.9: ModuleNotFoundError" in shown.out
    (broken,) = harness("ls", "attacks", "--json").json["broken"]
    assert broken["reason"] == "ModuleNotFoundError: No module named 'nothing_here'"


def test_two_plugins_of_one_name_are_one_line(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "twin", "twin-faces", "3.0", {"tiny": "tiny_faces"})
    monkeypatch.syspath_prepend(tmp_path / "twin")
    catalog.cache_clear()
    message = refused("ls", "attacks")
    assert "tiny-faces 1.2" in message
    assert "twin-faces 3.0" in message


def test_suites_of_this_folder(harness: Command, tmp_path: Path) -> None:
    assert harness("ls", "suites").out == "no suites\n"
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "small.toml").write_text('description = "a small one"\n' + SUITE)
    (tmp_path / "suites" / "wrong.toml").write_text("schema = 2")
    small, wrong = harness("ls", "suites", "--json").json["suites"]
    assert small == {"name": "small", "summary": "a small one", "path": "suites/small.toml"}
    assert '"name" is missing' in wrong["summary"]
    assert "suites/small.toml" in harness("ls", "suites").out


def test_the_card_of_a_model(harness: Command) -> None:
    shown = harness("info", "model", "linear")
    assert shown.status == 0
    for part in (
        "linear: ridge regression",
        "tiny-faces 1.2, plugin tiny",
        "Hoerl and Kennard 1970",
        "2,883 parameters at 24x20",
        "3,882 parameters at 24x20",
        "width: int, default 1",
        "strength: float, default 1.0",
    ):
        assert part in shown.out
    card = harness("info", "model", "linear", "--json").json
    assert {name: preset["parameters"] for name, preset in card["presets"].items()} == {
        "quick": 2883,
        "paper": 3882,
    }
    card = harness("info", "model", "linear", "--preset", "paper", "--set", "width=10", "--json").json
    assert (card["preset"], card["parameters"]) == ("paper", 2892)


def test_the_card_of_a_model_without_presets(harness: Command) -> None:
    card = harness("info", "model", "untrained", "--json").json
    weights = 2 * 3 * 218 * 178 + 2
    assert card["parameters"] == weights + 1
    assert card["presets"] == {}
    assert (
        harness("info", "model", "untrained", "--set", "width=3", "--json").json["parameters"] == weights + 3
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [("attack", "step"), ("dataset", "tiny"), ("measure", "shift"), ("metric", "success-rate")],
)
def test_the_card_of_anything(harness: Command, kind: str, name: str) -> None:
    card = harness("info", kind, name, "--json").json
    assert card["name"] == name
    shown = harness("info", kind, name)
    assert shown.status == 0
    assert shown.out.startswith(f"{name}: ")


def test_the_card_of_everything_that_the_project_brings(harness: Command) -> None:
    for kind in ("models", "attacks", "datasets", "measures", "metrics", "analyses"):
        for row in harness("ls", kind, "--json").json[kind]:
            assert harness("info", kind, row["name"]).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "modles"], 'kind "modles" is unknown; did you mean "models"?'),
        (["info", "modle", "linear"], 'kind "modle" is unknown; did you mean "model"?'),
        (["info", "model", "liner"], 'model "liner" is unknown; did you mean "linear"?'),
        (["info", "model", "linear", "--preset", "papr"], 'preset "papr" is unknown; did you mean "paper"?'),
        (["info", "model", "linear", "--set", "widht=3"], '"widht" is unknown; did you mean "width"?'),
        (["info", "model", "linear", "--set", "width"], "--set width: write KEY=VALUE"),
        (
            ["info", "model", "linear", "--set", "width=0"],
            "to count its parameters: ValueError",
        ),
        (["info", "attack", "step", "--set", "size=0"], "--set counts the parameters of a model"),
    ],
)
def test_a_wrong_request_is_one_line(refused: Callable[..., str], arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)
