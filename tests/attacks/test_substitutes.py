"""Attacks follow the gradient of an expectation (eot) or of a substitute (bpda), and count what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import ContractError
from harness.goals import FlipAttribute, Untargeted
from harness.handle import Handle
from harness.meter import Meter
from harness.threat import Linf, Minimal, Threat
from tests.attacks.conftest import Setting

ATTACKS = ["pgd", "apgd", "fab", "standard"]
SMALL: dict[str, dict[str, Any]] = {
    "pgd": {"steps": 10},
    "apgd": {"steps": 10},
    "fab": {"steps": 10},
    "standard": {"steps": 10, "queries": 1, "targets": 1},
}


class Rounded(nn.Module):
    """A network behind a rounding to 32 levels, which blocks every gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x + 0 * x.sum() + (32 * x).round().detach() / 32 - x)

    def differentiable(self, x: Tensor) -> Tensor:
        return self.module(x)


class Noisy(nn.Module):
    """A score of one attribute whose slope is drawn anew for each image; its mean is known."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(-1, 1, 48), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(len(x), 48)
        return ((x.flatten(1) - 0.5) * (self.slope + noise)).sum(1, keepdim=True) + 0.1


def budget(name: str) -> Threat:
    return Minimal("linf") if name == "fab" else Linf(6 / 255)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_substitute_is_followed_past_what_blocks_the_gradient(name: str, classes: Setting) -> None:
    few, model = classes.first(40), harness.wrap_model(Rounded(classes.module).eval(), "classes")
    plain, followed = (
        harness.attack(name, model, few.x, goal=few.goal, threat=budget(name), bpda=bpda, **SMALL[name])
        for bpda in (False, True)
    )
    assert followed.reached.float().mean() > plain.reached.float().mean() + 0.2
    with torch.no_grad():
        decided = model.module(followed.adversarials).argmax(1)
    assert ((decided != few.labels) == followed.reached).all(), "the module itself judges"


def test_the_value_is_the_modules_and_the_gradient_the_substitutes(classes: Setting) -> None:
    module = Rounded(classes.module).eval()
    model = harness.wrap_model(module, "classes")
    meter = Meter(4)
    handle = Handle(model, 4, meter=meter).following(bpda=True)
    values, gradient = handle.gradient(classes.x[:4], lambda outputs: outputs[:, 0])
    start = classes.x[:4].clone().requires_grad_()
    (expected,) = torch.autograd.grad(classes.module(start)[:, 0].sum(), start)
    with torch.no_grad():
        assert torch.allclose(values, module(classes.x[:4])[:, 0], atol=1e-5)
    assert torch.allclose(gradient, expected, atol=1e-5)
    assert meter.forwards.tolist() == [2] * 4
    assert meter.backwards.tolist() == [1] * 4


def test_of_attributes_and_in_the_order_of_a_data_set(joint: Setting, classes: Setting) -> None:
    module = Rounded(joint.module).eval()
    model = harness.wrap_model(module, "attributes")
    objective = FlipAttribute(joint.columns).objective(model, model.scores(joint.x))
    handle = Handle(model, len(joint.x)).focus(objective).following(bpda=True)
    _, gradient = handle.gradient(joint.x, objective.margin)
    _, expected = Handle(joint.model, len(joint.x)).focus(objective).gradient(joint.x, objective.margin)
    assert torch.allclose(gradient, expected, atol=1e-5)

    ordered = harness.wrap_model(Rounded(classes.module).eval(), "classes", names=list("abcd"))
    turned = ordered.in_order_of(["c", "a"])
    _, gradient = Handle(turned, 5).following(bpda=True).gradient(classes.x[:5], lambda out: out[:, 0])
    _, expected = Handle(classes.model, 5).gradient(classes.x[:5], lambda out: out[:, 2])
    assert torch.allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_module_without_a_substitute_says_so(name: str, classes: Setting) -> None:
    with pytest.raises(ContractError, match=r"Cnn has no differentiable\(x\)"):
        harness.attack(
            name, classes.model, classes.x[:2], goal=classes.first(2).goal, threat=budget(name), bpda=True
        )


def test_a_mean_of_evaluations_is_nearer_to_the_expectation() -> None:
    torch.manual_seed(0)
    module = Noisy().eval()
    model = harness.wrap_model(module, "attributes")
    x, angles = torch.rand(50, 3, 4, 4), {}
    for eot in (1, 16):
        meter = Meter(50)
        handle = Handle(model, 50, meter=meter).following(eot)
        _, gradient = handle.gradient(x, lambda outputs: outputs[:, 0])
        angles[eot] = torch.cosine_similarity(gradient.flatten(1), module.slope[None]).mean()
        assert meter.forwards.tolist() == [eot] * 50
        assert meter.backwards.tolist() == [eot] * 50
    assert angles[1] < 0.7
    assert angles[16] > 0.85


@pytest.mark.parametrize("name", ["pgd", "apgd", "fab"])
def test_the_forecast_counts_what_gradients_cost(name: str, classes: Setting) -> None:
    from harness.catalog import catalog

    model = harness.wrap_model(Rounded(classes.module).eval(), "classes")
    spec, entry = catalog().attacks[name].spec, catalog().attacks[name]
    given = {**SMALL[name], "eot": 3, "bpda": True, "early_stop": False}
    outcome = harness.attack(
        name, model, classes.x, goal=Untargeted(classes.labels), threat=budget(name), **given
    )
    defaults = {key: parameter.default for key, parameter in entry.parameters().items()}
    assert spec.passes is not None
    most = spec.passes({**defaults, **given})
    assert outcome.backwards.max() <= most[1]
    assert outcome.forwards.max() <= most[0]
    plain = spec.passes({**defaults, **given, "eot": 1, "bpda": False})
    assert outcome.forwards.max() > plain[0] - 40
