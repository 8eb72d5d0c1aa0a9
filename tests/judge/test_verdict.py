"""The judge: images that cheat do not score, their honest twins do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from harness import wrap_model
from harness.errors import ContractError
from harness.goals import Evade, FlipAttribute, Impersonate, Untargeted
from harness.judge.verdict import Verdict, judge
from harness.model import Model
from harness.threat import FLOAT_TOLERANCE, L2, Linf, Minimal, Region, Threat, l2

SHAPE = (3, 6, 6)
SIZE = 3 * 6 * 6
LEVEL = 1 / 255
NAN, INF = float("nan"), float("inf")


class Brighter(nn.Module):
    """Scores (B, 2) of "the mean is above half grey": any large enough lightening flips it."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1) - 0.5
        return torch.stack([mean, -mean], 1)


BRIGHTER = wrap_model(Brighter(), "attributes")


def greys(count: int = 3, level: int = 120) -> Tensor:
    """Plain grey images a little below half grey; from 128 on they flip."""
    return torch.full((count, *SHAPE), level * LEVEL)


def verdict(x_adv: Any, threat: Threat, x: Tensor | None = None, model: Model = BRIGHTER) -> Verdict:
    x = greys() if x is None else x
    index = torch.zeros(len(x), dtype=torch.long)
    objective = FlipAttribute(index).objective(model, model.scores(x))
    return judge(model, objective, threat, x, x_adv)


def test_honest_image_scores() -> None:
    found = verdict(greys() + 8 * LEVEL, Linf(8 * LEVEL))
    assert found.success.all()
    assert found.valid.all()
    assert found.reached.all()
    assert found.faults == found.errors == ("", "", "")
    assert found.linf.tolist() == pytest.approx([8 * LEVEL] * 3)
    assert found.l2.tolist() == pytest.approx([8 * LEVEL * SIZE**0.5] * 3)
    assert found.l0.tolist() == [36] * 3
    assert (found.margin > 0).all()
    assert torch.equal(found.margin, found.outputs[:, 0])


def test_original_is_valid_and_does_not_score() -> None:
    found = verdict(greys(), Linf(8 * LEVEL))
    assert found.valid.all()
    assert not found.reached.any()
    assert not found.linf.any()


# --- bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("honest", "cheat", "threat", "fault"),
    [
        (8, 9, Linf(8 * LEVEL), "over the budget"),
        (8, 8.6, Linf(8 * LEVEL), "over the budget"),
        (8, 200, Linf(8 * LEVEL), "outside the box"),
        (8, 136, Minimal("l2"), "outside the box"),
        (8, 136, Minimal("linf", levels=None), "outside the box"),
        (8, 8.7, L2(8 * LEVEL * SIZE**0.5), "over the budget"),
        (8, 8.001, L2(8 * LEVEL * SIZE**0.5, levels=None), "over the budget"),
        (8, 8.01, Linf(8 * LEVEL, levels=None), "over the budget"),
        (8, 8.8, Linf(8.2 * LEVEL), "over the budget"),
    ],
    ids=str,
)
def test_image_out_of_bounds_reaches_its_goal_and_does_not_score(
    honest: float, cheat: float, threat: Threat, fault: str
) -> None:
    x_adv = greys()
    x_adv[0] += honest * LEVEL
    x_adv[1] += cheat * LEVEL
    found = verdict(x_adv, threat)
    assert found.success.tolist() == [True, False, False]
    assert found.reached.tolist() == [True, True, False]
    assert found.valid.tolist() == [True, False, True]
    assert found.faults == ("", fault, "")
    assert found.errors == ("", "", "")


def test_one_component_out_of_bounds_is_enough() -> None:
    for value in (-0.01, 1.01, 0.9):
        x_adv = greys(1) + 8 * LEVEL
        x_adv[0, 2, 5, 5] = value
        assert not verdict(x_adv, Linf(8 * LEVEL), greys(1)).valid.any()


def test_float_noise_beyond_the_box_is_forgiven() -> None:
    x = torch.zeros(1, *SHAPE)
    x[:, :, :, :3] = 1
    flip = FlipAttribute(torch.tensor([0])).objective(BRIGHTER, torch.tensor([[-1.0]]))
    x_adv = x.clone()
    x_adv[:, :, :, :3] += 5e-6
    x_adv[:, :, :, 3:] -= 5e-6
    for levels in (255, None):
        found = judge(BRIGHTER, flip, Linf(0.1, levels=levels), x, x_adv)
        assert found.valid.all()
        assert found.adversarials.min() >= 0
        assert found.adversarials.max() <= 1


