"""Regions of attacks, places of which one may be used, and changes that are learned on other images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.catalog import Entry, Plugin
from harness.errors import AttackError
from harness.goals import Evade, FlipAttribute, Impersonate, Targeted, Untargeted
from harness.handle import Handle, Meter
from harness.judge.region import with_region
from harness.judge.verdict import judge
from harness.model import Model, frozen, wrap_model
from harness.specs import AttackSpec
from harness.threat import Linf, Region, Threat

SHAPE = (3, 6, 6)


class Mean(nn.Module):
    """Score (B, 1): the mean is above half grey."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1, keepdim=True) - 0.5


def mean() -> Model:
    return wrap_model(Mean().eval(), "attributes")


def greys(cases: int, level: float = 120 / 255) -> Tensor:
    return torch.full((cases, *SHAPE), level)


def flips(cases: int) -> FlipAttribute:
    return FlipAttribute(torch.zeros(cases, dtype=torch.long))


def corners() -> Tensor:
    """(2, 6, 6): the upper left and the lower right quarter."""
    mask = torch.zeros(2, 6, 6, dtype=torch.bool)
    mask[0, :3, :3] = mask[1, 3:, 3:] = True
    return mask


# --- regions by name --------------------------------------------------------------------------------------


def frame(height: int, width: int, *, border: int = 1, kind: str = "frame") -> Any:
    mask = torch.ones(height, width, dtype=torch.bool)
    if kind == "frame":
        mask[border:-border, border:-border] = False
    return {"frame": mask, "empty": ~mask, "list": [[True]]}[kind] if kind != "empty" else mask & False


def whiten(
    model: Any, x: Tensor, objective: Any, threat: Threat, *, rng: Any, border: int = 1, shade: float = 1.0
) -> Tensor:
    mask = threat.mask
    assert mask is not None
    return torch.where(mask, torch.tensor(shade), x)


def entry(**more: Any) -> Entry[AttackSpec]:
    place = f"{__name__}:"
    spec = AttackSpec(
        name="whiten", summary="", run=place + "whiten", region=place + "frame", norms=(), **more
    )
    found = Entry(spec, Plugin("p", "d", "1"))
    object.__setattr__(found, "load", lambda target: globals()[target.partition(":")[2]])
    return found


def test_parameters_of_region_and_run_stand_side_by_side() -> None:
    parameters = entry().parameters()
    assert set(parameters) == {"border", "kind", "shade", "eot", "bpda"}
    values = {"border": 2, "kind": "frame", "shade": 0.5}
    assert entry().arguments(entry().spec.run, values) == {"border": 2, "shade": 0.5}
    threat = with_region(entry(), values, Threat(), (6, 8))
    assert threat.label == "whiten"
    assert threat.mask is not None
    assert threat.mask.shape == (6, 8)
    assert threat.mask.sum() == 6 * 8 - 2 * 4


def test_a_mask_that_is_given_stays() -> None:
    given = Region(corners()[0])
    assert with_region(entry(), {"border": 1, "kind": "frame"}, given, (6, 6)) is given


@pytest.mark.parametrize(("kind", "fault"), [("empty", "holds no pixel of 6x6"), ("list", "expected bool")])
def test_a_region_that_is_none_is_refused(kind: str, fault: str) -> None:
    with pytest.raises(AttackError, match=fault):
        with_region(entry(), {"border": 1, "kind": kind}, Threat(), (6, 6))


# --- places -----------------------------------------------------------------------------------------------


def test_each_case_may_use_one_place_and_no_two() -> None:
    x = greys(4)
    mask = corners()
    x_adv = x.clone()
    x_adv[0, :, :3, :3] = 1.0
    x_adv[1, :, 3:, 3:] = 1.0
    x_adv[2, :, :3, :3] = x_adv[2, :, 3:, 3:] = 1.0  # both
    x_adv[3, 0, 0, 5] = 1.0  # neither
    model = mean()
    objective = flips(4).objective(model, model.scores(x))
    verdict = judge(model, objective, Region(mask), x, x_adv)
    assert verdict.valid.tolist() == [True, True, False, False]
    assert verdict.faults[2:] == ("outside the region",) * 2


