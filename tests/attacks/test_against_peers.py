"""The same network, images and budgets given to ART, to Foolbox and to loops in textbook form."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import FlipAttribute, Untargeted
from harness.handle import Handle
from harness.threat import L2, Linf, Minimal, Threat
from harness_attacks.ffa import downhill, ffa
from harness_attacks.fgs import fgs
from harness_attacks.pgd import pgd

FloatArray = npt.NDArray[np.float32]
FURTHEST = 63  # 8-bit levels; every case flips before


@pytest.fixture(scope="module")
def foolbox() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
        return pytest.importorskip("foolbox")


def two_logits(module: nn.Module) -> nn.Module:
    """The classifier (absent, present) whose cross-entropy is the logistic loss of a score (B, 1)."""

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = module

        def forward(self, x: Tensor) -> Tensor:
            return F.pad(self.score(x), (1, 0))

    return Logits().eval()


def art_classifier(module: nn.Module, classes: int) -> Any:
    estimators = pytest.importorskip("art.estimators.classification")
    return estimators.PyTorchClassifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=(3, 16, 16),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def decided(module: nn.Module, images: Tensor) -> Tensor:
    """Classes (N,) of the images as they would be stored."""
    with torch.no_grad():
        return module(torch.round(images * 255) / 255).argmax(1)


# --- the line search in textbook form: one image, plain numbers -------------------------------------------


def textbook_steps(flips: Callable[[float], bool], last: float) -> tuple[float, float] | None:
    """The section (previous eps, eps] in which the doubling steps first flip the image."""
    eps, step = 0.0, 1.0
    while eps < last:
        previous, eps = eps, min(eps + step, last)
        if flips(eps):
            return previous, eps
        step *= 2
    return None


def textbook_integer_search(flips: Callable[[float], bool], last: int) -> int | None:
    section = textbook_steps(flips, last)
    if section is None:
        return None
    low, high = (int(end) for end in section)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if flips(middle) else (middle, high)
    return high


def textbook_real_search(
    image: Callable[[float], FloatArray], flips: Callable[[float], bool], last: float
) -> float | None:
    """Halves until no other image is found between the ends, which float64 can tell apart for long."""
    section = textbook_steps(flips, last)
    if section is None:
        return None
    low, high = section
    for _ in range(45):
        if np.abs(image(high) - image(low)).sum() <= 1:
            break
        middle = (low + high) / 2
        low, high = (low, middle) if flips(middle) else (middle, high)
    return high


# --- FGS ------------------------------------------------------------------------------------------------


def test_fgs_direction_and_smallest_step(classes: Any, foolbox: Any) -> None:
    """Foolbox's image at every whole eps; the search over its decisions must end where ours does.

    Ours reports the boundary inside the section at which the doubling steps overstep. Where a case flips at
    some eps and stays flipped, that is the smallest eps of all, which ART's linear search must find too.
    """
    module, x, labels = classes.module, classes.x, classes.labels
    peer = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    epsilons = [eps / 255 for eps in range(1, FURTHEST + 1)]
    images, _, _ = attack(peer, x, labels, epsilons=epsilons)
    flips = torch.stack([decided(module, image) != labels for image in images], 1)  # (N, 63)
    right = decided(module, x) == labels
    assert right.sum() >= 100

    outcome = harness.attack(fgs, classes.model, x, goal=classes.goal, threat=Linf(FURTHEST / 255))
    ours = (torch.tensor(outcome.distances["linf"].to_numpy()) * 255).round().long()

    art = pytest.importorskip("art.attacks.evasion")
    minimal = art.FastGradientMethod(
        art_classifier(module, 4), eps=FURTHEST / 255, eps_step=1 / 255, minimal=True, batch_size=len(x)
    )
    found = minimal.generate(x.numpy(), F.one_hot(labels, 4).numpy())
    smallest = torch.tensor(np.abs(found - x.numpy()).max((1, 2, 3)) * 255).round().long()

    monotone = 0
    for case in torch.nonzero(right).flatten().tolist():
        row = flips[case]
        expected = textbook_integer_search(lambda eps, row=row: bool(row[int(eps) - 1]), FURTHEST)
        assert expected is not None
        assert ours[case] == expected
        assert torch.allclose(outcome.adversarials[case], images[expected - 1][case], atol=1e-6)
        first = int(row.int().argmax()) + 1
        if row[first - 1 :].all():
            monotone += 1
            assert ours[case] == first == smallest[case]
    assert monotone >= 90


# --- PGD ------------------------------------------------------------------------------------------------

BUDGETS = [Linf(3 / 255), Linf(6 / 255), L2(0.2), L2(0.45)]


@pytest.mark.parametrize("threat", BUDGETS, ids=lambda threat: threat.label)
@pytest.mark.parametrize("network", ["classes", "single"])
def test_pgd_success(network: str, threat: Threat, foolbox: Any, request: pytest.FixtureRequest) -> None:
    """Within one point of both, from the original, with equal steps, step size and loss."""
    setting = request.getfixturevalue(network)
    steps, size, count = 15, threat.eps / 5, 4 if network == "classes" else 2
    x, labels = setting.x, setting.labels.long()
    module = setting.module if network == "classes" else two_logits(setting.module)

    def reaches(images: Tensor) -> Tensor:
        return decided(module, threat.settle(images, x)) != labels

    ours = harness.attack(
        pgd,
        harness.wrap_model(module, "classes"),
        x,
        goal=Untargeted(labels),
        threat=threat,
        steps=steps,
        step_size=size,
        random_start=False,
        early_stop=False,
        loss="training",
    )
    assert ours.valid.all()

    attack = {
        "linf": foolbox.attacks.LinfProjectedGradientDescentAttack,
        "l2": foolbox.attacks.L2ProjectedGradientDescentAttack,
    }[threat.norm](abs_stepsize=size, steps=steps, random_start=False)
    peer = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
    theirs, _, _ = attack(peer, x, labels, epsilons=threat.eps)

    name = "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch"
    generated = (
        pytest.importorskip(name)
        .ProjectedGradientDescentPyTorch(
            art_classifier(module, count),
            norm=np.inf if threat.norm == "linf" else 2,
            eps=threat.eps,
            eps_step=size,
            max_iter=steps,
            num_random_init=0,
            batch_size=len(x),
            verbose=False,
        )
        .generate(x.numpy(), F.one_hot(labels, count).numpy())
    )

    rates = [
        success.float().mean().item()
        for success in (ours.success, reaches(theirs), reaches(torch.tensor(generated)))
    ]
    assert len(x) >= 100
    assert 0.1 < rates[0] < 1  # a budget at which all succeed would show nothing
    assert max(rates) - min(rates) <= 0.01, rates


@pytest.mark.parametrize("threat", BUDGETS[:2] + BUDGETS[3:], ids=lambda threat: threat.label)
def test_pgd_of_an_attribute_is_pgd_of_two_logits(single: Any, threat: Threat) -> None:
    """A single score under the logistic loss, and the classifier of two logits with cross-entropy."""
    params = {"steps": 10, "random_start": False, "early_stop": False, "loss": "training"}
    logistic = harness.wrap_model(single.module, "attributes", training_loss=lambda f, y: F.softplus(-y * f))
    as_attribute = harness.attack(
        pgd, logistic, single.x, goal=FlipAttribute(single.columns), threat=threat, **params
    )
    decisions = (logistic.scores(single.x)[:, 0] > 0).long()
    pair = harness.wrap_model(two_logits(single.module), "classes")
    as_class = harness.attack(pgd, pair, single.x, goal=Untargeted(decisions), threat=threat, **params)
    assert (as_attribute.success == as_class.success).float().mean() >= 0.99
    # A gradient's last bits decide signs where it is all but 0.
    same = (as_attribute.adversarials - as_class.adversarials).abs() < 1e-6
    assert same.float().mean() > 0.99


# --- FFA ------------------------------------------------------------------------------------------------


def published_objective(setting: Any, target_at: Tensor, x: Tensor, case: int) -> Tensor:
    """1/2 ||t - f(x)||^2 (eq. 8-9) with t of the image ``target_at``, written out for one image."""

    def answers(image: Tensor) -> Tensor:
        if hasattr(setting.module, "pairs"):
            return setting.module.pairs(image[None])[0, setting.columns[case]]
        return setting.module(image[None])[0]

    with torch.no_grad():
        target = answers(target_at).clone()
    zeroed = int(target.argmax()) if hasattr(setting.module, "pairs") else int(setting.columns[case])
    target[zeroed] = 0
    return ((target - answers(x)) ** 2).sum() / 2


@pytest.mark.parametrize("network", ["single", "joint", "softmax"])
def test_ffa_image_by_image(network: str, request: pytest.FixtureRequest) -> None:
    """The same smallest step as a plain loop over one float32 image at a time, in 8-bit levels."""
    setting = request.getfixturevalue(network)
    outcome = harness.attack(ffa, setting.model, setting.x, goal=setting.goal, threat=Minimal("linf"))
    compared, alike = 0, 0
    for case in range(len(setting.x)):
        column = int(setting.columns[case])
        start = setting.x[case].clone().requires_grad_()
        published_objective(setting, setting.x[case], start, case).backward()
        assert start.grad is not None
        direction = -start.grad.numpy()
        direction = direction / np.abs(direction).max()
        grey = np.round(setting.x[case].numpy() * np.float32(255))

        def image(eps: float, grey: FloatArray = grey, direction: FloatArray = direction) -> FloatArray:
            return np.clip(np.round(grey + np.float32(eps) * direction), 0, 255)

        def present(eps: float, column: int = column, image: Any = image) -> bool:
            with torch.no_grad():
                return setting.module(torch.tensor(image(eps) / np.float32(255))[None])[0, column].item() > 0

        before = present(0)
        eps = textbook_real_search(image, lambda eps: present(eps) != before, 2.0**20 - 1)  # noqa: B023
        if eps is None:
            assert not outcome.reached[case]
            continue
        compared += 1
        levels = np.abs(np.round(outcome.adversarials[case].numpy() * 255) - image(eps)).sum()
        # The last bits of a float32 score may move the boundary by one component.
        assert levels <= 2
        alike += int(levels == 0)
    assert compared >= 100
    assert alike >= 0.95 * compared


@pytest.mark.parametrize("network", ["single", "joint", "softmax"])
def test_ffa_descends_the_published_objective(network: str, request: pytest.FixtureRequest) -> None:
    """Against central differences in float64, at the largest components of each gradient."""
    setting = request.getfixturevalue(network).first(6)
    objective = setting.goal.objective(setting.model, setting.model.scores(setting.x))
    handle = Handle(setting.model, 6).focus(objective)
    with harness.model.frozen(setting.module):
        gradient = -downhill(handle, setting.x, objective)[1].flatten(1)
    setting.module.double()
    try:
        for case in range(6):
            for component in gradient[case].abs().topk(5).indices.tolist():
                shift = torch.zeros(3 * 16 * 16, dtype=torch.float64)
                shift[component] = 1e-6
                x, shift = setting.x[case].double(), shift.view(3, 16, 16)
                with torch.no_grad():
                    above = published_objective(setting, x, x + shift, case)
                    below = published_objective(setting, x, x - shift, case)
                assert gradient[case, component].item() == pytest.approx(
                    ((above - below) / 2e-6).item(), rel=1e-3
                )
    finally:
        setting.module.float()
