"""Goals carry the images of the references: in parts, in takes, and lent to attacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import Evade, Impersonate, VerificationObjective, lent_objective
from harness.goals.rules import Rules

GOALS = (Impersonate, Evade)


def model() -> harness.Model:
    return harness.wrap_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), "embedding", threshold=1.0)


def objective_of(kind: Any, references: Tensor | None) -> VerificationObjective:
    outputs = torch.arange(8.0).view(4, 2)
    found = kind(outputs.flip(0), references=references).objective(model(), outputs)
    assert isinstance(found, VerificationObjective)
    return found


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", GOALS)
def test_each_case_has_its_reference(kind: Any) -> None:
    found = objective_of(kind, images())
    assert torch.equal(found.references, images())
    rows = torch.tensor([2, 0, 2])
    assert torch.equal(found.take(rows).references, images()[rows])
    assert torch.equal(found.take(rows).take(torch.tensor([1])).references, images()[:1])
    assert objective_of(kind, None).references is None
    assert objective_of(kind, None).take(rows).references is None


@pytest.mark.parametrize("kind", GOALS)
def test_one_reference_serves_all_cases(kind: Any) -> None:
    found = objective_of(kind, images(1))
    assert torch.equal(found.references, images(1).expand(4, -1, -1, -1))
    assert torch.equal(found.take(torch.tensor([3])).references, images(1))


@pytest.mark.parametrize("kind", GOALS)
def test_a_part_of_a_goal_has_the_references_of_its_images(kind: Any) -> None:
    anchors = torch.arange(8.0).view(4, 2)
    part = kind(anchors, references=images()).part(slice(1, 3))
    assert torch.equal(part.references, images()[1:3])
    assert torch.equal(part.anchors, anchors[1:3])
    alone = kind(anchors[:1], references=images(1)).part(slice(1, 3))
    assert torch.equal(alone.references, images(1))
    assert kind(anchors).part(slice(1, 3)).references is None


@pytest.mark.parametrize("kind", GOALS)
def test_what_is_written_into_a_lent_reference_reaches_nobody(kind: Any) -> None:
    given = images()
    own = objective_of(kind, given)
    lent: Any = lent_objective(own)
    assert torch.equal(lent.references, given)
    lent.enrolled.zero_()
    lent.enrolled_as.zero_()
    assert torch.equal(own.references, images())
    assert torch.equal(given, images())


def test_taking_cases_copies_no_image() -> None:
    found = objective_of(Impersonate, images())
    assert found.take(torch.zeros(100, dtype=torch.long)).enrolled is found.enrolled


def test_references_are_no_part_of_what_is_asked_for() -> None:
    """Under decisions an attack may focus on its own goal alone; comparing images would be slow."""
    own = objective_of(Impersonate, images())
    other = objective_of(Impersonate, None)
    asked = Rules(own).goal(other, torch.arange(4), "decisions")
    assert torch.equal(asked.references, images())  # type: ignore[attr-defined]


@pytest.mark.parametrize("references", [images(3), images()[0], images(2)])
def test_references_of_another_number_are_refused(references: Tensor) -> None:
    with pytest.raises(AttackError, match=r"expected \(1, C, H, W\) or \(4, C, H, W\)"):
        objective_of(Impersonate, references)


def test_views_are_what_a_distance_is_the_mean_of() -> None:
    class Two:
        def each(self, a: Tensor, b: Tensor) -> Tensor:
            return (a - b).abs()

        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            return self.each(a, b).mean(1)

    outputs = torch.arange(8.0).view(4, 2)
    two = harness.wrap_model(model().module, "embedding", threshold=1.0, distance=Two())
    found: Any = Impersonate(outputs.flip(0)).objective(two, outputs)
    assert torch.equal(found.views(outputs), (outputs - outputs.flip(0)).abs())
    assert torch.equal(lent_objective(found).views(outputs), found.views(outputs))  # type: ignore[attr-defined]
    plain = objective_of(Impersonate, None)
    assert torch.equal(plain.views(outputs), plain.loss(outputs)[:, None])