def test_places_are_chosen_before_anything_is_projected() -> None:
    threat, x = Region(corners()), greys(3)
    assert threat.places == 2
    with pytest.raises(AttackError, match=r"choose one of the 2 places .* threat.at"):
        threat.project(x + 0.1, x)
    chosen = threat.at(torch.tensor([1, 0, 1]))
    assert chosen.places == 0
    changed = chosen.project(x + 0.1, x) != x
    assert changed[0, 0, 4, 4]
    assert not changed[0, 0, 1, 1]
    assert changed[1, 0, 1, 1]
    with pytest.raises(AttackError, match="no places"):
        Linf(0.1).at(torch.tensor([0]))


# --- one change for many ----------------------------------------------------------------------------------


def universal(
    model: Any,
    x: Tensor,
    objective: Any,
    threat: Threat,
    *,
    rng: Any,
    fit: Tensor,
    step: float = 20 / 255,
    peek: bool = False,
) -> Tensor:
    """The sign of the mean gradient of those that it may learn on."""
    rows = torch.nonzero(fit).flatten()
    _, slope = model.take(rows).gradient(x[rows], objective.take(rows).margin)
    return x + step * slope.mean(0, keepdim=True).sign()


def test_only_the_others_are_judged_and_they_bear_the_cost() -> None:
    x = greys(6)
    fit = torch.tensor([True, False, True, True, False, True])
    outcome = harness.attack(universal, mean(), x, goal=flips(6), threat=Linf(20 / 255), fit=fit)
    assert outcome.rows.tolist() == [1, 4]
    assert outcome.success.tolist() == [True, True]
    assert outcome.adversarials.shape == (2, *SHAPE)
    assert outcome.forwards.tolist() == [2, 2]  # four passes on two
    assert outcome.backwards.tolist() == [2, 2]


def test_every_second_image_is_learned_on_unless_told() -> None:
    outcome = harness.attack(universal, mean(), greys(5), goal=flips(5), threat=Linf(20 / 255), batch_size=2)
    assert outcome.rows.tolist() == [1, 3]


def test_an_attack_that_learns_nothing_takes_no_fit() -> None:
    with pytest.raises(AttackError, match="fit: attack noise does not learn"):
        harness.attack(
            "noise", mean(), greys(2), goal=flips(2), threat=Linf(0.1), fit=torch.tensor([True, False])
        )


@pytest.mark.parametrize("fit", [torch.ones(3), torch.ones(2, dtype=torch.bool)])
def test_a_fit_of_another_form_is_refused(fit: Tensor) -> None:
    with pytest.raises(AttackError, match=r"expected bool \(3,\)"):
        harness.attack(universal, mean(), greys(3), goal=flips(3), threat=Linf(0.1), fit=fit)


# --- groups -----------------------------------------------------------------------------------------------


def test_groups_want_the_same_outcome() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.flatten(1).mean(1) - 0.5, x[:, 0, 0, 0] - 0.5], 1)

    model = wrap_model(Two().eval(), "attributes")
    x = torch.stack([torch.full(SHAPE, level) for level in (0.2, 0.8, 0.2, 0.8)])
    goal = FlipAttribute(torch.tensor([0, 0, 1, 1]))
    groups = goal.objective(model, model.scores(x)).groups.tolist()
    assert len(set(groups)) == 4
    same = goal.objective(model, model.scores(x.flip(0))).groups.tolist()
    assert [groups[1], groups[0], groups[3], groups[2]] == same

    classes = wrap_model(Two().eval(), "classes")
    scores = classes.scores(x)
    labels = torch.tensor([0, 1, 0, 1])
    assert Untargeted(labels).objective(classes, scores).groups.unique().numel() == 1
    assert Targeted(labels).objective(classes, scores).groups.tolist() == labels.tolist()

    people = wrap_model(Two().eval(), "embedding", threshold=0.1)
    anchors = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    groups = Impersonate(anchors).objective(people, scores).groups.tolist()
    assert groups[0] == groups[2] == groups[3] != groups[1]
    assert Evade(anchors[:1]).objective(people, scores).groups.unique().numel() == 1


