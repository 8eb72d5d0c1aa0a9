"""The bridge against Foolbox by hand: the same network, seed and parameters give the same images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.model import frozen
from harness.randomness import CaseRandom
from harness.threat import L2, Linf, Minimal, Threat

from .conftest import CASES, setting_of
from .quick import few, function

CALLS: list[tuple[str, Threat, dict[str, Any]]] = [
    ("LinfPGD", Linf(0.1), {"steps": 10}),
    ("L2PGD", L2(0.5), {"steps": 10}),
    ("L2CarliniWagnerAttack", Minimal("l2"), {"steps": 20, "binary_search_steps": 3, "initial_const": 1.0}),
    ("LInfFMNAttack", Minimal("linf"), {"steps": 20}),
    ("DDNAttack", Minimal("l2"), {"steps": 20}),
    ("L2DeepFoolAttack", Minimal("l2"), {"steps": 20}),
]


@pytest.mark.parametrize(
    ("goal", "name", "threat", "values"),
    [("untargeted", *call) for call in CALLS]
    # DeepFool can only leave a class, and is shown another problem
    + [("targeted", *call) for call in CALLS if call[0] != "L2DeepFoolAttack"],
    ids=lambda value: str(value)[:24],
)
def test_classes(goal: str, name: str, threat: Threat, values: dict[str, Any], foolbox: Any) -> None:
    setting: Any = setting_of(goal)
    shared = few(f"foolbox/{name}") | values
    bridged, _ = setting.call(function(f"foolbox/{name}"), threat, **shared)
    keys = CaseRandom(0, [str(case) for case in range(CASES)])
    torch.manual_seed(int(keys.take(torch.tensor([0])).integers(2**31 - 1)))
    wanted = (
        foolbox.criteria.Misclassification(setting.goal.labels)
        if goal == "untargeted"
        else foolbox.criteria.TargetedMisclassification(setting.goal.classes)
    )
    budget = {} if threat.eps is None else {"epsilon": threat.eps}
    with frozen(setting.module):
        peer = foolbox.PyTorchModel(setting.module, bounds=(0, 1))
        by_hand = getattr(foolbox.attacks, name)(**shared).run(peer, setting.x, wanted, **budget)
    assert torch.equal(bridged, by_hand)
    assert not torch.equal(bridged, setting.x)
