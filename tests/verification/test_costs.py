"""The forecast of a training's operations, beside those that a training makes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.cases.datasets import open_datasets
from harness.dataset import Dataset
from harness.options import Options
from harness.session.forecast import forecast
from harness.session.session import make_plan
from harness_verification import harness_models, traits_of
from harness_verification.recipe import Recipe

from .conftest import DESIGN, GENERATOR, TINY, Surroundings, trained


def parameters(**recipe: Any) -> dict[str, Any]:
    return {**asdict(Recipe(**{**TINY, **recipe})), **asdict(GENERATOR), **asdict(DESIGN)}


def told(images: int, forward: float, **recipe: Any) -> float:
    spec = next(spec for spec in harness_models() if spec.name == "verifier")
    assert spec.training_flops is not None
    return spec.training_flops(parameters(**recipe), images, forward)


@pytest.mark.parametrize("recipe", ["proposed", "doa"])
def test_the_forecast_is_about_what_a_training_computes(
    dataset: Dataset, surroundings: Surroundings, recipe: str
) -> None:
    chosen: dict[str, Any] = {"attack_steps": 3, "erased_share": 1.0, "validate_every": 3}
    with FlopCounterMode(display=False) as counter:
        module = trained(dataset, surroundings, recipe, **chosen)
    with FlopCounterMode(display=False) as once:
        module.embed(torch.zeros(1, 3, 64, 64))
    forward = once.get_total_flops()
    images, unseen = len(dataset.rows("train")), 6 * TINY["held_out"]
    assert counter.get_total_flops() <= told(images, forward, recipe=recipe, **chosen)
    # There are 6 persons to learn from in place of 16, and the others have few images to validate on.
    learned = images - unseen
    expected = told(learned, forward, recipe=recipe, **chosen)
    expected -= (2 + 1) * (learned - unseen) * forward
    expected -= TINY["start_steps"] * (16 - 6) * 4 * 3 * forward
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.12)


def test_more_of_anything_costs_more() -> None:
    few = told(100, 1e6, recipe="weak")
    for more in ({"steps": 6}, {"batch_size": 8}, {"start_steps": 4}, {"attack_steps": 2}, {"candidates": 3}):
        assert told(100, 1e6, **({"recipe": "weak"} | more)) > few
    assert told(100, 1e6, recipe="proposed") > told(100, 1e6, recipe="none") > few
    assert told(100, 1e6, recipe="doa", places=9) > told(100, 1e6, recipe="doa", places=4)


def test_only_recipes_with_a_generator_draw_anchors() -> None:
    found = [kind for kind in ("proposed", "weak", "doa", "none") if traits_of(parameters(recipe=kind))]
    assert found == ["proposed", "none"]


def test_a_plan_tells_what_training_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    suite = {
        "schema": 1,
        "name": "tiny",
        "dataset": [
            {"use": "synthetic-faces", "count": 300, "size": [20, 16], "comparisons": {"genuine": 1}}
        ],
        "model": [{"use": "verifier", "width": 2, "recipe": "weak", **TINY}, {"use": "raw-pixels"}],
        "attack": [
            {"use": "noise", "eps": "8/255"},
            {"use": "eyeglasses", "preset": "paper-indirect", "id": "indirect"},
        ],
    }
    planned = make_plan(suite, Options())
    row = forecast(planned, Options()).models[0]
    images = len(open_datasets(planned, None)[planned.datasets[0]].dataset.rows("train"))
    assert row["training_flops"] == told(images, row["forward_flops"], recipe="weak") > 0
    reasons = {item.model.label: item.reason for item in planned.skipped}
    assert set(reasons) == {"verifier", "raw-pixels"}
    assert all("has no generator" in reason for reason in reasons.values())
