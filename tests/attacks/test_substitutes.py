"""Every gradient attack follows an expectation (eot) or a substitute (bpda), and its cost is forecast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.catalog import catalog
from harness.errors import AttackError, CatalogError
from harness.goals import FlipAttribute, Impersonate
from harness.handle import Handle
from harness.meter import Meter
from harness.randomness import seed_torch
from harness.specs import AttackSpec, Following
from harness.testing.attacks.subject import AttackSubject
from harness.threat import L2, Linf, Minimal, Region, Threat
from tests.attacks.conftest import Cnn, Setting

SMALL: dict[str, dict[str, Any]] = {
    "pgd": {"steps": 10, "random_start": False},
    "apgd": {"steps": 10},
    "fab": {"steps": 10},
    "ddn": {"steps": 20},
    "fmn": {"steps": 20},
    "standard": {"steps": 10, "queries": 1, "targets": 1},
    "fgs": {"search": "iterative", "max_iterations": 10},
    "ffa": {"search": "iterative", "max_iterations": 20},
    "gradient-descent": {"iterations": 10},
    "component-gradient": {"iterations": 10},
    "cw-l2": {"iterations": 30},
    "eyeglasses": {"iterations": 10},
    "square": {"iterations": 10, "search_iterations": 2},
    "universal-patch": {"iterations": 20},
    "distal": {"iterations": 30},
    "eyeglasses-eot": {"iterations": 5, "views": 2},
    "square-eot": {"iterations": 5, "search_iterations": 2, "views": 2},
    "foolbox/LinfPGD": {"steps": 40},
    "art/ProjectedGradientDescent": {"max_iter": 10},
}
"""Every gradient attack of this project, and of each library one."""
BRIDGED = {"foolbox/LinfPGD": "foolbox", "art/ProjectedGradientDescent": "art"}


class Rounded(nn.Module):
    """A network that sees 32 levels, and through which no gradient passes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module((32 * x).round().detach() / 32)

    def differentiable(self, x: Tensor) -> Tensor:
        return self.module(x)


class Misleading(Rounded):
    """A network with the right values, whose gradient leads the other way."""

    def forward(self, x: Tensor) -> Tensor:
        return self.module(2 * x.detach() - x)


class Open(Rounded):
    """A network that blocks nothing: its substitute is itself."""

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


class Shaken(nn.Module):
    """A network with the right values, whose gradient has noise that is drawn anew for each image."""

    def __init__(self, module: nn.Module, noise: float) -> None:
        super().__init__()
        self.module, self.noise = module, noise

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.module(x)
        drawn = self.noise * torch.randn(len(x), outputs.shape[1], *x.shape[1:], device=x.device)
        shift = (drawn * x[:, None]).flatten(2).sum(2)
        return outputs + shift - shift.detach()


