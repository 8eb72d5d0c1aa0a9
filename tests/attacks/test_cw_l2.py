"""CW-L2 against a plain loop, Foolbox and ART, and on every head."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import Evade, Impersonate, Targeted
from harness.threat import Linf, Minimal
from harness_attacks.cw_l2 import cw_l2
from harness_attacks.pgd import pgd
from tests.attacks.conftest import Setting

REAL = Minimal("l2", levels=None)
"""Judged as it is: peers do not round."""


@pytest.fixture(scope="module")
def foolbox() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
        return pytest.importorskip("foolbox")


def distances(outcome: Any) -> Tensor:
    return torch.tensor(outcome.distances["l2"].to_numpy())


def art_classifier(setting: Setting) -> Any:
    return pytest.importorskip("art.estimators.classification").PyTorchClassifier(
        model=setting.module,
        loss=nn.CrossEntropyLoss(),
        input_shape=(3, 16, 16),
        nb_classes=4,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def fooled(setting: Setting, images: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) success in float32, and the L2 distance."""
    with torch.no_grad():
        success = setting.module(images).argmax(1) != setting.labels
    return success, torch.linalg.vector_norm((images - setting.x).flatten(1), dim=1)


@pytest.mark.slow
def test_as_strong_as_the_peers_with_equal_budgets_and_iterations(slender: Setting, foolbox: Any) -> None:
    """PGD's success within one point of ART and Foolbox; CW-L2's mean L2 at most 1.02 times the best."""
    evasion = pytest.importorskip("art.attacks.evasion")
    x, labels = slender.x, slender.labels
    peer = foolbox.PyTorchModel(slender.module, bounds=(0, 1), device="cpu")
    targets = F.one_hot(labels, 4).numpy()
    classifier = art_classifier(slender)
    right = slender.model.scores(x).argmax(1) == labels
    assert right.sum() >= 100

    steps, eps, size = 40, 4 / 255, 1 / 255
    ours = harness.attack(
        pgd,
        slender.model,
        x,
        goal=slender.goal,
        threat=Linf(eps, levels=None),
        steps=steps,
        step_size=size,
        early_stop=False,
    )
    torch.manual_seed(0)
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=size, steps=steps)
    by_foolbox = attack(peer, x, labels, epsilons=eps)[1]
    name = "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch"
    by_art = pytest.importorskip(name).ProjectedGradientDescentPyTorch(
        classifier,
        norm=np.inf,
        eps=eps,
        eps_step=size,
        max_iter=steps,
        num_random_init=1,
        batch_size=len(x),
        verbose=False,
    )
    images = (ours.adversarials, by_foolbox, torch.from_numpy(by_art.generate(x.numpy(), targets)))
    rates = [fooled(slender, each)[0].float().mean().item() for each in images]
    assert 0.3 < rates[0] < 1, "a budget at which all succeed would show nothing"
    assert rates[0] >= max(rates) - 0.01, rates

    settings = {"searches": 3, "iterations": 60, "learning_rate": 0.01, "initial_constant": 0.01}
    settings["warm_up"] = 0
    mine = harness.attack("cw-l2", slender.model, x, goal=slender.goal, threat=REAL, rescues=0, **settings)
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=3, steps=60, stepsize=0.01, initial_const=0.01
    )
    theirs = attack(peer, x, labels, epsilons=None)[1]
    art_cw = evasion.CarliniL2Method(
        classifier,
        binary_search_steps=3,
        max_iter=60,
        learning_rate=0.01,
        initial_const=0.01,
        batch_size=len(x),
        verbose=False,
    )
    generated = torch.from_numpy(art_cw.generate(x.numpy(), targets))
    results = [fooled(slender, each) for each in (mine.adversarials, theirs, generated)]
    # ART's searches end without success on the harder half: means over what each reached would favour it.
    reached = [success.float().mean().item() for success, _ in results]
    assert reached[0] == 1.0
    all_did = right & results[0][0] & results[1][0] & results[2][0]
    assert all_did.sum() >= 30
    both_did = right & results[1][0]
    means = [float(distance[all_did].mean()) for _, distance in results]
    print(f"PGD success {rates}; CW-L2 success {reached}, mean L2 where all succeeded {means}")
    assert means[0] <= 1.02 * min(means), means
    assert results[0][1][both_did].mean() <= 1.02 * results[1][1][both_did].mean()


# --- the published loop -----------------------------------------------------------------------------------