def test_what_is_over_the_budget_is_recorded_as_it_came() -> None:
    x_adv = greys() + 20 * LEVEL
    found = verdict(x_adv, Linf(8 * LEVEL))
    torch.testing.assert_close(found.adversarials, x_adv)
    assert found.linf.tolist() == pytest.approx([20 * LEVEL] * 3)


@pytest.mark.parametrize("eps", [8 * LEVEL, 0.03, 8.2 * LEVEL, 7.5 * LEVEL])
def test_rounding_slack_of_linf_lets_nobody_over_the_budget(eps: float) -> None:
    # within half a level of rounding: judged, but only after it is pulled back
    returned = greys() + eps + 0.45 * LEVEL
    found = verdict(returned, Linf(eps))
    assert found.valid.all()
    assert (found.linf <= eps + FLOAT_TOLERANCE).all()
    assert found.reached.all() == (eps >= 8 * LEVEL)  # only from 8 levels on does it flip


def test_rounding_slack_of_l2_lets_nobody_over_the_budget() -> None:
    eps = 7.4 * LEVEL * SIZE**0.5  # not enough: from a mean of 7.5 levels on it flips
    threat = L2(eps)
    slack = threat.rounding_slack(SIZE)
    returned = greys() + (eps + 0.95 * slack) / SIZE**0.5
    assert verdict(returned, Minimal()).success.all()
    found = verdict(returned, threat)
    assert found.valid.all()
    assert (found.l2 <= eps + FLOAT_TOLERANCE).all()
    assert not found.reached.any()


@pytest.mark.parametrize("eps", [0.25, 0.5, 1.0, 3.0])
def test_honest_l2_attack_at_full_size_stays_valid(eps: float) -> None:
    shape, generator = (4, 3, 88, 72), torch.Generator().manual_seed(0)
    x = torch.randint(60, 190, shape, generator=generator) / 255
    for direction in (torch.randn(shape, generator=generator), torch.ones(shape)):
        x_adv = x + direction * (eps / l2(direction)).view(-1, 1, 1, 1)
        found = verdict(x_adv, L2(eps), x)
        assert found.valid.all()
        assert (found.l2 <= eps + FLOAT_TOLERANCE).all()


@settings(deadline=None, max_examples=150)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    levels=st.sampled_from([255, 255, 15, None]),
    eps=st.floats(0.001, 0.4),
    size=st.floats(0.5, 1.5),
    seed=st.integers(0, 999),
    masked=st.booleans(),
)
def test_nothing_valid_breaks_a_bound(
    norm: str, levels: int | None, eps: float, size: float, seed: int, masked: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(3, 1, 6, 6, generator=generator) > 0.3
    threat = Threat(norm, eps, mask if masked else None, levels=levels)
    x = threat.round(torch.rand(3, *SHAPE, generator=generator))
    delta = torch.randn(x.shape, generator=generator)
    if masked and seed % 2:
        delta = delta * mask
    delta = delta / threat.distance(delta).view(-1, 1, 1, 1) * eps * size
    found = verdict(x + delta, threat, x)
    judged = found.adversarials
    for case in torch.nonzero(found.valid).flatten().tolist():
        change = (judged - x)[case : case + 1]
        assert threat.distance(change).item() <= eps + FLOAT_TOLERANCE
        assert judged[case].min() >= 0
        assert judged[case].max() <= 1
        if masked:
            assert (change[0] * ~mask[case]).abs().max() <= FLOAT_TOLERANCE
        if levels:
            torch.testing.assert_close(judged[case] * levels, (judged[case] * levels).round())
    assert torch.equal(found.success, found.valid & found.reached)
    assert [bool(fault) for fault in found.faults] == (~found.valid).tolist()


@settings(deadline=None, max_examples=60)
@given(norm=st.sampled_from(["linf", "l2"]), eps=st.floats(0.004, 0.4), seed=st.integers(0, 999))
def test_honest_attack_is_valid(norm: str, eps: float, seed: int) -> None:
    threat, generator = Threat(norm, eps), torch.Generator().manual_seed(seed)
    x = threat.round(torch.rand(3, *SHAPE, generator=generator))
    x_adv = threat.project(x + eps * 3 * torch.randn(x.shape, generator=generator), x)
    assert verdict(x_adv, threat, x).valid.all()


def test_judging_again_what_was_judged_says_the_same() -> None:
    x = torch.randint(60, 190, (4, *SHAPE), generator=torch.Generator().manual_seed(0)) / 255
    delta = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    for threat in (L2(0.3), Linf(0.03)):
        first = verdict(threat.project(x + delta, x), threat, x)
        second = verdict(first.adversarials, threat, x)
        assert torch.equal(first.adversarials, second.adversarials)
        assert torch.equal(first.valid, second.valid)


# --- regions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [255, None])
def test_changes_outside_the_mask_do_not_score(levels: int | None) -> None:
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:3] = True
    threat = Region(mask, levels=levels)
    x_adv = greys()
    x_adv[0, :, :3] += 20 * LEVEL
    x_adv[1] += 20 * LEVEL
    x_adv[2, :, :3] += 20 * LEVEL
    x_adv[2, 1, 5, 5] += LEVEL  # one grey level of one component
    found = verdict(x_adv, threat)
    assert found.reached.all()
    assert found.success.tolist() == [True, False, False]
    assert found.faults == ("", "outside the region", "outside the region")


