"""Budgets, regions, the 8-bit grid, and what rounding to it costs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from harness.errors import AttackError
from harness.threat import FLOAT_TOLERANCE, L2, Linf, Minimal, Region, Threat, l0, l2, linf

SHAPE = (3, 88, 72)
FACE = 3 * 88 * 72
"""Components of an image of the main suite."""


def on_grid(count: int, shape: tuple[int, ...] = SHAPE, *, low: int = 0, high: int = 255) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(low, high + 1, (count, *shape), generator=generator) / 255


def noise(count: int, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("threat", "label"),
    [
        (Linf(8 / 255), "linf 8/255"),
        (Linf(0.03), "linf 0.03"),
        (Linf(0), "linf 0"),
        (Linf(1), "linf 1"),
        (L2(0.5), "l2 0.5"),
        (L2(0.2), "l2 0.2"),  # 51/255, of which nobody thinks in L2
        (L2(2), "l2 2"),
        (Minimal("linf"), "linf minimal"),
        (Region(torch.ones(2, 2)), "region"),
        (Region(torch.ones(2, 2), norm="l2", eps=1.5), "l2 1.5 region"),
        (Threat(), "unbounded"),
    ],
)
def test_labels(threat: Threat, label: str) -> None:
    assert threat.label == label


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "l_inf", "eps": 0.1}, 'norm "l_inf" is unknown; did you mean "linf"'),
        ({"norm": "linf", "eps": -0.1}, "must be from 0 to"),
        ({"norm": "linf", "eps": float("nan")}, "must be from 0 to"),
        ({"norm": "l2", "eps": float("inf")}, "must be from 0 to"),
        ({"norm": "linf", "eps": 3.4e38}, "must be from 0 to"),
        ({"norm": "linf", "eps": 8}, "8 of 255 grey levels are 8/255"),
        ({"norm": "linf", "eps": 300}, "above 1 in L-infinity"),
        ({"eps": 0.1}, "needs a norm"),
        ({"access": "score"}, 'access "score" is unknown; did you mean "scores"'),
        ({"levels": 0}, "levels = 0"),
    ],
)
def test_refuses_what_makes_no_threat(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(AttackError, match=message):
        Threat(**arguments)  # type: ignore[arg-type]


def test_refuses_a_mask_that_is_no_plane() -> None:
    with pytest.raises(AttackError, match=r"mask has shape \(4,\)"):
        Region(torch.ones(4))


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Linf(0.1).eps = 1.0  # type: ignore[misc]


def test_distances_against_plain_definitions() -> None:
    delta = torch.zeros(2, 3, 2, 2)
    delta[0, 0, 0, 0], delta[0, 2, 0, 0], delta[0, 1, 1, 1] = 0.3, -0.4, 1e-9
    assert linf(delta).tolist() == pytest.approx([0.4, 0])
    assert l2(delta).tolist() == pytest.approx([0.5, 0])
    assert l0(delta).tolist() == [2, 0]  # pixels, not components


def test_masks_of_cases_follow_them() -> None:
    masks = torch.arange(3).view(3, 1, 1, 1).expand(3, 1, 2, 2) == 1
    taken = Region(masks).take(torch.tensor([1, 0, 1]))
    assert taken.mask is not None
    assert taken.mask[:, 0, 0, 0].tolist() == [True, False, True]
    shared = Region(torch.ones(2, 2))
    assert shared.take(torch.tensor([0])) is shared


# --- projection -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.floats(0, 2),
    size=st.floats(1e-6, 1e3),
    seed=st.integers(0, 99),
    masked=st.booleans(),
)
def test_projection_is_inside_and_changes_nothing_that_is(
    norm: str, eps: float, size: float, seed: int, masked: bool
) -> None:
    x, mask = on_grid(2, (3, 4, 4)), torch.arange(16).view(4, 4) % 3 == 0
    eps = min(eps, 1.0) if norm == "linf" else eps
    threat = Threat(norm, eps, mask if masked else None)
    projected = threat.project(x + size * noise(2, (3, 4, 4), seed), x)
    assert (threat.distance(projected - x) <= eps * (1 + 1e-5) + 1e-6).all()
    assert projected.min() >= 0
    assert projected.max() <= 1
    if masked:
        assert torch.equal(projected[:, :, ~mask], x[:, :, ~mask])
    torch.testing.assert_close(threat.project(projected, x), projected, atol=2e-6, rtol=0)


def test_projection_is_the_nearest_point() -> None:
    x, far = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0.9, 0.8]).view(1, 1, 1, 2)
    assert Linf(0.35).project(far, x).flatten().tolist() == pytest.approx([0.85, 0.8])
    assert L2(0.25).project(far, x).flatten().tolist() == pytest.approx([0.7, 0.65])  # along (4, 3) / 5


# --- the grid ---------------------------------------------------------------------------------------------


def test_rounds_to_grey_levels() -> None:
    x = torch.tensor([0.0, 0.4, 0.6, 254.4, 300.0, -3.0]).view(1, 1, 1, 6) / 255
    assert (Linf(0.1).round(x) * 255).flatten().tolist() == pytest.approx([0, 0, 1, 254, 255, 0])
    assert Linf(0.1, levels=None).round(x) is x
    assert Linf(0.1, levels=1).round(torch.tensor([0.4, 0.6])).tolist() == [0, 1]


def test_rounding_leaves_what_lies_on_the_grid_bit_for_bit() -> None:
    grid = torch.arange(256) / 255
    assert torch.equal(Linf(0.1).round(grid), grid)


def test_slack_of_rounding() -> None:
    assert Linf(0.1).rounding_slack(FACE) == 0.5 / 255
    assert L2(0.1).rounding_slack(FACE) == pytest.approx((FACE / 12) ** 0.5 / 255)
    assert L2(0.1, levels=None).rounding_slack(FACE) == 0
    # what rounding does to random perturbations in fact
    delta = noise(4) * 3 / 255
    x = on_grid(4, low=50, high=200)
    errors = l2(L2(1).round(x + delta) - (x + delta))
    assert errors.tolist() == pytest.approx([L2(1).rounding_slack(FACE)] * 4, rel=0.02)


# --- settling ---------------------------------------------------------------------------------------------


def full_size(threat: Threat, x: Tensor, direction: Tensor) -> Tensor:
    """The perturbation in that direction that uses up the budget, as an honest attack returns it."""
    if threat.norm == "linf":
        return threat.project(x + direction.sign(), x)
    return threat.project(x + direction * (threat.eps or 0) / l2(direction).view(-1, 1, 1, 1), x)


@pytest.mark.parametrize("eps", [0.1, 0.25, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("kind", ["gaussian", "sign", "sparse", "uneven"])
def test_l2_budgets_stay_valid_after_rounding_and_lose_little(eps: float, kind: str) -> None:
    direction = noise(3)
    if kind == "sign":  # every component wants the same fraction of a grey level
        direction = direction.sign()
    elif kind == "sparse":
        direction = direction * (noise(3, seed=2) > 2)
    elif kind == "uneven":
        direction = direction.abs() ** 3 * direction.sign()
    x, threat = on_grid(3, low=100, high=150), L2(eps)
    x_adv = full_size(threat, x, direction)
    settled = threat.settle(x_adv, x)
    assert (l2(settled - x) <= eps + FLOAT_TOLERANCE).all()
    torch.testing.assert_close(settled, threat.round(settled), atol=0, rtol=0)
    plain = threat.round(x_adv)
    over = l2(plain - x) > eps + FLOAT_TOLERANCE
    assert torch.equal(settled[~over], plain[~over])
    # Of those that were pulled back, the budget is used up, and along the direction as good as all remains.
    assert (l2(settled - x)[over] > 0.98 * eps).all()
    gain = ((settled - x) * direction).flatten(1).sum(1) / ((x_adv - x) * direction).flatten(1).sum(1)
    # (At eps = 0.25 most components are below half a level, and leave it to the others.)
    assert (gain[over] > 0.75).all()


def test_sign_perturbation_of_nine_tenths_of_a_level_keeps_most_of_its_effect() -> None:
    # Scaling it down would round every component to 0 at once.
    x, threat = on_grid(2, low=100, high=150), L2(0.5)
    direction = noise(2).sign()
    x_adv = full_size(threat, x, direction)
    assert (l2(threat.round(x_adv) - x) > 0.53).all()
    gain = ((threat.settle(x_adv, x) - x) * direction).flatten(1).sum(1)
    wanted = ((x_adv - x) * direction).flatten(1).sum(1)
    assert (gain > 0.9 * wanted).all()


@pytest.mark.parametrize(("eps", "levels"), [(0.03, 7), (7.5 / 255, 7), (7.9 / 255, 7), (8 / 255, 8), (0, 0)])
def test_linf_budgets_off_the_grid_use_the_level_below(eps: float, levels: int) -> None:
    x, threat = on_grid(2, low=100, high=150), Linf(eps)
    sizes = torch.linspace(0, 1, FACE).view(1, *SHAPE)
    x_adv = x + eps * sizes * noise(2).sign()
    settled = threat.settle(x_adv, x)
    steps = ((settled - x) * 255).round().abs()
    assert steps.max() == levels
    # components that rounding left inside the budget are not touched
    inside = (threat.round(x_adv) - x).abs() <= eps + FLOAT_TOLERANCE
    inside &= (
        ((x_adv - x) * 255) % 1 - 0.5
    ).abs() > 1e-3  # where float32 does not decide which level is near
    assert torch.equal(settled[inside], threat.round(x_adv)[inside])


@settings(deadline=None, max_examples=150)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.floats(1e-4, 1),
    stretch=st.floats(0.5, 1.2),
    shape=st.sampled_from([(1, 1, 1), (3, 2, 2), (1, 5, 7)]),
    seed=st.integers(0, 999),
    levels=st.sampled_from([255, 255, 15, 1]),
)
def test_what_is_settled_is_in_the_budget(
    norm: str, eps: float, stretch: float, shape: tuple[int, int, int], seed: int, levels: int
) -> None:
    threat = Threat(norm, eps, levels=levels)
    x = threat.round(on_grid(3, shape))
    delta = noise(3, shape, seed)
    delta = delta / threat.distance(delta).view(-1, 1, 1, 1) * eps * stretch
    settled = threat.settle((x + delta).clamp(0, 1), x)
    assert (threat.distance(settled - x) <= eps + FLOAT_TOLERANCE).all()
    torch.testing.assert_close(settled, threat.round(settled), atol=1e-6, rtol=0)
    # and never further from x in any component than what was asked for, rounded
    assert ((settled - x).abs() <= (threat.round(x + delta) - x).abs() + 1e-6).all()


def test_settling_needs_no_batch() -> None:
    x, threat = on_grid(4, (3, 9, 9), low=50, high=200), L2(0.2)
    x_adv = full_size(threat, x, noise(4, (3, 9, 9)))
    alone = torch.cat([threat.settle(x_adv[case : case + 1], x[case : case + 1]) for case in range(4)])
    assert torch.equal(threat.settle(x_adv, x), alone)


def test_settling_does_not_hide_changes_outside_the_region() -> None:
    x, mask = on_grid(1, (3, 4, 4), low=100, high=150), torch.zeros(4, 4, dtype=torch.bool)
    mask[:2] = True
    threat = Region(mask, norm="linf", eps=7.6 / 255)
    settled = threat.settle(x + 7.6 / 255, x)
    assert ((settled - x)[:, :, 2:] > 0.02).all()


@pytest.mark.parametrize("threat", [L2(0.2, levels=None), Linf(0.0123, levels=None)])
def test_without_levels_nothing_is_rounded(threat: Threat) -> None:
    x = on_grid(2, (3, 9, 9), low=50, high=200)
    x_adv = full_size(threat, x, noise(2, (3, 9, 9)))
    assert torch.equal(threat.settle(x_adv, x), x_adv)
