"""Indirect anchors: the ascent goes to a drawn image of the person; the reference decides what is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError, ContractError
from harness.goals import FlipAttribute, Impersonate, mirrored
from harness.handle import Handle, Meter
from harness.randomness import CaseRandom
from harness.threat import Region
from harness_attacks.attack_specs import PATCH_ATTACKS
from harness_attacks.patch import patch
from harness_attacks.square import square


class Drawing(nn.Module):
    """A verifier whose generator draws each person by mirroring and darkening the reference image."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)

    def indirect_anchor(self, references: Tensor) -> Tensor:
        return self.module(0.8 * references.flip(3))


def window() -> Tensor:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:12, 3:13] = True
    return mask


def verifier(classes: Any) -> harness.Model:
    return harness.wrap_model(Drawing(classes.module), "embedding", threshold=0.01)


def test_a_plain_loop_finds_the_same(classes: Any) -> None:
    """Adam approaches the drawn image; of all steps and restarts, the nearest to the reference is kept."""
    model, x, references = verifier(classes), classes.x[:3], classes.x[10:13]
    goal = Impersonate(model.scores(references), references=references)
    params: dict[str, Any] = {
        "iterations": 25,
        "restarts": 2,
        "early_stop": False,
        "loss": "squared-distance",
        "anchor": "indirect",
    }
    threat = Region(window(), levels=None)
    outcome = harness.attack(patch, model, x, goal=goal, threat=threat, seed=2, **params)
    drawn = classes.module(0.8 * references.flip(3))
    for case in range(3):
        noise = CaseRandom(2, [str(case)])
        start = torch.atanh((x[case] - 0.5) * 2 * 0.999999)
        best, nearest = x[case], torch.inf
        for _ in range(2):
            delta = noise.uniform((3, 16, 16), -0.5, 0.5)[0].requires_grad_()
            adam = torch.optim.Adam([delta], lr=0.1, eps=1e-16)
            for step in range(26):
                image = torch.where(window(), torch.tanh(start + delta) / 2 + 0.5, x[case])
                found = classes.module(image[None])[0]
                true = float((found - goal.anchors[case]).norm().detach())
                if true < nearest:
                    best, nearest = image.detach(), true
                if step < 25:
                    adam.zero_grad()
                    (found - drawn[case]).square().sum().backward()
                    adam.step()
        assert torch.allclose(outcome.adversarials[case], best, atol=2e-4)


@pytest.mark.parametrize("run", [patch, square])
def test_it_goes_elsewhere_and_is_judged_by_the_reference(classes: Any, run: Any) -> None:
    model, x, references = verifier(classes), classes.x[:10], classes.x[20:30]
    goal = Impersonate(model.scores(references), references=references, threshold=3.0)
    mask = window() if run is patch else torch.stack([window(), window().roll(2, 1)])
    params: dict[str, Any] = {
        "loss": "squared-distance",
        "early_stop": False,
        "restarts": 1,
        "iterations": 40,
    }
    direct, indirect = (
        harness.attack(run, model, x, goal=goal, threat=Region(mask), anchor=anchor, **params)
        for anchor in ("direct", "indirect")
    )
    drawn = model.module.indirect_anchor(references)  # type: ignore[operator]

    def mean(anchors: Tensor, outcome: Any) -> float:
        return float((model.scores(outcome.adversarials) - anchors).norm(dim=1).mean())

    assert mean(drawn, indirect) < mean(drawn, direct)
    assert mean(goal.anchors, direct) < mean(goal.anchors, indirect)
    assert torch.equal(
        indirect.reached, (model.scores(indirect.adversarials) - goal.anchors).norm(dim=1) < 3.0
    )


def test_generating_is_a_pass(classes: Any) -> None:
    model, meter = verifier(classes), Meter(4)
    handle = Handle(model, 4, meter=meter)
    found = handle.indirect_anchor(classes.x[:4])
    assert torch.equal(found, model.module.indirect_anchor(classes.x[:4]))  # type: ignore[operator]
    assert (meter.forwards == 1).all()
    with pytest.raises(ContractError, match="has no indirect_anchor"):
        Handle(model, 4, access="decisions").indirect_anchor(classes.x[:4])


def test_what_there_is_no_anchor_for_is_refused(joint: Any, classes: Any) -> None:
    model, x, threat = verifier(classes), classes.x[:2], Region(window())
    anchors = model.scores(x)

    def attacked(model: harness.Model, goal: Any) -> None:
        harness.attack(patch, model, x, goal=goal, threat=threat, anchor="indirect")

    with pytest.raises(AttackError, match="needs the reference images"):
        attacked(model, Impersonate(anchors))
    plain = harness.wrap_model(classes.module, "embedding", threshold=0.01)
    with pytest.raises(AttackError, match=r'anchor = "indirect": the model has no indirect_anchor'):
        attacked(plain, Impersonate(anchors, references=x))
    with pytest.raises(AttackError, match="is for embeddings; the model has attributes"):
        attacked(joint.model, FlipAttribute(torch.tensor(0)))


@pytest.mark.parametrize("name", ["eyeglasses", "square"])
@pytest.mark.parametrize("head", ["attributes", "classes", "embedding"])
def test_suites_skip_models_without_anchors(name: str, head: Any) -> None:
    spec = next(spec for spec in PATCH_ATTACKS if spec.name == name)
    assert spec.refuses is not None
    for traits in ((), ("indirect-anchor",)):
        model = harness.ModelSpec(name="m", summary="", build="m:m", head=head, traits=frozenset(traits))
        able = head == "embedding" and bool(traits)
        assert (spec.refuses(model, {"anchor": "indirect"}) is None) == able
        assert spec.refuses(model, {"anchor": "direct"}) is None


@pytest.mark.parametrize("draws", [True, False])
def test_a_model_that_sees_mirror_images_draws_as_it_does(classes: Any, draws: bool) -> None:
    """Both halves are those of the drawn image: references are not mirrored."""
    module = Drawing(classes.module) if draws else classes.module
    model = mirrored(harness.wrap_model(module, "embedding", threshold=1.0))
    model.module.eval()
    handle = Handle(model, 4)
    if draws:
        own = module.indirect_anchor(classes.x[:4])
        assert torch.equal(handle.indirect_anchor(classes.x[:4]), torch.cat([own, own], 1))
    else:
        with pytest.raises(ContractError, match="has no indirect_anchor"):
            handle.indirect_anchor(classes.x[:4])