def test_change_outside_the_mask_that_rounding_removes_is_no_change() -> None:
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:3] = True
    x_adv = greys()
    x_adv[:, :, :3] += 20 * LEVEL
    x_adv[:, :, 3:] += 0.4 * LEVEL
    found = verdict(x_adv, Region(mask))
    assert found.success.all()
    assert not (found.adversarials - greys())[:, :, 3:].any()


def test_masks_per_case() -> None:
    masks = torch.zeros(3, 1, 6, 6, dtype=torch.bool)
    masks[0, :, :3], masks[1, :, 3:], masks[2, :, :3] = True, True, True
    x_adv = greys()
    x_adv[0, :, :3] += 20 * LEVEL
    x_adv[1, :, 3:] += 20 * LEVEL
    x_adv[2, :, 3:] += 20 * LEVEL
    found = verdict(x_adv, Region(masks))
    assert found.reached.all()
    assert found.success.tolist() == [True, True, False]


def test_region_and_budget_hold_together() -> None:
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:3] = True
    x_adv = greys()
    x_adv[0, :, :3] += 16 * LEVEL
    x_adv[1, :, :3] += 17 * LEVEL
    x_adv[2] += 16 * LEVEL
    found = verdict(x_adv, Region(mask, norm="linf", eps=16 * LEVEL))
    assert found.reached.all()
    assert found.success.tolist() == [True, False, False]
    assert found.faults == ("", "over the budget", "outside the region")


# --- what is no image -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("threat", [Linf(8 * LEVEL), Minimal("l2", levels=None), Threat()], ids=str)
def test_image_that_is_not_finite_is_an_error(value: float, threat: Threat) -> None:
    x_adv = greys() + 8 * LEVEL
    x_adv[1, 0, 0, 0] = value
    found = verdict(x_adv, threat)
    assert found.success.tolist() == [True, False, True]
    assert found.errors == ("", "the attack's image is not finite", "")
    assert found.reached.tolist() == found.valid.tolist() == [True, False, True]
    assert found.adversarials.isfinite().all()


