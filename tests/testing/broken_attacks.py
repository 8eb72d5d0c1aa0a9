"""Attacks that break one promise each, and the sound ones that they were made from."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.threat import l2


def unit(gradient: Tensor, norm: str | None) -> Tensor:
    """The direction (B, C, H, W) that climbs fastest; zero where there is none."""
    gradient = gradient.nan_to_num(0, 0, 0)
    if norm == "linf":
        return gradient.sign()
    return gradient / l2(gradient).clamp_min(1e-12).view(-1, 1, 1, 1)


def climb(model, x, objective, threat, *, rng, steps: int = 6, backwards: bool = False):
    """Sound, with a budget: steps that together cross the budget twice, and the best image of all."""
    model = model.focus(objective)
    x_adv, best = x, x.clone()
    most = torch.full((len(x),), -torch.inf)
    for _ in range(steps + 1):
        margin, gradient = model.gradient(x_adv, objective.margin)
        better = margin > most
        best[better], most[better] = x_adv[better], margin[better]
        step = 2 * threat.eps / steps * unit(gradient, threat.norm)
        x_adv = threat.project(x_adv - step if backwards else x_adv + step, x)
    return best


def ray(model, x, objective, threat, *, rng, beyond: float = 1.0, norm: str | None = None):
    """Sound, without a budget: the first image along the gradient, or its sign, that reaches the goal."""
    model = model.focus(objective)
    margin, gradient = model.gradient(x, objective.margin)
    direction = unit(gradient, norm or threat.norm)
    if threat.mask is not None:
        direction = direction * threat.mask
    low = torch.zeros(len(x))
    high = torch.full_like(low, 1.0 if threat.norm == "linf" else x[0].numel() ** 0.5 if len(x) else 0.0)

    def at(length: Tensor) -> Tensor:
        return (x + length.view(-1, 1, 1, 1) * direction).clamp(0, 1)

    for _ in range(24):
        middle = (low + high) / 2
        there = model.reaches(at(middle))
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
    found = model.reaches(at(high)) & ~(margin > 0)
    return torch.where(found.view(-1, 1, 1, 1), at(beyond * high), x)


def search(model, x, objective, threat, *, rng, draws: int = 30):
    """Sound, and sees scores only: random changes of sign, kept where the margin grows."""
    model = model.focus(objective)
    sign = rng.uniform(x.shape[1:], -1, 1).sign()
    most = torch.full((len(x),), -torch.inf)
    best = x.clone()
    for _ in range(draws):
        tried = torch.where(rng.uniform(x.shape[1:]) < 0.05, -sign, sign)
        x_adv = threat.project(x + threat.eps * tried, x)
        margin = objective.margin(model(x_adv))
        better = (margin > most).view(-1, 1, 1, 1)
        sign, best = torch.where(better, tried, sign), torch.where(better, x_adv, best)
        most = most.maximum(margin)
    return best


def corner(model, x, objective, threat, *, rng):
    """Sound, in a region of its own: black or white, whichever the gradient asks for."""
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return torch.where(threat.mask & (gradient != 0), (gradient > 0).float(), x)


def shared(model, x, objective, threat, *, rng, fit):
    """Sound, one change for all: the corner that the images to learn on want on average."""
    if not len(x):
        return x
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    wish = gradient[fit].nan_to_num().sign().sum(0, keepdim=True)
    return torch.where(threat.mask & (wish != 0), (wish > 0).float(), x)


def left_half(height, width):
    """A region."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[:, : width // 2] = True
    return mask


# --- broken: with a budget --------------------------------------------------------------------------------


def writes_to_its_input(model, x, objective, threat, *, rng):
    result = climb(model, x, objective, threat, rng=rng)
    x.copy_(result)
    return result


def changes_a_parameter(model, x, objective, threat, *, rng, marks: list[int] = [1]):  # noqa: B006
    marks.append(len(x))
    return climb(model, x, objective, threat, rng=rng)


def wakes_train_mode(model, x, objective, threat, *, rng):
    result = climb(model, x, objective, threat, rng=rng)
    model._model.module.train()
    return result


def changes_weights(model, x, objective, threat, *, rng):
    for parameter in model._model.module.parameters():
        parameter.data.mul_(0.5)
    return climb(model, x, objective, threat, rng=rng)


def leaves_hooks(model, x, objective, threat, *, rng):
    model._model.module.register_forward_hook(lambda *_: None)
    return climb(model, x, objective, threat, rng=rng)


