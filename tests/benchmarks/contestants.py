"""PGD and CW-L2 as this project and its peers make them, on one network, one batch and one budget.

Each gives the adversarials (B, 3, 64, 64), not rounded to 8 bits. A peer is imported where it is used:
torchattacks asks for a torchvision that it does not need here, and only `make bench` installs it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import Untargeted
from harness.specs import Compute
from harness.threat import Linf, Minimal
from tests.benchmarks.quarter_vgg import CLASSES, SIDE, Setting

Work = Callable[[], Tensor]
EPS, STEP = 1 / 255, 0.25 / 255
RATE, CONSTANT = 0.01, 0.01


def bare_passes(setting: Setting, compute: Compute = "float32") -> Work:
    """What PGD cannot do without: a forward and a backward pass per step, and the last image's forward.

    In bfloat16 the steps are made with channels last, which is quickest, and the last image in float32.
    """
    coarse = compute == "bfloat16"
    layout = torch.channels_last if coarse else torch.contiguous_format

    def work() -> Tensor:
        for _ in range(setting.sizes.steps):
            start = setting.x.detach().contiguous(memory_format=layout).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=coarse):
                outputs = setting.module(start)
            loss = F.cross_entropy(outputs.float(), setting.labels, reduction="sum")
            torch.autograd.grad(loss, start)
        with torch.no_grad():
            setting.module(setting.x)
        return setting.x

    return work


def our_pgd(setting: Setting, compute: Compute = "float32") -> Work:
    """With the clean answers and the judge's, two forward passes that peers do not make."""
    attacked = pgd_outcome(setting, compute)
    return lambda: attacked().adversarials


def pgd_outcome(setting: Setting, compute: Compute = "float32") -> Callable[[], harness.Outcome]:
    """The whole outcome; its ``seconds`` are of the attack alone."""
    model, goal = harness.wrap_model(setting.module, "classes"), Untargeted(setting.labels)
    settings: dict[str, Any] = {"steps": setting.sizes.steps, "step_size": STEP, "early_stop": False}
    threat = Linf(EPS, levels=None)
    return lambda: harness.attack(
        "pgd", model, setting.x, goal=goal, threat=threat, compute=compute, **settings
    )


def our_cw(setting: Setting, compute: Compute = "float32") -> Work:
    model, goal = harness.wrap_model(setting.module, "classes"), Untargeted(setting.labels)
    settings: dict[str, Any] = {
        "searches": setting.sizes.searches,
        "iterations": setting.sizes.iterations,
        "learning_rate": RATE,
        "initial_constant": CONSTANT,
        "rescues": 0,
        "warm_up": 0,
    }
    threat = Minimal("l2", levels=None)
    return lambda: (
        harness.attack(
            "cw-l2", model, setting.x, goal=goal, threat=threat, compute=compute, **settings
        ).adversarials
    )


def _foolbox(module: nn.Module) -> tuple[Any, Any]:
    with _quiet():
        import foolbox

        return foolbox, foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")


def foolbox_pgd(setting: Setting) -> Work:
    foolbox, model = _foolbox(setting.module)
    steps = setting.sizes.steps
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=STEP, steps=steps)
    return lambda: attack(model, setting.x, setting.labels, epsilons=EPS)[1]


def foolbox_cw(setting: Setting) -> Work:
    foolbox, model = _foolbox(setting.module)
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=setting.sizes.searches,
        steps=setting.sizes.iterations,
        stepsize=RATE,
        initial_const=CONSTANT,
    )
    return lambda: attack(model, setting.x, setting.labels, epsilons=None)[1]


def _art(module: nn.Module) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=(3, SIDE, SIDE),
        nb_classes=CLASSES,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def art_pgd(setting: Setting) -> Work:
    from art.attacks.evasion.projected_gradient_descent import projected_gradient_descent_pytorch as attacks

    attack = attacks.ProjectedGradientDescentPyTorch(
        _art(setting.module),
        norm=np.inf,
        eps=EPS,
        eps_step=STEP,
        max_iter=setting.sizes.steps,
        num_random_init=1,
        batch_size=setting.sizes.cases,
        verbose=False,
    )
    return _from_arrays(attack, setting)


def art_cw(setting: Setting) -> Work:
    from art.attacks.evasion import CarliniL2Method

    attack = CarliniL2Method(
        _art(setting.module),
        binary_search_steps=setting.sizes.searches,
        max_iter=setting.sizes.iterations,
        learning_rate=RATE,
        initial_const=CONSTANT,
        batch_size=setting.sizes.cases,
        verbose=False,
    )
    return _from_arrays(attack, setting)


def _from_arrays(attack: Any, setting: Setting) -> Work:
    images, targets = setting.x.numpy(), F.one_hot(setting.labels, CLASSES).numpy()
    return lambda: torch.from_numpy(attack.generate(images, targets))


def torchattacks_pgd(setting: Setting) -> Work:
    import torchattacks

    steps = setting.sizes.steps
    attack = torchattacks.PGD(setting.module, eps=EPS, alpha=STEP, steps=steps, random_start=True)
    return lambda: attack(setting.x, setting.labels)


def torchattacks_cw(setting: Setting) -> Work:
    """It has one constant, and no search for it: a third of the work of the others."""
    import torchattacks

    attack = torchattacks.CW(setting.module, c=1, kappa=0, steps=setting.sizes.iterations, lr=RATE)
    return lambda: attack(setting.x, setting.labels)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
        yield


def distances(setting: Setting, x_adv: Tensor) -> Tensor:
    """(CASES,) the L2 of each adversarial; infinite where it does not succeed in float32."""
    with torch.no_grad():
        fooled = setting.module(x_adv).argmax(1) != setting.labels
    distance = torch.linalg.vector_norm((x_adv - setting.x).flatten(1), dim=1)
    return torch.where(fooled, distance, torch.inf)