def test_float64_and_half_precision_are_images_too() -> None:
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert verdict((greys() + 8 * LEVEL).to(dtype), Linf(9 * LEVEL)).success.all()
    huge = (greys() + 8 * LEVEL).double()
    huge[1] = 1e300
    assert verdict(huge, Linf(9 * LEVEL)).success.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned NoneType instead of a tensor"),
        (np.zeros((3, *SHAPE), np.float32), "returned ndarray instead of a tensor"),
        ((greys() + 0.1, torch.ones(3, dtype=torch.bool)), "returned tuple instead of a tensor"),
        ({"x_adv": greys(), "success": True}, "returned dict"),
        (greys(2), r"returned shape \(2, 3, 6, 6\) for \(3, 3, 6, 6\)"),
        (greys()[:, :1], "returned shape"),
        (greys().flatten(1), "returned shape"),
        (torch.full((3, *SHAPE), 255, dtype=torch.uint8), "returned torch.uint8 instead of floating-point"),
        (torch.ones(3, *SHAPE, dtype=torch.bool), "returned torch.bool"),
        (torch.ones(3, *SHAPE, dtype=torch.complex64), "returned torch.complex64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses_what_is_no_batch_of_images(returned: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        verdict(returned, Linf(0.1))


def test_image_that_carries_a_gradient_or_is_a_parameter_is_only_an_image() -> None:
    x_adv = nn.Parameter(greys() + 8 * LEVEL)
    found = verdict(x_adv, Linf(8 * LEVEL))
    assert found.success.all()
    assert not found.adversarials.requires_grad


def test_nothing_that_it_is_given_changes() -> None:
    x, x_adv = greys(), greys() + 8.3 * LEVEL
    for levels in (255, None):
        found = verdict(x_adv, Linf(8 * LEVEL, levels=levels), x)
        found.adversarials.zero_()
        assert torch.equal(x, greys())
        assert torch.equal(x_adv, greys() + 8.3 * LEVEL)


# --- the victim -------------------------------------------------------------------------------------------


def test_decides_on_the_rounded_image() -> None:
    # 127.6 levels are more than half grey, and 128 after rounding; 127.4 would flip only a model of 0.499
    class Above(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mean(1, keepdim=True) - 127.2 * LEVEL

    found = verdict(
        torch.stack([greys(1)[0] + 7.4 * LEVEL, greys(1)[0] + 7.6 * LEVEL]),
        Linf(0.1),
        greys(2),
        wrap_model(Above(), "attributes"),
    )
    assert found.reached.tolist() == [False, True]
    assert (found.adversarials[:, 0, 0, 0] * 255).tolist() == pytest.approx([127, 128])
    as_they_are = verdict(
        greys(2) + 7.4 * LEVEL, Linf(0.1, levels=None), greys(2), wrap_model(Above(), "attributes")
    )
    assert as_they_are.reached.all()


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("column", [0, 1])
def test_answer_that_is_not_finite_is_an_error(value: float, column: int) -> None:
    class Broken(Brighter):
        """Answers nonsense about light images."""

        def forward(self, x: Tensor) -> Tensor:
            outputs = super().forward(x)
            outputs[x.flatten(1).mean(1) > 0.6, column] = value
            return outputs

    x_adv = greys()
    x_adv[0] += 10 * LEVEL
    x_adv[1] += 60 * LEVEL
    found = verdict(x_adv, Minimal(), model=wrap_model(Broken(), "attributes"))
    assert found.success.tolist() == [True, False, False]
    assert found.reached.tolist() == [True, False, False]
    assert found.valid.tolist() == [True, False, True]
    assert found.errors == ("", "the model's output is not finite", "")


@pytest.mark.parametrize("goal", [Evade, Impersonate])
def test_undefined_distance_is_an_error(goal: Any) -> None:
    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return 1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))

    class Pixels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    model = wrap_model(Pixels(), "embedding", threshold=0.5, distance=cosine)
    x = greys(2)
    objective = goal(x.flatten(1)).objective(model, model.scores(x))
    x_adv = torch.stack([x[0], torch.zeros(SHAPE)])  # a black image has no direction
    found = judge(model, objective, Minimal(), x, x_adv)
    assert not found.success[1]
    assert found.errors == ("", "the model's output is not finite")


def test_wrong_shape_of_answer_is_no_success() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mean(1)

    objective = Untargeted(torch.tensor([0, 0, 0])).objective(wrap_model(Brighter()), torch.zeros(3, 2))
    with pytest.raises(ContractError, match=r"returned \(3,\) for a batch of 3"):
        judge(wrap_model(Flat()), objective, Minimal(), greys(), greys())


def test_judges_in_eval_mode_and_in_float32() -> None:
    seen = []

    class Watching(Brighter):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, x.dtype, torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()))
            return super().forward(x)

    module = Watching().train()
    objective = FlipAttribute(torch.zeros(3).long()).objective(BRIGHTER, torch.full((3, 2), -1.0))
    with torch.autocast("cpu", torch.bfloat16):
        judge(wrap_model(module, "attributes"), objective, Minimal(), greys(), greys().double())
    assert seen == [(False, torch.float32, False, False)]
    assert module.training


def test_batch_size_does_not_matter_and_no_cases_are_judged_too() -> None:
    x_adv = greys() + torch.tensor([7.0, 8.0, 9.0]).view(3, 1, 1, 1) * LEVEL
    objective = FlipAttribute(torch.zeros(3).long()).objective(BRIGHTER, BRIGHTER.scores(greys()))
    for size in (1, 2, 256):
        found = judge(BRIGHTER, objective, Linf(8 * LEVEL), greys(), x_adv, batch_size=size)
        assert found.success.tolist() == [False, True, False]
    empty = verdict(greys(0), Linf(0.1), greys(0))
    assert empty.success.shape == (0,)
    assert empty.faults == ()
