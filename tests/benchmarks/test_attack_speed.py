"""PGD against the bare passes that it cannot do without, and against ART and Foolbox at equal work.

pytest tests/benchmarks/test_attack_speed.py --benchmark-only --benchmark-columns=min,median
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import Untargeted
from harness.model import Handle
from harness.randomness import CaseRandom
from harness.threat import Linf
from harness_attacks.pgd import pgd

CASES, SIDE, CLASSES, STEPS = 64, 64, 10, 5
EPS = 8 / 255
STEP = 2 / 255

pytestmark = pytest.mark.slow


class QuarterVgg(nn.Sequential):
    """VGG-16 at a quarter of its width."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in ((16, 2), (32, 2), (64, 3), (128, 3), (128, 3)):
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        super().__init__(*layers, nn.Flatten(), nn.Linear(channels * (SIDE // 32) ** 2, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous(memory_format=torch.channels_last))


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return QuarterVgg().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def x() -> Tensor:
    draws = torch.rand(CASES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return torch.round(draws * 255) / 255


@pytest.fixture(scope="module")
def labels(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module(x).argmax(1)


def measure(benchmark: Any, work: Any) -> Any:
    benchmark.group = f"{STEPS} steps of PGD, {CASES} images"
    return benchmark.pedantic(work, rounds=3, iterations=1, warmup_rounds=1)


def bare_passes(module: nn.Module, x: Tensor, labels: Tensor) -> None:
    """One forward and one backward pass per step, and the forward pass of the last image."""
    for _ in range(STEPS):
        start = x.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(module(start), labels, reduction="sum"), start)
    with torch.no_grad():
        module(x)


def ours(module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    model = harness.wrap_model(module, "classes")
    objective = Untargeted(labels).objective(model, F.one_hot(labels, CLASSES).float())
    rng = CaseRandom(0, [str(case) for case in range(len(x))])
    return pgd(
        Handle(model, len(x)), x, objective, Linf(EPS), rng=rng, steps=STEPS, step_size=STEP, early_stop=False
    )


def test_bare_passes(benchmark: Any, module: nn.Module, x: Tensor, labels: Tensor) -> None:
    measure(benchmark, lambda: bare_passes(module, x, labels))


def test_ours(benchmark: Any, module: nn.Module, x: Tensor, labels: Tensor) -> None:
    x_adv = measure(benchmark, lambda: ours(module, x, labels))
    assert (x_adv - x).abs().max() <= EPS + 1e-6


def test_art(benchmark: Any, module: nn.Module, x: Tensor, labels: Tensor) -> None:
    estimators = pytest.importorskip("art.estimators.classification")
    attacks = pytest.importorskip(
        "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch"
    )
    classifier = estimators.PyTorchClassifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=(3, SIDE, SIDE),
        nb_classes=CLASSES,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = attacks.ProjectedGradientDescentPyTorch(
        classifier,
        norm=np.inf,
        eps=EPS,
        eps_step=STEP,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=CASES,
        verbose=False,
    )
    images, targets = x.numpy(), F.one_hot(labels, CLASSES).numpy()
    measure(benchmark, lambda: attack.generate(images, targets))


def test_foolbox(benchmark: Any, module: nn.Module, x: Tensor, labels: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
        foolbox = pytest.importorskip("foolbox")
    model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=STEP, steps=STEPS)
    measure(benchmark, lambda: attack(model, x, labels, epsilons=EPS))
