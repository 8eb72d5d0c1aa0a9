"""The model in the catalogue: it keeps the contract, its card counts parameters, and suites plan it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.manifest import read_suite
from harness.plan import plan
from harness.testing import model_checks
from harness_facenet import PUBLISHED, training_flops
from harness_facenet.recipe import Recipe

from .conftest import TINY

SUITES = Path(__file__).parents[2] / "suites"


@pytest.mark.parametrize("backbone", ["resnet50", "mobilefacenet"])
def test_the_model_keeps_the_contract(backbone: str) -> None:
    small: dict[str, Any] = {**TINY, "backbone": backbone, "width": 2, "dimensions": 8}
    results = [case.result() for case in model_checks("facenet", params=small)]
    assert [(one.check, one.line) for one in results if one.status == "failed"] == []
    assert sum(one.status == "passed" for one in results) > 5


@pytest.mark.parametrize("name", ["facenet", "facenet-paper"])
def test_suites_plan_every_model_on_triplets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELEBA_ROOT", raising=False)
    planned = plan(read_suite(SUITES / f"{name}.toml"), catalog())
    on_triplets = {cell.model.label for cell in planned.cells if cell.goal == "triplet"}
    assert on_triplets == {model.label for model in planned.models}
    assert {cell.goal for cell in planned.cells} >= {"triplet", "impersonate"}


def test_the_published_parameters_are_parameters() -> None:
    entry = catalog().models["facenet"]
    assert set(PUBLISHED) <= set(entry.parameters())
    paper = Recipe(**{name: value for name, value in PUBLISHED.items() if name in vars(Recipe())})
    assert (paper.eps, paper.attack_step_size, paper.attack_steps) == (8 / 255, 2 / 255, 7)
    assert (paper.batch_size, paper.pretraining_epochs, paper.tuning_epochs) == (128, 500, 50)


def test_costs_grow_with_the_stages() -> None:
    def cost(recipe: str) -> float:
        return training_flops({**vars(Recipe()), "recipe": recipe}, 1000, 1.0)

    assert cost("given") == 0
    assert cost("standard") == 16 * 9 * 960
    assert cost("adversarial") == cost("standard") + cost("scratch")
    assert cost("contrastive") == cost("scratch") + 12 * 13 * 960
