"""Models of one family find each other's finished stages in the cache; others do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.catalog import catalog
from harness.dataset import Dataset
from harness.manifest import read_suite
from harness.plan.models import ModelChoice
from harness.plan.planner import plan
from harness.zoo.trained import obtain

from .conftest import DESIGN, RECIPE

CPU = torch.device("cpu")


def choice(model: str) -> ModelChoice:
    """A model of a suite, as small as those of the other tests."""
    small: dict[str, Any] = {
        **{name: value for name, value in vars(DESIGN).items() if value is not None},
        **vars(replace(RECIPE, localiser_epochs=1, hint_epochs=1, whole_epochs=1, part_epochs=1)),
    }
    suite = read_suite(
        {
            "schema": 1,
            "name": "family",
            "dataset": [{"use": "synthetic-faces"}],
            "model": [{"use": model, **small}],
            "attack": [{"use": "noise", "norm": "linf", "eps": 0.1}],
        }
    )
    (found,) = plan(suite, catalog()).models
    return found


def stages(model: ModelChoice, dataset: Dataset) -> list[str]:
    """Obtain a model; return the stages in which steps were made."""
    words: list[str] = []
    obtain(model, dataset, 0, CPU, lambda share, word: words.append(word))
    return list(dict.fromkeys(word.split()[0] for word in words if "loss" in word))


def test_models_of_a_family_find_each_others_stages(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    assert stages(choice("paw-whole-only"), dataset) == ["localisation", "hint", "whole"]
    part_only = choice("paw-part-only")
    assert stages(part_only, dataset) == ["parts"]
    entry = part_only.entry
    alone = replace(part_only, entry=replace(entry, spec=replace(entry.spec, name="other", family="")))
    assert stages(alone, dataset) == ["localisation", "hint", "whole", "parts"]
