"""The line search: its order of steps, where it stops, and what it asks the model."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import FlipAttribute
from harness.handle import Handle, Meter
from harness.threat import Linf, Minimal, Region, Threat
from harness_attacks.costs import SPARE
from harness_attacks.line import Line, along
from harness_attacks.line_search import smallest_step
from harness_attacks.oracle import Oracle
from harness_attacks.section import Root

GREY = 255
MINIMAL = Minimal("linf")


class Reported(nn.Module):
    """A score (B, 1) of the 8-bit levels of each image's first pixel above 100; keeps what it was asked."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score, self.asked = score, []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        eps = x[:, 0, 0, 0] * GREY - 100
        self.asked.append([round(value, 3) for value in eps.tolist()])
        return self.score(eps)[:, None]


def search(
    score: Callable[[Tensor], Tensor],
    *,
    cases: int = 1,
    threat: Threat = MINIMAL,
    direction: Tensor | None = None,
    whole: bool = True,
    max_steps: int = 20,
    first_step: float = 1.0,
) -> tuple[Tensor, list[list[float]], Meter]:
    """The eps (B,) found for grey images, what was asked, and the meter."""
    module = Reported(score)
    model = harness.wrap_model(module, "attributes", names=["a"])
    x = torch.full((cases, 1, 2, 2), 100 / GREY)
    objective = FlipAttribute(torch.tensor(0)).objective(model, torch.full((cases, 1), -1.0))
    meter = Meter(cases)
    found = smallest_step(
        Line(x, torch.ones_like(x) if direction is None else direction, threat),
        Oracle(Handle(model, cases, meter=meter).focus(objective), objective),
        first_step=first_step,
        max_steps=max_steps,
        max_bisections=24,
        whole=whole,
    )
    return found[:, 0, 0, 0] * GREY - 100, module.asked, meter


@pytest.mark.parametrize("levels", [None, 31, 255])
def test_images_along_a_line_are_clipped_and_then_rounded_as_the_threat_rounds(levels: int | None) -> None:
    torch.manual_seed(0)
    x, direction = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8) * 2 - 1
    threat = Minimal("linf", levels=levels)
    found = Line(x, direction, threat).at(torch.tensor([1.0, 40.5, 300.0]))
    moved = x + torch.tensor([1.0, 40.5, 300.0]).view(-1, 1, 1, 1) / 255 * direction
    assert torch.equal(found, threat.round(moved.clamp(0, 1)))


def test_steps_double_and_the_last_section_is_bisected() -> None:
    eps, asked, _ = search(lambda eps: eps - 11.5)
    assert [row[0] for row in asked] == [1, 3, 7, 15, 11, 13, 12]
    assert eps.item() == pytest.approx(12, abs=1e-3)


def test_the_first_step_is_a_parameter() -> None:
    _, asked, _ = search(lambda eps: eps - 11.5, first_step=4)
    assert [row[0] for row in asked] == [4, 12, 8, 10, 11]


def test_an_island_inside_an_earlier_section_is_stepped_over() -> None:
    # Adversarial at 5 and from 12 on: only 1, 3, 7, 15 are tried, so the section that counts is (7, 15].
    eps, _, _ = search(lambda eps: torch.where((eps.round() == 5) | (eps > 11.5), 1.0, -1.0))
    assert eps.item() == pytest.approx(12, abs=1e-3)


def test_each_case_has_its_own_section_and_leaves_when_it_is_done() -> None:
    # Brightness alone would make the cases equal: the bounds differ by row of the batch that is left.
    bounds = torch.tensor([0.5, 2.5, 40.5])
    images = torch.full((3, 1, 2, 2), 100 / GREY)
    images[:, 0, 1, 1] = torch.tensor([0.0, 1.0, 2.0]) / GREY  # names the case

    class Bounded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rows.extend((x[:, 0, 1, 1] * GREY).round().long().tolist())
            return (x[:, 0, 0, 0] * GREY - 100 - bounds[(x[:, 0, 1, 1] * GREY).round().long()])[:, None]

    rows: list[int] = []
    model = harness.wrap_model(Bounded().eval(), "attributes", names=["a"])
    objective = FlipAttribute(torch.zeros(3, dtype=torch.long)).objective(model, -torch.ones(3, 1))
    direction = torch.ones_like(images)
    direction[:, 0, 1, 1] = 0
    meter = Meter(3)
    found = smallest_step(
        Line(images, direction, MINIMAL),
        Oracle(Handle(model, 3, meter=meter).focus(objective), objective),
        first_step=1,
        max_steps=8,
        max_bisections=8,
        whole=True,
    )
    assert (found[:, 0, 0, 0] * GREY).round().tolist() == [101, 103, 141]
    counted = [rows.count(case) for case in range(3)]
    # 1; 1, 3, 2; and 1, 3, 7, 15, 31, 63 with five bisections down from 32
    assert counted == meter.forwards.tolist() == [1, 3, 11]
    assert meter.backwards.tolist() == [0, 0, 0]


