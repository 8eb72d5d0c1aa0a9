"""APGD against its reference at equal iterations, and what it must do on each head, norm and region."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import FlipAttribute, Targeted, Untargeted
from harness.handle import Handle
from harness.model import Model
from harness.threat import L2, Linf, Region, Threat
from harness_attacks.apgd import apgd, checkpoints
from harness_attacks.ascended import aims, value_of
from tests.attacks.conftest import Cnn, Setting, patterns
from tests.attacks.test_against_peers import art_classifier


class Scaled(nn.Module):
    """Logits so large that the cross-entropy of most images is 0 in float32, and so is its gradient."""

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        self.module, self.factor = module, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.module(x)


@pytest.fixture(scope="module")
def hardened() -> Setting:
    """Four classes, trained on images that a few steps of PGD have changed."""
    torch.manual_seed(0)
    module, draws = Cnn(4), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)

    def labelled(cases: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        x, present = patterns(cases, 2, random)
        return x, present[:, 0] + 2 * present[:, 1].long()

    for _ in range(60):
        x, labels = labelled(64, draws)
        x_adv = x
        for _ in range(3):
            start = x_adv.detach().requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(module(start), labels), start)
            x_adv = (x + (start + slope.sign() * 2 / 255 - x).clamp(-4 / 255, 4 / 255)).detach()
        optimizer.zero_grad()
        F.cross_entropy(module(x_adv), labels).backward()
        optimizer.step()
    module.eval().requires_grad_(False)
    x, labels = labelled(120, torch.Generator().manual_seed(2))
    model = harness.wrap_model(module, "classes")
    return Setting(model, x, Untargeted(labels), labels, torch.zeros_like(labels))


def art_apgd(module: nn.Module, setting: Setting, threat: Threat, loss: str, steps: int) -> Tensor:
    attack = pytest.importorskip("art.attacks.evasion").AutoProjectedGradientDescent(
        art_classifier(module, 4),
        norm=np.inf if threat.norm == "linf" else 2,
        eps=threat.eps,
        eps_step=2 * threat.eps,
        max_iter=steps,
        nb_random_init=1,
        batch_size=len(setting.x),
        loss_type=loss,
        verbose=False,
    )
    np.random.seed(0)  # noqa: NPY002  (ART draws from the global generator)
    return torch.tensor(attack.generate(setting.x.numpy(), F.one_hot(setting.labels, 4).numpy()))


LOSSES = {"cross-entropy": "cross_entropy", "dlr": "difference_logits_ratio"}


@pytest.mark.parametrize("threat", [Linf(4 / 255), L2(0.4)], ids=lambda threat: threat.label)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", ["classes", "hardened", "scaled"])
def test_success_is_that_of_the_reference(
    network: str, loss: Any, threat: Threat, classes: Setting, hardened: Setting
) -> None:
    """Within one point of ART's, at equal iterations; more where logits are large enough to hide slopes."""
    setting = hardened if network == "hardened" else classes
    module = Scaled(classes.module, 1e3).eval() if network == "scaled" else setting.module
    model = harness.wrap_model(module, "classes")
    limited = Threat(threat.norm, threat.eps, levels=None)
    ours = harness.attack("apgd", model, setting.x, goal=setting.goal, threat=limited, loss=loss, steps=20)
    theirs = art_apgd(module, setting, threat, LOSSES[loss], 20)
    with torch.no_grad():
        fooled = model.scores(theirs).argmax(1) != setting.labels
    assert ours.valid.all()
    rate, reference = float(ours.reached.float().mean()), float(fooled.float().mean())
    assert network == "scaled" or 0.1 < rate < 1
    assert rate >= reference - 0.01, (rate, reference)
    if network != "scaled":
        assert rate <= reference + 0.01, (rate, reference)


def test_the_ratio_sees_through_large_logits(classes: Setting) -> None:
    """The cross-entropy of most images has no slope; the ratio does not change with the scale."""
    threat, rates = Linf(4 / 255), {}
    for factor in (1.0, 1e4):
        model = harness.wrap_model(Scaled(classes.module, factor).eval(), "classes")
        for loss in ("cross-entropy", "dlr", "targeted-dlr"):
            outcome = harness.attack(
                "apgd", model, classes.x, goal=classes.goal, threat=threat, loss=loss, steps=20
            )
            rates[factor, loss] = float(outcome.reached.float().mean())
    assert rates[1e4, "cross-entropy"] < rates[1e4, "dlr"] - 0.1
    assert rates[1e4, "dlr"] == pytest.approx(rates[1, "dlr"], abs=0.01)
    assert rates[1e4, "targeted-dlr"] == pytest.approx(rates[1, "targeted-dlr"], abs=0.01)
    assert rates[1, "targeted-dlr"] >= rates[1, "dlr"] - 0.01


def test_the_checkpoints_are_those_of_the_paper() -> None:
    """p_0 = 0, p_1 = .22, p_(j+1) = p_j + max(p_j - p_(j-1) - .03, .06): section 3.1."""
    shares = [0.0, 0.22]
    while shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06) <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    assert checkpoints(100) == {ceil(round(100 * share, 6)) for share in shares[1:]}
    assert checkpoints(1) == {1}