class Noisy(nn.Module):
    """A score of one attribute whose slope is drawn anew for each image; its mean is known."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(-1, 1, 48), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(len(x), 48)
        return ((x.flatten(1) - 0.5) * (self.slope + noise)).sum(1, keepdim=True) + 0.1


def ran(name: str, wrap: Any, settings: dict[str, Setting], **given: Any) -> tuple[harness.Outcome, Setting]:
    """An attack on one of the networks, as ``wrap`` changes it, and what it was without the change."""
    if name in BRIDGED:
        pytest.importorskip(BRIDGED[name])
    setting = settings[head_of(name)]
    model = harness.wrap_model(wrap(setting.module).eval(), setting.model.head)
    outcome = harness.attack(
        name, model, setting.x, goal=setting.goal, threat=threat_of(name), **{**SMALL[name], **given}
    )
    return outcome, setting


def rate(outcome: harness.Outcome) -> float:
    return float(outcome.success.float().mean())


def head_of(name: str) -> str:
    return {"ffa": "joint", "distal": "embedding"}.get(name, "classes")


def threat_of(name: str) -> Threat | None:
    spec = catalog().attacks[name].spec
    if spec.name == "distal":
        return None
    if not spec.norms:
        mask = torch.zeros(16, 16, dtype=torch.bool)
        mask[4:12, 3:13] = True
        return Region(mask if "square" not in name else torch.stack([mask, mask.T]))
    if "linf" in spec.norms:  # an eps bounds what counts where the smallest change is looked for
        return Linf((10 if name == "ffa" else 5) / 255)
    return L2(0.6)


@pytest.fixture(scope="module")
def settings(classes: Setting, joint: Setting) -> dict[str, Setting]:
    seed_torch(5)
    module = Cnn(8).eval().requires_grad_(False)
    embedding = harness.wrap_model(module, "embedding")
    few = classes.first(24)
    anchors = embedding.scores(few.x.roll(1, 0))
    far = float((embedding.scores(few.x) - anchors).norm(dim=1).median())
    none = torch.zeros(len(few.x))
    impersonated = Setting(embedding, few.x, Impersonate(anchors, threshold=0.25 * far), none, none)
    return {"classes": few, "joint": joint.first(24), "embedding": impersonated}


def test_every_gradient_attack_of_this_project_is_tried() -> None:
    own = {
        name
        for name, entry in catalog().attacks.items()
        if entry.plugin.name == "attacks" and entry.spec.access == "gradients"
    }
    assert own == set(SMALL) - set(BRIDGED)


@pytest.mark.parametrize("name", SMALL)
def test_a_substitute_is_followed_past_what_blocks_the_gradient(
    name: str, settings: dict[str, Setting]
) -> None:
    """Through ``detach`` not even a gradient of 0 comes: it needs the substitute from the first step on."""
    followed, setting = ran(name, Rounded, settings, bpda=True)
    assert rate(followed) > 0.3
    model = harness.wrap_model(Rounded(setting.module).eval(), setting.model.head)
    objective = setting.goal.objective(model, model.scores(setting.x)).take(followed.rows)
    outputs = model.scores(followed.adversarials)
    clear = objective.margin(outputs).abs() > 1e-4  # some searches end where the last bits decide
    decided = objective.reached(outputs)
    assert (decided == followed.reached)[clear].all(), "the module itself judges"
    assert clear.any()


@pytest.mark.parametrize("name", SMALL)
def test_a_substitute_corrects_a_gradient_that_misleads(name: str, settings: dict[str, Setting]) -> None:
    misled, mended = (ran(name, Misleading, settings, bpda=bpda)[0] for bpda in (False, True))
    assert rate(mended) > rate(misled) + 0.25


@pytest.mark.parametrize("name", SMALL)
def test_an_expectation_leads_through_noise(name: str, settings: dict[str, Setting]) -> None:
    noise = 16.0 if catalog().attacks[name].spec.region else 1.0  # patches change much at each step
    noise = 4.0 if name in ("ddn", "fmn", "cw-l2") else noise  # so do descents whose steps become small
    once, often = (ran(name, lambda module: Shaken(module, noise), settings, eot=eot)[0] for eot in (1, 32))
    assert rate(often) > rate(once) + 0.15


@pytest.mark.parametrize("name", SMALL)
def test_each_gradient_costs_its_evaluations(name: str, settings: dict[str, Setting]) -> None:
    """Of a model that is neither random nor blocked, nothing but the cost changes."""
    plain, _ = ran(name, Open, settings)
    dear, _ = ran(name, Open, settings, eot=2, bpda=True)
    assert torch.equal(dear.adversarials, plain.adversarials)
    assert torch.equal(dear.backwards, 2 * plain.backwards)
    assert torch.equal(dear.forwards, plain.forwards + 3 * plain.backwards)
    assert plain.backwards.max() > 0


@pytest.mark.parametrize("name", sorted(set(SMALL) - set(BRIDGED)))
def test_the_forecast_counts_what_gradients_cost(name: str, settings: dict[str, Setting]) -> None:
    entry = catalog().attacks[name]
    given = {**SMALL[name], "eot": 3, "bpda": True}
    outcome, _ = ran(name, Open, settings, eot=3, bpda=True)
    values = {key: parameter.default for key, parameter in entry.parameters().items()} | given
    most, plain = entry.spec.forecast(values), entry.spec.forecast({**values, "eot": 1, "bpda": False})
    assert most is not None
    assert plain is not None
    assert outcome.backwards.max() <= most[1] == 3 * plain[1]
    assert outcome.forwards.max() <= most[0] == plain[0] + 5 * plain[1]


def test_the_value_is_the_modules_and_the_gradient_the_substitutes(classes: Setting) -> None:
    module = Rounded(classes.module).eval()
    model, meter = harness.wrap_model(module, "classes"), Meter(4)
    handle = Handle(model, 4, meter=meter, following=Following(bpda=True))
    values, gradient = handle.gradient(classes.x[:4], lambda outputs: outputs[:, 0])
    start = classes.x[:4].clone().requires_grad_()
    (expected,) = torch.autograd.grad(classes.module(start)[:, 0].sum(), start)
    with torch.no_grad():
        assert torch.allclose(values, module(classes.x[:4])[:, 0], atol=1e-5)
        assert (values - classes.module(classes.x[:4])[:, 0]).abs().max() > 1e-3
    assert torch.allclose(gradient, expected, atol=1e-5)
    assert meter.forwards.tolist() == [2] * 4
    assert meter.backwards.tolist() == [1] * 4


def test_of_attributes_and_in_the_order_of_a_data_set(joint: Setting, classes: Setting) -> None:
    model = harness.wrap_model(Rounded(joint.module).eval(), "attributes")
    objective = FlipAttribute(joint.columns).objective(model, model.scores(joint.x))
    handle = Handle(model, len(joint.x), following=Following(bpda=True)).focus(objective)
    _, gradient = handle.gradient(joint.x, objective.margin)
    _, expected = Handle(joint.model, len(joint.x)).focus(objective).gradient(joint.x, objective.margin)
    assert torch.allclose(gradient, expected, atol=1e-5)

    ordered = harness.wrap_model(Rounded(classes.module).eval(), "classes", names=list("abcd"))
    handle = Handle(ordered.in_order_of(["c", "a"]), 5, following=Following(bpda=True))
    _, gradient = handle.gradient(classes.x[:5], lambda out: out[:, 0])
    _, expected = Handle(classes.model, 5).gradient(classes.x[:5], lambda out: out[:, 2])
    assert torch.allclose(gradient, expected, atol=1e-5)


def test_only_outputs_have_a_substitute(softmax: Setting) -> None:
    """FFA asks a network for the two logits behind a score; its substitute has none."""
    module = softmax.module
    module.differentiable = module.forward  # type: ignore[assignment]
    try:
        plain, followed = (Handle(softmax.model, 2, following=Following(bpda=bpda)) for bpda in (False, True))
        assert plain.has_logits
        assert not followed.has_logits
        given = {"goal": softmax.first(8).goal, "threat": Minimal("linf")}
        outcome = harness.attack("ffa", softmax.model, softmax.x[:8], bpda=True, **given)
        assert outcome.reached.any()
    finally:
        del module.differentiable


@pytest.mark.parametrize("eot", [1, 16])
def test_a_mean_of_evaluations_is_nearer_to_the_expectation(eot: int) -> None:
    """Whether an attack asks for a gradient, or for outputs that it differentiates itself."""
    seed_torch(0)
    module = Noisy().eval()
    model, meter, x = harness.wrap_model(module, "attributes"), Meter(50), torch.rand(50, 3, 4, 4)
    handle = Handle(model, 50, meter=meter, following=Following(eot=eot))
    _, gradient = handle.gradient(x, lambda outputs: outputs[:, 0])
    assert meter.forwards.tolist() == [eot] * 50
    assert meter.backwards.tolist() == [eot] * 50
    start = x.clone().requires_grad_()
    (own,) = torch.autograd.grad(handle(start).sum(), start)
    assert meter.forwards.tolist() == meter.backwards.tolist() == [2 * eot] * 50
    with torch.no_grad():
        handle(x)
    assert meter.forwards.tolist() == [2 * eot + 1] * 50, "decisions are single, as the judge's"
    for found in (gradient, own):
        angle = torch.cosine_similarity(found.flatten(1), module.slope[None]).mean()
        assert angle < 0.7 if eot == 1 else angle > 0.85


def test_a_module_without_a_substitute_says_so(classes: Setting) -> None:
    few = classes.first(2)
    with pytest.raises(AttackError, match=r"differentiable\(x\), which Cnn does not have; give it one"):
        harness.attack("fgs", few.model, few.x, goal=few.goal, threat=Minimal("linf"), bpda=True)


def test_a_function_has_the_options_too_and_an_attack_on_scores_has_not(classes: Setting) -> None:
    few = classes.first(2)

    def once(model: Any, x: Tensor, objective: Any, threat: Threat, *, rng: Any) -> Tensor:
        return x + 0 * model.focus(objective).gradient(x, objective.margin)[1]

    outcome = harness.attack(once, few.model, few.x, goal=few.goal, threat=Linf(0.1), eot=5)
    assert outcome.backwards.tolist() == [5, 5]
    with pytest.raises(AttackError, match='"eot" is unknown'):
        harness.attack("square-attack", few.model, few.x, goal=few.goal, threat=Linf(0.1), eot=5)
    with pytest.raises(AttackError, match="eot = 0 must be int of at least 1"):
        harness.attack("fgs", few.model, few.x, goal=few.goal, threat=Minimal("linf"), eot=0)


def test_an_attack_that_takes_them_itself_is_refused() -> None:
    def mine(model: Any, x: Tensor, objective: Any, threat: Threat, *, rng: Any, eot: int = 1) -> Tensor:
        return x

    with pytest.raises(CatalogError, match='takes "eot", an option of every attack that sees gradients'):
        AttackSubject.of(AttackSpec(name="mine", summary="", run="mine:mine"), function=mine)
    scores = AttackSpec(name="mine", summary="", run="mine:mine", access="scores")
    assert AttackSubject.of(scores, {"eot": 3}, function=mine).parameters == {"eot": 3}


def test_defaults_change_no_identity() -> None:
    entry = catalog().attacks["fgs"]
    known = {"search": "line"}
    assert entry.identity({**known, "eot": 1, "bpda": False}) == entry.identity(known)
    assert entry.identity({**known, "eot": 2, "bpda": False}) != entry.identity(known)
    assert entry.identity({**known, "eot": 1, "bpda": True}) != entry.identity(known)