def leaves_the_pixel_range(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return x + threat.eps * unit(gradient, threat.norm)


def exceeds_the_budget(model, x, objective, threat, *, rng):
    return (x + 1.2 * (climb(model, x, objective, threat, rng=rng) - x)).clamp(0, 1)


def takes_l2_for_linf(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return (x + threat.eps * gradient.sign()).clamp(0, 1)


def ignores_the_mask(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return (x + 0.9 * threat.eps * unit(gradient, threat.norm)).clamp(0, 1)


def ignores_whose_mask(model, x, objective, threat, *, rng):
    if threat.mask is not None and threat.mask.ndim == 4:
        threat = threat.take(torch.zeros(len(x), dtype=torch.long))
    return climb(model, x, objective, threat, rng=rng)


def fails_on_empty(model, x, objective, threat, *, rng):
    assert x.max() <= 1
    return climb(model, x, objective, threat, rng=rng)


def divides_by_the_batch(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return threat.project(x + threat.eps * gradient / gradient.norm().clamp_min(1e-12), x)


def draws_for_the_batch(model, x, objective, threat, *, rng):
    return threat.project(x + threat.eps * (2 * torch.rand_like(x) - 1), x)


def seeds_the_generators(model, x, objective, threat, *, rng):
    torch.manual_seed(0)
    return climb(model, x, objective, threat, rng=rng)


def draws_from_the_clock(model, x, objective, threat, *, rng):
    noise = torch.from_numpy(np.random.default_rng().random(x.shape, np.float32))
    return threat.project(x + threat.eps * (noise - 0.5), x)


def returns_bytes(model, x, objective, threat, *, rng):
    return (climb(model, x, objective, threat, rng=rng) * 255).byte()


def returns_the_first(model, x, objective, threat, *, rng):
    return climb(model, x, objective, threat, rng=rng)[:1]


def forgets_embeddings(model, x, objective, threat, *, rng):
    _ = objective.columns.sum() if model.head == "embedding" else None
    return climb(model, x, objective, threat, rng=rng)


def refuses_bfloat16(model, x, objective, threat, *, rng):
    if model.compute != "float32":
        raise TypeError("expected float")
    return climb(model, x, objective, threat, rng=rng)


def stops_early(model, x, objective, threat, *, rng):
    result = climb(model, x, objective, threat, rng=rng)
    return x + 0.8 * (result - x)


def goes_downhill(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return threat.project(x - threat.eps * unit(gradient, threat.norm), x)


def never_gives_up(model, x, objective, threat, *, rng):
    focused = model.focus(objective)
    x_adv = x
    for _ in iter(int, 1):
        x_adv = climb(model, x_adv, objective, threat, rng=rng)
        if focused.reaches(x_adv).all():
            break
    return x_adv


def divides_by_zero(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return threat.project(x + threat.eps * gradient / l2(gradient).view(-1, 1, 1, 1), x)


def loses_courage(model, x, objective, threat, *, rng):
    margin, _ = model.focus(objective).gradient(x, objective.margin)
    return climb(model, x, objective, threat, rng=rng) if margin.isfinite().all() else x


def follow(model, x, objective, threat, start, per_image: bool = True, towards: bool = True):
    """Sound from a start of its own: momentum of normalised gradients (MI-FGSM), ten steps."""
    model = model.focus(objective)
    x_adv, momentum = threat.project(start, x), torch.zeros_like(x)
    way = 1.0 if towards else torch.where(objective.ascend, 1.0, -1.0).view(-1, 1, 1, 1)
    for _ in range(10):
        _, gradient = model.gradient(x_adv, objective.margin)
        size = gradient.abs().flatten(1).mean(1).view(-1, 1, 1, 1) if per_image else gradient.abs().mean()
        momentum = momentum + gradient / size.clamp_min(1e-12)
        x_adv = threat.project(x_adv + way * 0.2 * threat.eps * unit(momentum, threat.norm), x)
    return x_adv


def random_start(model, x, objective, threat, *, rng):
    """Sound."""
    start = threat.project(x + threat.eps * rng.uniform(x.shape[1:], -1, 1), x)
    return follow(model, x, objective, threat, start)


def normalises_the_batch(model, x, objective, threat, *, rng):
    return follow(model, x, objective, threat, x, per_image=False)


def starts_from_torch(model, x, objective, threat, *, rng):
    return follow(model, x, objective, threat, x + threat.eps * (2 * torch.rand_like(x) - 1))


def starts_from_numpy(model, x, objective, threat, *, rng):
    noise = torch.from_numpy(np.random.rand(*x.shape).astype(np.float32))  # noqa: NPY002
    return follow(model, x, objective, threat, x + threat.eps * (2 * noise - 1))


def seeds_from_torch(model, x, objective, threat, *, rng):
    own = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    return follow(model, x, objective, threat, x + threat.eps * (2 * torch.rand(x.shape, generator=own) - 1))


def seeds_from_the_initial_seed(model, x, objective, threat, *, rng):
    own = torch.Generator().manual_seed(torch.initial_seed())
    return follow(model, x, objective, threat, x + threat.eps * (2 * torch.rand(x.shape, generator=own) - 1))


def seeds_from_python(model, x, objective, threat, *, rng):
    own = np.random.default_rng(random.getrandbits(32))
    noise = torch.from_numpy(own.random(x.shape, np.float32))
    return follow(model, x, objective, threat, x + threat.eps * (2 * noise - 1))


def seeds_from_the_first_case(model, x, objective, threat, *, rng):
    seed = rng.integers(2**31)
    own = torch.Generator().manual_seed(int(seed[0]) if len(x) else 0)
    return follow(model, x, objective, threat, x + threat.eps * (2 * torch.rand(x.shape, generator=own) - 1))


def starts_from_the_clock(model, x, objective, threat, *, rng):
    noise = torch.from_numpy(np.random.default_rng().random(x.shape, np.float32))
    start = threat.project(x + threat.eps * (2 * noise - 1), x)
    return (start + follow(model, x, objective, threat, start)) / 2  # two ways may end in one corner


def differs_in_the_fifth_run():
    """An attack whose runs agree but for the second and the fifth, as starts do that end in corners."""
    runs = itertools.count(1)

    def attack(model, x, objective, threat, *, rng):
        return threat.project(x - threat.eps / 2 * (next(runs) in (2, 5)), x)

    return attack


def scales_by_the_largest(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    most = gradient.abs().max() if len(x) else gradient.new_ones(())
    start = x + threat.eps * gradient / most.clamp_min(1e-12)
    return follow(model, x, objective, threat, start)


def stops_with_the_first(model, x, objective, threat, *, rng, steps: int = 40):
    focused, x_adv = model.focus(objective), x
    for _ in range(steps):
        _, gradient = focused.gradient(x_adv, objective.margin)
        x_adv = threat.project(x_adv + threat.eps / 10 * unit(gradient, threat.norm), x)
        if focused.reaches(x_adv).any():
            break
    return x_adv


def climbs_the_loss(model, x, objective, threat, *, rng):
    """It forgets that the loss of a wanted class, or of a wanted person, must fall."""
    return follow(model, x, objective, threat, x, towards=False)


def leaves_any_class(model, x, objective, threat, *, rng):
    """It takes the wanted class for the true one, and so leaves it."""
    wanted = getattr(objective, "towards", False)
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return threat.project(x + (-1 if wanted else 1) * threat.eps * unit(gradient, threat.norm), x)


def never_stops(model, x, objective, threat, *, rng):
    focused, x_adv = model.focus(objective), climb(model, x, objective, threat, rng=rng)
    while not focused.reaches(x_adv).any() and len(x):
        x_adv = climb(model, x, objective, threat, rng=rng)
    return climb(model, x, objective, threat, rng=rng)


# --- broken: without a budget -----------------------------------------------------------------------------


def overshoots(model, x, objective, threat, *, rng):
    return ray(model, x, objective, threat, rng=rng, beyond=1.1)


def goes_along_the_sign(model, x, objective, threat, *, rng):
    return ray(model, x, objective, threat, rng=rng, norm="linf")


def goes_astray(model, x, objective, threat, *, rng):
    found = ray(model, x, objective, threat, rng=rng)
    return (found + 0.3 * (found - x).flip(3)).clamp(0, 1)


def gives_up(model, x, objective, threat, *, rng):
    found = ray(model, x, objective, threat, rng=rng)
    return torch.where((torch.arange(len(x)) % 3 == 0).view(-1, 1, 1, 1), x, found)


def always_moves(model, x, objective, threat, *, rng):
    found = ray(model, x, objective, threat, rng=rng)
    return (found + 1 / 255).clamp(0, 1)


# --- broken: decisions, regions, one change for many ------------------------------------------------------


def finds_nothing(model, x, objective, threat, *, rng):
    return threat.project(x + 0.1 * threat.eps * rng.uniform(x.shape[1:], -1, 1), x)


def paints_outside(model, x, objective, threat, *, rng):
    _, gradient = model.focus(objective).gradient(x, objective.margin)
    return torch.where(gradient != 0, (gradient > 0).float(), x)


def paints_grey(model, x, objective, threat, *, rng):
    return torch.where(threat.mask, 0.5, x)


def learns_nothing(model, x, objective, threat, *, rng, fit):
    return torch.where(threat.mask, 0.5, x)


HERE = __name__


def named(function: Any) -> str:
    """How a spec names a function of this module."""
    return f"{HERE}:{function.__name__}"
