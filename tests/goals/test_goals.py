"""Goals become objectives: margins, decisions, ties, and what counted as right before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness import wrap_model
from harness.errors import AttackError
from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Objective, Targeted, Untargeted
from harness.model import Model

SCORES = torch.tensor([[2.0, -1.0, 0.0], [-3.0, 4.0, 0.5], [0.0, 1.0, -2.0], [1.0, 1.0, 1.0]])


def model(head: Any, **arguments: Any) -> Model:
    return wrap_model(nn.Identity(), head, **arguments)


def objectives() -> dict[str, Objective]:
    flip = FlipAttribute(torch.tensor([0, 1, 2, 0]), torch.tensor([True, False, False, True]))
    embedding = model("embedding", threshold=2.0)
    anchors = torch.arange(12.0).view(4, 3)
    return {
        "flip": flip.objective(model("attributes"), SCORES),
        "untargeted": Untargeted(torch.tensor([0, 0, 1, 2])).objective(model("classes"), SCORES),
        "targeted": Targeted(torch.tensor([2, 2, 2, 2])).objective(model("classes"), SCORES),
        "impersonate": Impersonate(anchors).objective(embedding, SCORES),
        "evade": Evade(anchors).objective(embedding, SCORES),
    }


# --- attributes -------------------------------------------------------------------------------------------


def test_flip_asks_for_the_other_decision_of_the_model() -> None:
    goal = FlipAttribute(torch.tensor([0, 1, 2, 2]))
    objective = goal.objective(model("attributes"), SCORES)
    assert objective.margin(SCORES).tolist() == [-2, -4, -2, -1]
    assert not objective.reached(SCORES).any()
    assert objective.reached(-SCORES).all()
    assert objective.columns is not None
    assert objective.columns.tolist() == [0, 1, 2, 2]
    assert objective.correct.all()  # without labels every decision counts as right


def test_score_of_zero_is_absent() -> None:
    clean, zero = torch.tensor([[1.0], [-1.0], [0.0]]), torch.zeros(3, 1)
    objective = FlipAttribute(torch.tensor(0)).objective(model("attributes"), clean)
    assert objective.reached(zero).tolist() == [True, False, False]
    assert objective.margin(zero).tolist() == [0, 0, 0]  # the documented tie
    assert objective.reached(torch.full((3, 1), 1e-30)).tolist() == [False, True, True]


@pytest.mark.parametrize("labels", [[True, False, True], [1, 0, 1], [1, -1, 1], [1.0, -1.0, 1.0]])
def test_labels_say_what_was_right(labels: list[Any]) -> None:
    clean = torch.tensor([[1.0], [1.0], [-1.0]])
    goal = FlipAttribute(torch.zeros(3, dtype=torch.long), torch.tensor(labels))
    objective = goal.objective(model("attributes"), clean)
    assert objective.correct.tolist() == [True, False, False]
    assert objective.ascend.tolist() == [True, False, False]


def test_both_ways_the_loss_leads_to_the_goal() -> None:
    # A right decision flips uphill of the training loss, a wrong one downhill of it.
    clean = torch.tensor([[0.7], [0.7], [-0.7], [-0.7]])
    goal = FlipAttribute(torch.tensor(0), torch.tensor([1, 0, 1, 0]))
    objective = goal.objective(model("attributes"), clean)
    outputs = clean.clone().requires_grad_()
    torch.autograd.backward(objective.loss(outputs).sum())
    assert outputs.grad is not None
    uphill = torch.where(objective.ascend, 1.0, -1.0)[:, None] * outputs.grad
    assert (objective.margin(clean + 5 * uphill) > objective.margin(clean)).all()


# --- classes ----------------------------------------------------------------------------------------------


def test_untargeted_counts_what_is_misclassified_already_as_reached() -> None:
    objective = Untargeted(torch.tensor([0, 0, 0, 0])).objective(model("classes"), SCORES)
    assert objective.correct.tolist() == [True, False, False, True]
    assert objective.reached(SCORES).tolist() == [False, True, True, False]
    assert objective.margin(SCORES).tolist() == [-2, 7, 1, 0]
    assert objective.ascend.all()


def test_targeted_by_labels_and_without() -> None:
    labels = torch.tensor([0, 0, 1, 2])
    targets = torch.tensor([1, 1, 1, 1])
    known = Targeted(targets, labels).objective(model("classes"), SCORES)
    assert known.correct.tolist() == [True, False, True, False]
    assert known.reached(SCORES).tolist() == [False, True, True, False]
    assert known.margin(SCORES).tolist() == [-3, 3.5, 1, 0]
    assert not known.ascend.any()
    # Without labels, what is not yet the target counts as right.
    assert Targeted(targets).objective(model("classes"), SCORES).correct.tolist() == [
        True,
        False,
        False,
        True,
    ]


def test_margin_is_to_the_best_other_class_where_all_logits_are_negative_too() -> None:
    logits = torch.tensor([[-3.0, -5.0, -4.0], [-9.0, -5.0, -4.5]])
    labels = torch.tensor([0, 1])
    assert Untargeted(labels).objective(model("classes"), logits).margin(logits).tolist() == [-1, 0.5]
    assert Targeted(labels).objective(model("classes"), logits).margin(logits).tolist() == [1, -0.5]


def test_ties_between_classes_go_to_argmax() -> None:
    tied = torch.tensor([[1.0, 1.0]])
    for label, left in ((0, False), (1, True)):
        objective = Untargeted(torch.tensor([label])).objective(model("classes"), tied)
        assert objective.margin(tied).item() == 0
        assert objective.reached(tied).item() is left
        towards = Targeted(torch.tensor([label])).objective(model("classes"), tied)
        assert towards.reached(tied).item() is not left


# --- embeddings -------------------------------------------------------------------------------------------


def test_impersonate_and_evade_are_each_others_opposite() -> None:
    anchors = torch.tensor([[0.0, 0.0]])
    near, at, far = torch.tensor([[0.3, 0.4], [0.6, 0.8], [3.0, 4.0]])
    outputs = torch.stack([near, at, far])
    plain = model("embedding", threshold=1.0, distance=lambda a, b: (a - b).square().sum(1).sqrt())
    enter = Impersonate(anchors).objective(plain, outputs)
    leave = Evade(anchors).objective(plain, outputs)
    assert enter.reached(outputs).tolist() == [True, False, False]  # at the threshold nobody is accepted
    assert leave.reached(outputs).tolist() == [False, True, True]
    assert enter.margin(outputs).tolist() == pytest.approx([0.5, 0, -4], abs=1e-6)
    assert leave.margin(outputs).tolist() == pytest.approx([-0.5, 0, 4], abs=1e-6)
    assert enter.correct.tolist() == [False, True, True]  # an accepted intruder was wrong before
    assert leave.correct.tolist() == [True, False, False]  # as was a rejected owner
    assert not enter.ascend.any()
    assert leave.ascend.all()


def test_threshold_of_the_goal_beats_that_of_the_model() -> None:
    outputs, anchors = torch.tensor([[2.0]]), torch.tensor([[0.0]])
    calibrated = model("embedding", threshold=1.0)
    assert not Impersonate(anchors).objective(calibrated, outputs).reached(outputs)
    assert Impersonate(anchors, threshold=3.0).objective(calibrated, outputs).reached(outputs)
    with pytest.raises(AttackError, match="needs a threshold"):
        Impersonate(anchors).objective(model("embedding"), outputs)


def test_distance_has_a_gradient_at_its_anchor() -> None:
    outputs = torch.zeros(1, 4, requires_grad=True)
    objective = Evade(torch.zeros(1, 4), 1.0).objective(model("embedding"), outputs.detach())
    torch.autograd.backward(objective.margin(outputs).sum())
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


# --- all --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(objectives()))
def test_take_equals_slicing(kind: str) -> None:
    objective, cases = objectives()[kind], torch.tensor([2, 0, 0])
    taken = objective.take(cases)
    assert len(objective) == 4
    assert len(taken) == 3
    for name in ("margin", "loss", "reached"):
        torch.testing.assert_close(
            getattr(taken, name)(SCORES[cases]), getattr(objective, name)(SCORES)[cases]
        )
    for name in ("correct", "ascend"):
        assert torch.equal(getattr(taken, name), getattr(objective, name)[cases])
    if objective.columns is None:
        assert taken.columns is None
    else:
        assert torch.equal(taken.columns, objective.columns[cases])
    active = torch.tensor([True, False, True, False])
    assert torch.equal(objective.take(active).reached(SCORES[active]), objective.reached(SCORES)[active])


@pytest.mark.parametrize("kind", list(objectives()))
def test_margin_and_loss_are_differentiable_for_each_case_alone(kind: str) -> None:
    objective, outputs = objectives()[kind], (SCORES + 0.1).requires_grad_()
    for function in (objective.margin, objective.loss):
        values = function(outputs)
        assert values.shape == (4,)
        (slope,) = torch.autograd.grad(values[1], outputs, retain_graph=True)
        assert slope[1].abs().sum() > 0
        assert slope[[0, 2, 3]].abs().sum() == 0


number = st.floats(-1e30, 1e30) | st.sampled_from([0.0, -0.0, 1.0, 1e-30, -1e-30])
rows = st.lists(st.tuples(number, number, number), min_size=4, max_size=4)


@settings(deadline=None, max_examples=200)
@given(clean=rows, values=rows, kind=st.sampled_from(list(objectives())), columns=st.integers(0, 80))
def test_margin_is_positive_exactly_where_the_goal_is_reached(
    clean: Any, values: Any, kind: str, columns: int
) -> None:
    before, outputs = torch.tensor(clean), torch.tensor(values)
    index = torch.tensor([columns // 3**case % 3 for case in range(4)])
    goals: dict[str, tuple[Any, Goal]] = {
        "flip": ("attributes", FlipAttribute(index)),
        "untargeted": ("classes", Untargeted(index)),
        "targeted": ("classes", Targeted(index)),
        "impersonate": ("embedding", Impersonate(before[:1], 2.0)),
        "evade": ("embedding", Evade(before[:1], 2.0)),
    }
    head, goal = goals[kind]
    objective = goal.objective(model(head), before)
    margin, reached = objective.margin(outputs), objective.reached(outputs)
    # At 0 lie the documented ties: a score of 0, equal logits, a distance at the threshold.
    assert reached[margin > 0].all()
    assert not reached[margin < 0].any()


def test_margin_is_exact_for_neighbouring_floats() -> None:
    one = torch.tensor(1.0)
    above = torch.nextafter(one, torch.tensor(2.0))
    pair = torch.stack([one, above])[None]
    objective = Untargeted(torch.tensor([0])).objective(model("classes"), pair)
    assert objective.margin(pair).item() > 0
    assert objective.reached(pair).item()


@pytest.mark.parametrize(
    ("goal", "head", "message"),
    [
        (FlipAttribute(torch.tensor([0])), "attributes", "for 4 images"),
        (FlipAttribute(torch.tensor(3)), "attributes", "attribute 3 is outside the model's 3"),
        (FlipAttribute(torch.tensor(-1)), "attributes", "attribute -1 is outside"),
        (FlipAttribute(torch.tensor(0)), "classes", 'needs a model with head "attributes"'),
        (Untargeted(torch.tensor([0, 1, 2, 3])), "classes", "class 3 is outside"),
        (Untargeted(torch.tensor(0)), "embedding", 'needs a model with head "classes"'),
        (Targeted(torch.tensor(0), torch.tensor(9)), "classes", "class 9 is outside"),
        (Targeted(torch.tensor(0)), "attributes", 'goal "targeted" needs'),
        (Impersonate(torch.zeros(1, 2), 1.0), "embedding", r"anchors have shape \(1, 2\); expected \(4, 3\)"),
        (Impersonate(torch.zeros(2, 3), 1.0), "embedding", "anchors have shape"),
        (Evade(torch.zeros(3), 1.0), "embedding", "anchors have shape"),
        (Evade(torch.zeros(1, 3), 1.0), "classes", 'goal "evade" needs'),
    ],
)
def test_refusals(goal: Goal, head: str, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        goal.objective(model(head), SCORES)


def test_training_losses_by_head_and_by_the_module() -> None:
    labels = torch.tensor([True, False, False, True])
    flip = FlipAttribute(torch.tensor(0), labels).objective(model("attributes"), SCORES)
    signed = torch.tensor([1.0, -1.0, -1.0, 1.0])
    torch.testing.assert_close(flip.loss(SCORES), F.softplus(-signed * SCORES[:, 0]))
    classes = torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(
        Untargeted(classes).objective(model("classes"), SCORES).loss(SCORES),
        F.cross_entropy(SCORES, classes, reduction="none"),
    )

    class Euclidean(nn.Identity):
        def training_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
            return (scores - labels).square()

    own = FlipAttribute(torch.tensor(0), labels).objective(wrap_model(Euclidean(), "attributes"), SCORES)
    torch.testing.assert_close(own.loss(SCORES), (SCORES[:, 0] - signed).square())
