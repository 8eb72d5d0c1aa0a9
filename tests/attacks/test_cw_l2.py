"""CW-L2 against a plain loop, Foolbox and ART; on every head; and what this project adds to it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.catalog import catalog
from harness.goals import Evade, FlipAttribute, Impersonate, Targeted, Untargeted
from harness.threat import L2, Linf, Minimal, Region
from harness_attacks.costs import passes_of_cw
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
def test_as_strong_as_the_peers_with_equal_budgets_and_iterations(classes: Setting, foolbox: Any) -> None:
    """PGD's success within one point of ART and Foolbox; CW-L2's mean L2 at most 1.02 times the best."""
    evasion = pytest.importorskip("art.attacks.evasion")
    x, labels = classes.x, classes.labels
    peer = foolbox.PyTorchModel(classes.module, bounds=(0, 1), device="cpu")
    targets = F.one_hot(labels, 4).numpy()
    classifier = art_classifier(classes)
    right = classes.model.scores(x).argmax(1) == labels
    assert right.sum() >= 100

    steps, eps, size = 40, 4 / 255, 1 / 255
    ours = harness.attack(
        pgd,
        classes.model,
        x,
        goal=classes.goal,
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
    rates = [fooled(classes, each)[0].float().mean().item() for each in images]
    assert 0.3 < rates[0] < 1, "a budget at which all succeed would show nothing"
    assert rates[0] >= max(rates) - 0.01, rates

    settings = {"searches": 3, "iterations": 100, "learning_rate": 0.01, "initial_constant": 0.01}
    mine = harness.attack("cw-l2", classes.model, x, goal=classes.goal, threat=REAL, rescues=0, **settings)
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=3, steps=100, stepsize=0.01, initial_const=0.01
    )
    theirs = attack(peer, x, labels, epsilons=None)[1]
    art_cw = evasion.CarliniL2Method(
        classifier,
        binary_search_steps=3,
        max_iter=100,
        learning_rate=0.01,
        initial_const=0.01,
        batch_size=len(x),
        verbose=False,
    )
    generated = torch.from_numpy(art_cw.generate(x.numpy(), targets))
    results = [fooled(classes, each) for each in (mine.adversarials, theirs, generated)]
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


# --- what is promised beside ------------------------------------------------------------------------------


def test_an_image_that_is_there_already_stays(classes: Setting) -> None:
    wrong = Untargeted((classes.model.scores(classes.x).argmax(1) + 1) % 4)
    outcome = harness.attack("cw-l2", classes.model, classes.x, goal=wrong, threat=REAL)
    assert torch.equal(outcome.adversarials, classes.x)
    assert (outcome.forwards == 1).all()
    assert (outcome.backwards == 0).all()


@pytest.mark.parametrize("polish", [0, 10])
@pytest.mark.parametrize("kappa", [0.5, 1.0])
def test_confidence_is_a_margin(classes: Setting, kappa: float, polish: int) -> None:
    settings: dict[str, Any] = {"goal": classes.goal, "threat": REAL, "iterations": 80, "polish": polish}
    sure = harness.attack("cw-l2", classes.model, classes.x, confidence=kappa, **settings)
    objective = classes.goal.objective(classes.model, classes.model.scores(classes.x))
    margins = objective.margin(classes.model.scores(sure.adversarials))
    assert sure.success.all()
    assert margins.min() >= kappa - 1e-5
    if polish:  # to where the margin is no larger than it must be
        assert margins[objective.correct].median() < kappa + 0.01
    plain = harness.attack("cw-l2", classes.model, classes.x, **settings)
    begun = objective.correct
    assert distances(plain)[begun].mean() < distances(sure)[begun].mean()


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", ["classes", "joint", "softmax"])
def test_polished_images_have_the_confidence_after_rounding(
    network: str, compute: Any, request: pytest.FixtureRequest
) -> None:
    setting = request.getfixturevalue(network).first(40)
    outcome = harness.attack(
        "cw-l2",
        setting.model,
        setting.x,
        goal=setting.goal,
        threat=Minimal("l2"),
        compute=compute,
        iterations=60,
        confidence=0.5,
    )
    objective = setting.goal.objective(setting.model, setting.model.scores(setting.x))
    assert outcome.success.all()
    assert objective.margin(setting.model.scores(outcome.adversarials)).min() >= 0.5


def test_nothing_outside_the_region_changes(classes: Setting) -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:14, 4:12] = True
    each = torch.zeros(len(classes.x), 1, 16, 16, dtype=torch.bool)
    each[::2, :, 1:13, 1:13] = True
    each[1::2, :, 3:15, 2:15] = True
    for region in (mask, each):
        outcome = harness.attack(
            "cw-l2",
            classes.model,
            classes.x,
            goal=classes.goal,
            threat=Region(region, norm="l2"),
            iterations=60,
        )
        assert outcome.valid.all()
        assert outcome.success.float().mean() > 0.95
        changed = (outcome.adversarials != classes.x).any(1, keepdim=True)
        assert not (changed & ~region).any()


def test_cases_that_come_to_rest_leave(classes: Setting) -> None:
    settings: dict[str, Any] = {"goal": classes.goal, "threat": REAL, "iterations": 100, "rescues": 0}
    early = harness.attack("cw-l2", classes.model, classes.x, **settings)
    late = harness.attack("cw-l2", classes.model, classes.x, abort_early=False, **settings)
    begun = late.backwards > 0
    assert (late.backwards[begun] >= 300).all()
    assert early.backwards[begun].float().mean() < 200
    assert early.backwards[begun].unique().numel() > 5  # each when it is ready
    assert distances(early)[begun].mean() <= 1.01 * distances(late)[begun].mean()


@pytest.mark.parametrize(("chosen", "steps"), [({}, 10), ({"checks": 4}, 50), ("paper", 20)])
def test_progress_is_checked_at_equal_intervals(classes: Setting, chosen: Any, steps: int) -> None:
    """Progress that no case makes ends each search at its second check; the paper preset has ten checks."""
    params = catalog().attacks["cw-l2"].spec.presets["paper"] if chosen == "paper" else chosen
    settings = {"searches": 1, "rescues": 0, "polish": 0, **params, "iterations": 100, "progress": 1e-9}
    outcome = harness.attack("cw-l2", classes.model, classes.x, goal=classes.goal, threat=REAL, **settings)
    assert outcome.backwards[outcome.backwards > 0].unique().tolist() == [steps]


def test_rescues_reach_what_three_constants_do_not(classes: Setting) -> None:
    settings: dict[str, Any] = {"goal": classes.goal, "threat": REAL, "initial_constant": 1e-6}
    settings |= {"iterations": 60, "searches": 2}
    without = harness.attack("cw-l2", classes.model, classes.x, rescues=0, **settings)
    rescued = harness.attack("cw-l2", classes.model, classes.x, **settings)
    assert without.success.float().mean() < 0.2
    assert rescued.success.all()


def test_the_polish_brings_images_nearer(classes: Setting) -> None:
    settings: dict[str, Any] = {"goal": classes.goal, "iterations": 40}
    for threat in (REAL, Minimal("l2")):
        rough = harness.attack("cw-l2", classes.model, classes.x, threat=threat, polish=0, **settings)
        fine = harness.attack("cw-l2", classes.model, classes.x, threat=threat, **settings)
        both = rough.success & fine.success & (rough.forwards > 1)
        assert fine.success.all()
        assert both.sum() > 40
        assert (distances(fine)[both] <= distances(rough)[both] + 1e-5).float().mean() > 0.9
        assert distances(fine)[both].mean() < 0.99 * distances(rough)[both].mean()


def test_a_budget_bounds_what_counts(classes: Setting) -> None:
    outcome = harness.attack(
        "cw-l2", classes.model, classes.x, goal=classes.goal, threat=L2(0.2), iterations=60
    )
    assert (distances(outcome)[outcome.success] <= 0.2 + 1e-5).all()
    assert 0 < outcome.success.float().mean() < 1
    assert set(outcome.faults) == {"", "over the budget"}


def test_reduced_precision_costs_no_success(classes: Setting) -> None:
    settings: dict[str, Any] = {"goal": classes.goal, "threat": Minimal("l2"), "iterations": 60}
    exact = harness.attack("cw-l2", classes.model, classes.x, **settings)
    coarse = harness.attack("cw-l2", classes.model, classes.x, compute="bfloat16", **settings)
    assert exact.success.all()
    assert coarse.success.all()
    assert distances(coarse).mean() <= 1.02 * distances(exact).mean()


def test_an_attribute_of_several_alone_is_asked(joint: Setting) -> None:
    """The other scores may be anything: only the flipped one is bounded."""
    outcome = harness.attack(
        "cw-l2",
        joint.model,
        joint.x[:20],
        goal=FlipAttribute(joint.columns[:20]),
        threat=Minimal("l2"),
        iterations=60,
    )
    assert outcome.success.all()


def test_the_forecast_bounds_the_passes_of_every_polish(classes: Setting) -> None:
    settings: dict[str, Any] = {"searches": 1, "iterations": 5, "rescues": 0, "initial_constant": 10.0}
    for polish in (0, 1, 3):
        outcome = harness.attack(
            "cw-l2", classes.model, classes.x, goal=classes.goal, threat=REAL, polish=polish, **settings
        )
        forwards, backwards = passes_of_cw({**settings, "polish": polish})
        assert outcome.forwards.max() <= forwards
        assert outcome.backwards.max() <= backwards
