"""`harness plan` and `harness train`: what a run would do, and only the training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import SUITE, Command


def test_a_plan_runs_nothing(harness: Command, suite: Path) -> None:
    ran = harness("plan", suite)
    assert (ran.status, ran.err) == (0, "")
    assert "small: 2 cells, 96 cases, 0 skipped" in ran.out
    assert not Path("results").exists()


def test_a_plan_for_programs(harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", "fresh")
    found = harness("plan", suite, "--json").json
    assert found["suite"] == "small"
    assert found["seconds"] is None
    step, still = found["cells"]
    assert (step["model"], step["attack"], step["threat"], step["cases"]) == (
        "linear",
        "step",
        "linf 40/255",
        48,
    )
    assert (step["forwards"], step["backwards"]) == (48, 48)
    # It does not say what it costs.
    assert (still["forwards"], still["backwards"], still["seconds"]) == (None, None, None)
    (model,) = found["models"]
    assert (model["dataset"], model["model"], model["trained"], model["card"]) == (
        "tiny",
        "linear",
        False,
        None,
    )
    harness("train", suite)
    (model,) = harness("plan", suite, "--json").json["models"]
    assert model["trained"] is True
    assert model["card"]["accuracy"] > 0.9


def test_seconds_are_expected_once_a_model_is_measured(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('[[attack]]\nuse = "still"\neps = "40/255"\n', ""))
    harness("train", suite)
    assert harness("plan", suite, "--json").json["seconds"] > 0
    assert "of attacks at most" in harness("plan", suite).out


def test_operations_are_counted_before_anything_is_trained(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('[[attack]]\nuse = "still"\neps = "40/255"\n', "") + "\n")
    planned = harness("plan", suite, "--json", "--set", "seed=7").json
    forward = 2 * 2 * 3 * 24 * 20  # a product and a sum per weight
    (model,) = planned["models"]
    assert (model["trained"], model["forward_flops"]) == (False, forward)
    # One forward and one backward pass of the attack, one forward pass of the judge.
    assert planned["flops"] == 48 * 3 * forward
    assert planned["seconds"] is None
    assert "floating-point operations" in harness("plan", suite, "--set", "seed=7").out


def test_names_with_brackets_are_shown_whole(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('use = "step"\n', 'use = "step"\nsize = [0.5, 1.0]\n'))
    shown = harness("plan", suite).out
    assert "step[size=0.5]" in shown
    assert "step[size=1]" in shown


def test_what_is_skipped_is_shown_with_its_reason(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('"linear"', '"boxed"'))
    reason = "step needs gradients, and boxed shows no more than decisions"
    assert f"skipped: boxed x step linf 40/255 on tiny: {reason}" in harness("plan", suite).out
    (skipped,) = harness("plan", suite, "--json").json["skipped"]
    assert skipped["reason"] == reason


def test_long_plans_are_cut_on_the_terminal(harness: Command, suite: Path) -> None:
    sizes = ", ".join(str(number) for number in range(1, 71))
    suite.write_text(SUITE.replace('use = "step"\n', f'use = "step"\nsize = [{sizes}]\n'))
    assert "… and 11 more cells; --json shows all" in harness("plan", suite).out
    assert len(harness("plan", suite, "--json").json["cells"]) == 71


def test_training_alone(harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", "fresh")
    first = harness("train", suite)
    assert first.status == 0
    assert first.out.startswith("linear on tiny: trained in ")
    assert "on 24 test images (majority-class baseline" in first.out
    assert harness("train", suite).out.startswith("linear on tiny: was trained before; accuracy ")
    assert not Path("results").exists()


def test_a_training_is_kept_under_all_that_it_depends_on(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", "fresh")
    changes = ["seed=0", "seed=1", "model.linear.strength=2", "model.linear.width=2", "dataset.tiny.seed=1"]
    for number, change in enumerate(changes, 1):
        assert ": trained in " in harness("train", suite, "--set", change).out
        assert len(list(Path("fresh/zoo").glob("linear-*"))) == number

    def training(*arguments: Any) -> None:
        raise AssertionError("it is trained already")

    monkeypatch.setattr("harness.zoo.trained.train_model", training)
    for change in changes:
        assert harness("train", suite, "--set", change, "--set", "model.linear.id=renamed").status == 0


def test_only_some_models_are_trained(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE + '[[model]]\nuse = "linear"\nid = "diverging"\nfail = true\n')
    assert harness("train", suite, "linear").status == 0
    ran = harness("train", suite)
    assert ran.status == 1
    assert "diverging on tiny: failed: " in ran.out
    assert "training failed: RuntimeError: the loss is not a number" in ran.out


def test_a_model_without_a_recipe_is_ready(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE.replace('"linear"', '"untrained"'))
    assert harness("train", suite).out == "untrained on tiny: ready\n"


@pytest.mark.parametrize("verb", ["plan", "train"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.toml"], "nowhere.toml: no such suite; valid: small.toml"),
        (["small.toml", "--limit", "x"], "--limit x must be a whole number"),
        (["small.toml", "--set", "attack.step.attributes=['Blue']"], 'attribute "Blue" is unknown'),
        (
            ["small.toml", "--set", "model.linear.use=liner"],
            'model "liner" is unknown; did you mean "linear"?',
        ),
    ],
)
def test_a_wrong_request_is_one_line(
    refused: Callable[..., str], suite: Path, verb: str, arguments: list[str], message: str
) -> None:
    assert message in refused(verb, *arguments)


def test_an_unknown_model_to_train(refused: Callable[..., str], suite: Path) -> None:
    assert 'model "liner" is not in' in refused("train", "small.toml", "liner")
