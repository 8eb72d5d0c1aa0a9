"""Triplets as goals: margins, decisions at the bound, what was right before, and either image attacked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness import wrap_model
from harness.errors import AttackError
from harness.goals import Triplet, TripletObjective, lent_objective
from harness.model import Model

ANCHORS = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
NEGATIVES = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 3.0]])
PROBES = torch.tensor([[1.0, 0.0], [0.5, 0.0], [1.0, 3.0]])


def model() -> Model:
    return wrap_model(nn.Identity(), "embedding")


def objective(margin: float = 0.5, *, moving: bool = False) -> TripletObjective:
    return Triplet(ANCHORS, NEGATIVES, margin, moving).objective(model(), PROBES)


def test_the_attacked_positive_is_compared_with_a_fixed_distance() -> None:
    """d(a, p) = 1, .5, 3 and d(a, n) = 2, 1, 3."""
    found = objective()
    assert found.margin(PROBES).tolist() == pytest.approx([-0.5, 0.0, 0.5])
    assert found.reached(PROBES).tolist() == [False, True, True]  # as far as the negative less the margin
    assert found.correct.tolist() == [True, False, False]
    assert found.ascend.all()
    assert found.loss(PROBES).tolist() == pytest.approx([0.0, 0.0, 0.5])
    assert objective(0.0).correct.tolist() == [True, True, False]


def test_the_attacked_anchor_changes_both_distances() -> None:
    """The probe is the anchor: d(a, p) to the anchors given, d(a, n) to the negatives: 1, 1.118, 0."""
    found = objective(0.25, moving=True)
    far = (PROBES - NEGATIVES).norm(dim=1)
    assert found.margin(PROBES).tolist() == pytest.approx(
        ((PROBES - ANCHORS).norm(dim=1) + 0.25 - far).tolist(), abs=1e-5
    )
    x = PROBES.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(found.margin(x)[1], x)
    fixed = PROBES.clone().requires_grad_(True)
    (other,) = torch.autograd.grad(objective(0.25).margin(fixed)[1], fixed)
    assert not torch.allclose(gradient, other)


def test_some_cases_are_those_cases() -> None:
    images = torch.rand(3, 3, 4, 4)
    for moving in (False, True):
        goal = Triplet(ANCHORS, NEGATIVES, 0.5, moving, images)
        found = goal.objective(model(), PROBES)
        part = found.take(torch.tensor([2, 0]))
        assert torch.equal(part.margin(PROBES[[2, 0]]), found.margin(PROBES)[[2, 0]])
        assert torch.equal(part.references, images[[2, 0]])  # type: ignore[arg-type]
        assert len(part) == 2
        sliced = goal.part(slice(1, 3)).objective(model(), PROBES[1:])
        assert torch.equal(sliced.margin(PROBES[1:]), found.margin(PROBES)[1:])
        lent = lent_objective(found)
        assert torch.equal(lent.margin(PROBES), found.margin(PROBES))


def test_what_is_no_triplet_is_refused() -> None:
    with pytest.raises(AttackError, match="negatives have shape"):
        Triplet(ANCHORS, NEGATIVES[:1]).objective(model(), PROBES)
    with pytest.raises(AttackError, match='"triplet" needs a model with head "embedding"'):
        Triplet(ANCHORS, NEGATIVES).objective(wrap_model(nn.Identity(), "classes"), PROBES)


def test_a_margin_that_is_no_number_is_reached() -> None:
    outputs: Tensor = torch.full((3, 2), float("nan"))
    assert objective().reached(outputs).all()