# --- what the meter sees ----------------------------------------------------------------------------------


class Masked(nn.Module):
    """Score (B, 1) whose slope is zero for dark images and not a number for light ones."""

    def forward(self, x: Tensor) -> Tensor:
        level = x.flatten(1).mean(1, keepdim=True)
        scores = (level * 4).floor() + level * (level > 0.4) - 2
        light = torch.nonzero(level[:, 0] > 0.7).flatten()
        return scores.index_put((light,), (level - level.detach())[light].sqrt() + 1)


def test_counts_gradients_that_lead_nowhere() -> None:
    x = torch.cat([greys(1, 0.2), greys(1, 0.5), greys(1, 0.8)])
    model = wrap_model(Masked().eval(), "attributes")
    meter = Meter(3)
    handle = Handle(model, 3, meter=meter)
    objective = flips(3).objective(model, torch.tensor([[-1.0], [-1.0], [1.0]]))
    with frozen(model.module):
        for _ in range(2):
            handle.gradient(x, objective.margin)
    assert meter.backwards.tolist() == [2, 2, 2]
    assert meter.zero_gradients.tolist() == [2, 0, 2]


def test_notes_what_had_been_spent_when_the_best_was_found() -> None:
    model, x, meter = mean(), greys(3), Meter(3)
    handle = Handle(model, 3, meter=meter)
    with frozen(model.module):
        handle(x)
        handle.take(torch.tensor([0, 2]))(x[:2])
        handle.take(torch.tensor([0, 2])).found(torch.tensor([1]))
        handle(x)
    assert meter.found.tolist() == [-1, -1, 2]
    handle.found()
    assert meter.found.tolist() == [3, 2, 3]


@pytest.mark.parametrize("access", ["gradients", "scores", "decisions"])
def test_reaches_is_the_decision_at_every_access(access: Any) -> None:
    model, x = mean(), torch.cat([greys(1, 0.2), greys(1, 0.6), greys(1, 0.7)])
    objective = flips(3).objective(model, torch.tensor([[-1.0], [-1.0], [1.0]]))
    meter = Meter(3)
    handle = Handle(model, 3, access=access, compute="bfloat16", meter=meter).focus(objective)
    with frozen(model.module):
        assert handle.reaches(x).tolist() == [False, True, False]
        assert handle.take(torch.tensor([2, 1])).reaches(x[[0, 0]]).tolist() == [True, False]
    assert meter.forwards.tolist() == [1, 2, 2]


def test_reaches_on_an_embedding_tells_the_decision_alone() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    model, x = wrap_model(Flat().eval(), "embedding", threshold=1.0), greys(2)
    objective = Impersonate(torch.stack([x[0].flatten(), x[0].flatten() + 1])).objective(model, x.flatten(1))
    handle = Handle(model, 2, access="decisions").focus(objective)
    with frozen(model.module):
        assert handle.reaches(x).tolist() == [True, False]
        with pytest.raises(harness.errors.ContractError, match="reaches"):
            handle(x)


# --- rounding ---------------------------------------------------------------------------------------------


def test_tells_what_rounding_cost() -> None:
    """Just above the boundary, and below it again as an 8-bit image."""
    x = greys(3, 127 / 255)
    model = mean()
    objective = flips(3).objective(model, model.scores(x))
    x_adv = torch.stack([torch.full(SHAPE, level / 255) for level in (127.0, 127.499 + 0.0005, 129.0)])
    x_adv[1] = 127.45 / 255
    brighter = wrap_model(Shifted().eval(), "attributes")
    verdict = judge(brighter, objective, Linf(2 / 255), x, x_adv)
    assert verdict.reached.tolist() == [False, False, True]
    assert verdict.unrounded is not None
    assert verdict.unrounded.tolist() == [False, True, True]
    assert judge(model, objective, Linf(2 / 255, levels=None), x, x_adv).unrounded is None


class Shifted(nn.Module):
    """Score (B, 1): the mean is above 127.4 8-bit levels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1, keepdim=True) - 127.4 / 255
