"""NT-Xent and the triplet loss against plain loops; the attack stays in its ball and ascends."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from harness_facenet.inner_attack import InnerAttack
from harness_facenet.losses import nt_xent, triplet_gap, triplet_terms


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def loops(first: np.ndarray, second: np.ndarray, temperature: float, known: list[int] | None) -> float:
    """Equation 1 over all ordered pairs, as it is written."""
    views = [*first, *second]
    count, total = len(first), 0.0
    who = [-1] * len(views) if known is None else known + known
    for i in range(len(views)):
        j = (i + count) % len(views)
        below = 0.0
        for k in range(len(views)):
            same_person = who[i] >= 0 and who[k] == who[i] and k != j
            if k != i and not same_person:
                below += exp(cosine(views[i], views[k]) / temperature)
        total -= log(exp(cosine(views[i], views[j]) / temperature) / below)
    return total / len(views)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("known", [None, [0, 0, 3, -1, -1, 0]])
def test_nt_xent_is_equation_1(temperature: float, known: list[int] | None) -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 6, 5))
    person = None if known is None else torch.tensor(known)
    ours = nt_xent(torch.tensor(first), torch.tensor(second), temperature, person)
    assert ours.item() == pytest.approx(loops(first, second, temperature, known), abs=1e-6)


def test_known_persons_are_no_negatives_of_each_other() -> None:
    views = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    assert nt_xent(*views, 0.5, torch.tensor([1, 1, 2, 2])) < nt_xent(*views, 0.5)
    assert torch.equal(nt_xent(*views, 0.5, torch.tensor([-1] * 4)), nt_xent(*views, 0.5))


@pytest.mark.parametrize("squared", [True, False])
def test_the_triplet_loss_is_figure_2(squared: bool) -> None:
    a, p, n = torch.randn(3, 50, 6, generator=torch.Generator().manual_seed(1))
    ours = triplet_terms(a, p, n, margin=0.3, squared=squared)
    distances = [np.linalg.norm(a.numpy() - other.numpy(), axis=1) for other in (p, n)]
    near, far = (distance**2 if squared else distance for distance in distances)
    expected = np.maximum(0, near - far + 0.3)
    assert 0 < (expected == 0).mean() < 1
    assert ours.numpy() == pytest.approx(expected, abs=1e-5)
    if not squared:
        theirs = F.triplet_margin_loss(a.double(), p.double(), n.double(), margin=0.3, eps=0)
        ours = triplet_terms(a.double(), p.double(), n.double(), margin=0.3, squared=False).mean()
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


def test_what_attacks_ascend_has_a_gradient_where_the_loss_is_0() -> None:
    a = torch.zeros(1, 2, requires_grad=True)
    p, n = torch.tensor([[0.1, 0.0]]), torch.tensor([[3.0, 0.0]])
    (gradient,) = torch.autograd.grad(triplet_gap(a, p, n, squared=True).sum(), a)
    assert gradient.abs().sum() > 0
    assert triplet_terms(a, p, n, margin=0.2, squared=True).item() == 0


def test_an_anchor_on_its_positive_has_a_finite_gradient() -> None:
    a = torch.ones(2, 3, requires_grad=True)
    triplet_terms(a, torch.ones(2, 3), torch.zeros(2, 3), margin=9.0, squared=False).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_the_attack_stays_in_its_ball_and_ascends() -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1))

    def loss(images: torch.Tensor) -> torch.Tensor:
        return (images * weight).sum()

    attack = InnerAttack(eps=0.1, step_size=0.05, steps=5)
    found = attack.attacked(x, loss, np.random.default_rng(0))
    assert (found - x).abs().max() <= 0.1 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    # The maximum of a linear loss is a corner of the ball, cut by [0, 1].
    assert torch.allclose(found, (x + 0.1 * weight.sign()).clamp(0, 1), atol=1e-6)
    start = InnerAttack(0.1, 0.05, 0).attacked(x, loss, np.random.default_rng(0))
    assert 0.05 < (start - x).abs().max() <= 0.1 + 1e-6