def test_the_ratios_are_those_of_the_paper() -> None:
    """Equations 5 and 6, written out for one image each."""
    outputs = torch.tensor([[2.0, 5.0, 1.0, 0.5, 3.0], [1.0, -1.0, 4.0, 0.0, 2.0]], dtype=torch.float64)
    labels, aim = torch.tensor([1, 4]), torch.tensor([4, 2])
    model = harness.wrap_model(nn.Flatten(), "classes")
    goal = Untargeted(labels).objective(model, outputs)
    plain, aimed = value_of(goal, "dlr", outputs), value_of(goal, "targeted-dlr", outputs, aim)
    for case, (own, other) in enumerate(zip(labels.tolist(), aim.tolist(), strict=True)):
        row = outputs[case].tolist()
        ranked = sorted(row, reverse=True)
        rival = max(value for place, value in enumerate(row) if place != own)
        assert plain[case].item() == pytest.approx(-(row[own] - rival) / (ranked[0] - ranked[2]))
        divisor = ranked[0] - (ranked[2] + ranked[3]) / 2
        assert aimed[case].item() == pytest.approx(-(row[own] - row[other]) / divisor)


@pytest.mark.parametrize("factor", [1.0, 1e4])
@pytest.mark.parametrize("loss", ["cross-entropy", "dlr", "targeted-dlr"])
def test_a_decision_between_two_values_has_the_margin(loss: Any, factor: float) -> None:
    """Of an attribute, and of two classes, for which the ratio is not defined; the entropy is softplus."""
    scores = factor * torch.tensor([[-1.5], [0.3], [2.0]])
    attributes = harness.wrap_model(nn.Flatten(), "attributes")
    flip = FlipAttribute(torch.zeros(3, dtype=torch.long)).objective(attributes, scores)
    pairs = torch.cat([torch.zeros(3, 1), scores], 1)
    model = harness.wrap_model(nn.Flatten(), "classes")
    leave = Untargeted((scores[:, 0] > 0).long()).objective(model, pairs)
    expected = flip.margin(scores)
    if loss == "cross-entropy":
        expected = F.cross_entropy(pairs, (scores[:, 0] > 0).long(), reduction="none")
    assert torch.allclose(value_of(flip, loss, scores), expected, atol=1e-6)
    assert torch.allclose(value_of(leave, loss, pairs), expected, atol=1e-6)


def test_targets_are_the_likeliest_classes(classes: Setting) -> None:
    objective = classes.goal.objective(classes.model, classes.model.scores(classes.x))
    handle = Handle(classes.model, len(classes.x)).focus(objective)
    found = aims(handle, classes.x, objective, 9)
    scores = classes.model.scores(classes.x)
    assert len(found) == 3, "three other classes"
    assert all((aim != classes.labels).all() for aim in found)
    likelihoods = [scores.gather(1, aim[:, None])[:, 0] for aim in found]
    assert (likelihoods[0] >= likelihoods[1]).all()
    assert (likelihoods[1] >= likelihoods[2]).all()


def test_a_named_class_is_reached(classes: Setting) -> None:
    towards = (classes.labels + 1) % 4
    for loss in ("cross-entropy", "dlr", "targeted-dlr", "margin"):
        outcome = harness.attack(
            "apgd", classes.model, classes.x, goal=Targeted(towards, classes.labels), threat=L2(2.0),
            loss=loss, steps=15,
        )  # fmt: skip
        assert outcome.reached.float().mean() > 0.95, loss
        assert (classes.model.scores(outcome.adversarials).argmax(1) == towards)[outcome.reached].all()


@pytest.mark.parametrize("threat", [Linf(6 / 255), L2(0.5)], ids=lambda threat: threat.label)
def test_a_region_is_kept(joint: Setting, threat: Threat) -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:12, 4:14] = True
    limited = Region(mask, norm=threat.norm, eps=threat.eps)
    outcome = harness.attack("apgd", joint.model, joint.x, goal=joint.goal, threat=limited, steps=10)
    assert outcome.valid.all()
    anywhere = harness.attack("apgd", joint.model, joint.x, goal=joint.goal, threat=threat, steps=10)
    assert 0.05 < outcome.reached.float().mean() < anywhere.reached.float().mean()


def test_more_restarts_and_all_steps(joint: Setting) -> None:
    """A case is not lost again; without early stopping every case makes all steps of all runs."""
    threat, options = Linf(3 / 255), {"steps": 5, "restarts": 3}
    early = harness.attack("apgd", joint.model, joint.x, goal=joint.goal, threat=threat, **options)
    long = harness.attack(
        "apgd", joint.model, joint.x, goal=joint.goal, threat=threat, early_stop=False, **options
    )
    once = harness.attack("apgd", joint.model, joint.x, goal=joint.goal, threat=threat, steps=5)
    assert torch.equal(early.reached, long.reached)
    assert (once.reached & ~early.reached).sum() == 0
    assert (long.backwards == 15).all()
    assert (early.backwards[~early.reached] == 15).all()
    assert (early.backwards[early.reached] <= 15).all()
    assert early.backwards.float().mean() < 15
    assert (once.forwards[~once.reached] >= 6).all()


def test_steps_shrink_to_the_highest_point() -> None:
    """Inside a wide budget the value has a peak; halved steps come near it, and steps of 2 eps cannot."""

    class Peak(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -1 - (x - 0.53).flatten(1).square().sum(1, keepdim=True)

    model: Model = harness.wrap_model(Peak(), "attributes")
    x, goal = torch.full((2, 3, 4, 4), 0.5), FlipAttribute(torch.zeros(2, dtype=torch.long))
    for threat in (Linf(0.2, levels=None), L2(1.0, levels=None)):
        outcome = harness.attack(apgd, model, x, goal=goal, threat=threat, loss="margin", steps=60)
        assert (outcome.adversarials - 0.53).abs().max() < 0.01