def plain_cw(
    setting: Setting, case: int, searches: int, iterations: int, rate: float, constant: float
) -> Tensor:
    """One image, autograd through tanh and torch's own Adam."""
    x, label = setting.x[case : case + 1], int(setting.labels[case])
    start = torch.atanh((x * 2 - 1) * 0.999999)
    best, nearest = x, float("inf")
    low, high = 0.0, float("inf")
    for _ in range(searches):
        moved = torch.zeros_like(x, requires_grad=True)
        adam = torch.optim.Adam([moved], rate)
        reached = False
        for _ in range(iterations):
            image = (torch.tanh(start + moved) + 1) / 2
            logits = setting.module(image)[0]
            others = torch.cat([logits[:label], logits[label + 1 :]]).max()
            squared = (image - x).square().sum()
            if others > logits[label]:
                reached = True
                if float(squared.detach()) < nearest:
                    best, nearest = image.detach(), float(squared.detach())
            adam.zero_grad()
            (squared + constant * (logits[label] - others).clamp_min(0)).backward()
            adam.step()
        low, high = (low, min(high, constant)) if reached else (max(low, constant), high)
        constant = constant * 10 if high == float("inf") else (low + high) / 2
    return best[0]


def test_the_loop_is_the_published_one(classes: Setting) -> None:
    cases = classes.first(24)
    outcome = harness.attack(
        cw_l2,
        cases.model,
        cases.x,
        goal=cases.goal,
        threat=REAL,
        warm_up=0,
        searches=4,
        iterations=30,
        initial_constant=0.05,
        abort_early=False,
        rescues=0,
        polish=0,
    )
    right = cases.model.scores(cases.x).argmax(1) == cases.labels
    compared = 0
    for case in torch.nonzero(right).flatten().tolist():
        expected = plain_cw(cases, case, 4, 30, 0.01, 0.05)
        compared += int((expected != cases.x[case]).any())
        assert torch.allclose(outcome.adversarials[case], expected, atol=2e-4)
        far = torch.linalg.vector_norm(expected - cases.x[case])
        assert distances(outcome)[case].item() == pytest.approx(float(far), rel=5e-3, abs=1e-5)
    assert compared >= 20


# --- heads ------------------------------------------------------------------------------------------------


class Embedding(nn.Module):
    """(B, 3, 16, 16) to (B, 8)."""

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(3)
        self.register_buffer("weight", torch.randn(8, 768, generator=draws) / 28)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh((x.flatten(1) - 0.5) @ self.weight.T)  # type: ignore[operator]


@pytest.mark.parametrize("network", ["single", "joint", "softmax"])
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_flips_attributes_of_every_kind(network: str, compute: Any, request: pytest.FixtureRequest) -> None:
    setting = request.getfixturevalue(network).first(40)
    outcome = harness.attack(
        "cw-l2",
        setting.model,
        setting.x,
        goal=setting.goal,
        threat=Minimal("l2"),
        compute=compute,
        iterations=60,
    )
    assert outcome.success.all()
    before, after = setting.model.scores(setting.x), setting.model.scores(outcome.adversarials)
    columns = setting.columns[:, None]
    assert ((before.gather(1, columns) > 0) != (after.gather(1, columns) > 0)).all()


def test_reaches_named_classes(classes: Setting) -> None:
    wanted = (classes.labels + 1) % 4
    outcome = harness.attack(
        "cw-l2", classes.model, classes.x, goal=Targeted(wanted), threat=Minimal("l2"), iterations=60
    )
    assert (classes.model.scores(outcome.adversarials).argmax(1) == wanted).all()
    assert outcome.success.all()


@pytest.mark.parametrize("towards", [True, False])
def test_verification_against_distances_to_a_ball(towards: bool) -> None:
    draws = torch.Generator().manual_seed(4)
    x = torch.round((0.3 + 0.4 * torch.rand(12, 3, 16, 16, generator=draws)) * 255) / 255
    model = harness.wrap_model(Embedding(), "embedding", threshold=0.4)
    own = model.scores(x)
    anchors = own.roll(1, 0) if towards else own + 0.05
    goal = Impersonate(anchors) if towards else Evade(anchors)
    outcome = harness.attack("cw-l2", model, x, goal=goal, threat=REAL, iterations=150)
    far = torch.linalg.vector_norm(model.scores(outcome.adversarials) - anchors, dim=1)
    assert outcome.success.all()
    assert ((far < 0.4) == towards).all()
    # No further than it must; some are there already.
    begun = outcome.backwards > 0
    assert begun.sum() >= 5
    assert (far - 0.4)[begun].abs().max() < 1e-3