def test_a_case_that_never_flips_comes_back_as_it_was() -> None:
    eps, asked, _ = search(lambda eps: torch.full_like(eps, -1.0))
    assert eps.item() == pytest.approx(0, abs=1e-6)
    # 155 levels of room, all used up at 255
    assert [row[0] for row in asked] == [1, 3, 7, 15, 31, 63, 127, 155]


def test_growing_goes_on_while_the_smallest_component_changes() -> None:
    # The leading component is at the box's edge: at eps = 1 and 3 the image is still the original.
    direction = torch.full((1, 1, 2, 2), 0.1)
    direction[0, 0, 1, 1] = 1.0
    module = Reported(lambda eps: eps - 1.5)
    model = harness.wrap_model(module, "attributes", names=["a"])
    x = torch.full((1, 1, 2, 2), 100 / GREY)
    x[0, 0, 1, 1] = 1.0
    objective = FlipAttribute(torch.tensor(0)).objective(model, torch.full((1, 1), -1.0))
    line = Line(x, direction, MINIMAL)
    oracle = Oracle(Handle(model, 1).focus(objective), objective)
    found = smallest_step(line, oracle, first_step=1, max_steps=20, max_bisections=24)
    assert (found[0, 0, 0, 0] * GREY).item() == pytest.approx(102)
    assert line.end().item() == pytest.approx(1545, rel=1e-4)  # (155 - 1/2) / 0.1


def test_steps_are_capped() -> None:
    direction = torch.full((1, 1, 2, 2), 1e-9)
    eps, asked, _ = search(lambda eps: eps - 0.5, direction=direction, whole=False, max_steps=5)
    assert len(asked) == 5
    assert eps.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("bound", "expected"), [(9.5, 10), (10.5, 0)])
def test_the_budget_ends_the_search_and_belongs_to_it(bound: float, expected: int) -> None:
    eps, asked, _ = search(lambda eps: eps - bound, threat=Linf(10 / 255))
    assert [row[0] for row in asked[:4]] == [1, 3, 7, 10]
    assert eps.item() == pytest.approx(expected, abs=1e-3)


def test_a_budget_between_two_grey_levels_is_never_left_by_rounding() -> None:
    eps, _, _ = search(lambda eps: eps - 6.5, threat=Linf(6.8 / 255), whole=False)
    assert eps.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("root", ["bisect", "interpolate"])
def test_real_steps_end_between_neighbouring_images(root: Root) -> None:
    # Components of many sizes change one after the other; the smallest step that flips is where the sum of
    # the image passes a bound, which an exhaustive walk along the line finds.
    draws = torch.Generator().manual_seed(0)
    direction = torch.rand(1, 3, 6, 6, generator=draws)
    direction /= direction.max()
    x = torch.full((1, 3, 6, 6), 100 / GREY)

    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * GREY - 100).round().sum((1, 2, 3))[:, None] - 300.5

    model = harness.wrap_model(Sum().eval(), "attributes", names=["a"])
    objective = FlipAttribute(torch.tensor(0)).objective(model, torch.full((1, 1), -1.0))
    meter = Meter(1)
    found = smallest_step(
        Line(x, direction, MINIMAL),
        Oracle(Handle(model, 1, meter=meter).focus(objective), objective),
        first_step=1,
        max_steps=20,
        max_bisections=24,
        root=root,
    )
    assert (found * GREY - 100).round().sum().item() == 301
    # 1, 3, 7 and log2 of the 216 or so images between 3 and 7: halvings without a new image ask nothing
    assert meter.forwards.item() <= 3 + (10 if root == "bisect" else 5)


