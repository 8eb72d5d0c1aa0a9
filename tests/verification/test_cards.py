"""The cache keeps a verifier with its generator, and its card what training measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.catalog import catalog
from harness.dataset import Dataset
from harness.manifest import read_suite
from harness.plan.models import ModelChoice
from harness.plan.planner import plan
from harness.zoo.trained import obtain
from harness_verification.network import Verifier

from .conftest import TINY

CPU = torch.device("cpu")
SMALL = {"width": 2, "generator_width": 4, "generator_hidden": 8, "generator_epochs": 1, "encoder_epochs": 1}


def choice(**parameters: object) -> ModelChoice:
    suite = read_suite(
        {
            "schema": 1,
            "name": "tiny",
            "dataset": [{"use": "synthetic-faces"}],
            "model": [{"use": "verifier", **TINY, **SMALL, **parameters}],
            "attack": [{"use": "noise", "norm": "linf", "eps": 0.1}],
        }
    )
    (found,) = plan(suite, catalog()).models
    return found


def test_cards_tell_what_training_measured_and_the_generator_is_loaded_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    first = obtain(choice(), dataset, 0, CPU)
    again = obtain(choice(), dataset, 0, CPU, lambda share, word: pytest.fail("it is trained again"))
    assert first.digest == again.digest
    for one in (first, again):
        assert one.card["training"]["curves"]["step"] == [0, 1, 2, 3]
        assert set(one.card["training"]["pictures"]) == {"quadruplets", "unseen"}
        assert one.card["parameters"] == sum(p.numel() for p in one.model.module.parameters())
    x = torch.rand(2, 3, 40, 32)
    modules = [one.model.module for one in (first, again)]
    anchors = [module.indirect_anchor(x) for module in modules if isinstance(module, Verifier)]
    assert torch.equal(anchors[0], anchors[1])
    other = obtain(choice(recipe="weak"), dataset, 0, CPU)
    assert other.digest != first.digest
    assert "pictures" not in other.card["training"]