@pytest.mark.parametrize(
    "curve", [lambda f: f, torch.sign, lambda f: 1000 * f**3, lambda f: f.sign() * f.abs().sqrt()]
)
def test_interpolation_ends_where_bisection_does(curve: Callable[[Tensor], Tensor]) -> None:
    """Scores that rise along 40 lines: nearly straight, steps, flat at the crossing, and steep there."""
    draws = torch.Generator().manual_seed(5)
    direction = torch.rand(40, 3, 8, 8, generator=draws) ** 3
    direction /= direction.amax((1, 2, 3), keepdim=True)
    x = torch.full((40, 3, 8, 8), 60 / GREY)

    class Rising(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rise = (x * GREY - 60).round().sum((1, 2, 3))
            return curve((rise - 200.5) / 200)[:, None]

    model = harness.wrap_model(Rising().eval(), "attributes", names=["a"])
    objective = FlipAttribute(torch.zeros(40, dtype=torch.long)).objective(model, -torch.ones(40, 1))
    found, asked = [], []
    for root in ("bisect", "interpolate"):
        meter = Meter(40)
        oracle = Oracle(Handle(model, 40, meter=meter).focus(objective), objective)
        found.append(
            smallest_step(
                Line(x, direction, MINIMAL),
                oracle,
                first_step=1,
                max_steps=20,
                max_bisections=24,
                root=root,  # type: ignore[arg-type]
            )
        )
        asked.append(meter.forwards)
    assert torch.equal(*found)
    assert ((found[0] * GREY - 60).round().sum((1, 2, 3)) == 201).float().mean() > 0.9  # else two at once
    # No more than SPARE halvings behind, whatever the curve; one more where the last one was in vain.
    assert (asked[1] <= asked[0] + SPARE + 1).all()


def test_a_test_in_reduced_precision_is_believed_only_where_it_is_far_off() -> None:
    """In bfloat16 the score is off by 0.05, and would flip the case two levels early."""
    seen: list[tuple[str, float]] = []

    class Off(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            coarse = torch.is_autocast_enabled("cpu")
            eps = x[:, 0, 0, 0] * GREY - 100
            seen.extend(("bfloat16" if coarse else "float32", value) for value in eps.round().tolist())
            return ((eps - 20.5) / 40 + 0.05 * coarse)[:, None]

    model = harness.wrap_model(Off().eval(), "attributes", names=["a"])
    x = torch.full((1, 1, 2, 2), 100 / GREY)
    objective = FlipAttribute(torch.tensor(0)).objective(model, torch.full((1, 1), -1.0))
    handle = Handle(model, 1, compute="bfloat16").focus(objective)
    for trust, coarse in ((0.1, [1, 3, 7, 15, 31]), (math.inf, [])):
        seen.clear()
        found = smallest_step(
            Line(x, torch.ones_like(x), MINIMAL),
            Oracle(handle, objective, trust),
            first_step=1,
            max_steps=20,
            max_bisections=24,
        )
        assert (found[0, 0, 0, 0] * GREY - 100).item() == pytest.approx(21)
        assert [eps for precision, eps in seen if precision == "bfloat16"] == coarse
        exact = [eps for precision, eps in seen if precision == "float32"]
        # At 15 the bfloat16 score is -0.0875: not far enough. 1, 3, 7 and 31 are. At 23 it is foreseen.
        assert exact[:2] == ([15, 23] if coarse else [1, 3])


def test_a_flip_that_only_reduced_precision_sees_is_none() -> None:
    """In bfloat16 the score of the second case flips at 2 and stays there; in float32 both do at 20.5."""

    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            eps = x[:, 0, 0, 0] * GREY - 100
            exact = (eps - 20.5) / 40
            if not torch.is_autocast_enabled("cpu"):
                return exact[:, None]
            second = x[:, 0, 1, 1] > 0.9
            return torch.where(second, torch.where(eps < 2, -0.5, 0.5), exact)[:, None]

    model = harness.wrap_model(Wrong().eval(), "attributes", names=["a"])
    x = torch.full((2, 1, 2, 2), 100 / GREY)
    x[1, 0, 1, 1] = 1.0
    objective = FlipAttribute(torch.tensor(0)).objective(model, torch.full((2, 1), -1.0))
    handle = Handle(model, 2, compute="bfloat16").focus(objective)
    found = smallest_step(
        Line(x, torch.ones_like(x), MINIMAL),
        Oracle(handle, objective, 0.1),
        first_step=1,
        max_steps=20,
        max_bisections=24,
    )
    assert (found[:, 0, 0, 0] * GREY - 100).tolist() == pytest.approx([21, 21])


def test_halvings_that_yield_no_new_image_ask_nothing() -> None:
    # All components change at once, every full level: seven images lie between 7 and 15.
    eps, asked, _ = search(lambda eps: eps - 11.5, whole=False)
    assert eps.item() == pytest.approx(12, abs=1e-3)
    assert [row[0] for row in asked] == [1, 3, 7, 15, 11, 13, 12]


def test_without_a_grid_images_stay_real_and_end_within_one_stored_image() -> None:
    threat = Minimal("linf", levels=None)
    eps, _, _ = search(lambda eps: eps - 2.6, threat=threat, whole=False)
    assert 2.6 < eps.item() < 3.6


def test_equal_scores_are_no_flip_and_neither_is_one_within_rounding_errors() -> None:
    eps, _, _ = search(lambda eps: torch.where(eps > 2.5, 1e-7, -1.0))
    assert eps.item() == pytest.approx(0, abs=1e-6)


def test_no_cases() -> None:
    eps, asked, _ = search(lambda eps: eps, cases=0)
    assert eps.shape == (0,)
    assert asked == []


@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
def test_a_slope_that_leads_nowhere_is_no_direction(slope: float) -> None:
    slopes = torch.ones(2, 1, 2, 2)
    slopes[1] = 0
    slopes[1, 0, 0, 0] = slope
    direction = along(slopes, MINIMAL)
    assert (direction[0] == 1).all()
    assert (direction[1] == 0).all()
    assert Line(torch.zeros(2, 1, 2, 2), direction, MINIMAL).end().tolist() == [254.5, 0]


def test_a_region_is_applied_before_rescaling() -> None:
    slopes = torch.tensor([[8.0, 2.0], [1.0, 0.5]]).view(1, 1, 2, 2)
    mask = torch.tensor([[False, True], [True, True]])
    direction = along(slopes, Region(mask, norm="linf"))
    assert direction.flatten().tolist() == [0, 1, 0.5, 0.25]


def test_impossible_searches_are_refused() -> None:
    with pytest.raises(AttackError, match="first_step=0"):
        search(lambda eps: eps, first_step=0)
