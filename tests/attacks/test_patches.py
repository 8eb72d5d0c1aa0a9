"""Patches per image, on eyeglasses and on squares: what they change, and how far they get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Targeted
from harness.judge.trial import attempt
from harness.randomness import CaseRandom
from harness.threat import Region, Threat
from harness_attacks.patch import patch
from harness_attacks.square import square
from harness_attacks.tanh_space import FACTOR, from_tanh, steepness, to_tanh

FACE = (-0.25, -0.25, 1.25, 1.25)
"""Where the crop lies, so that masks on images of 16x16 are large enough to matter."""


def window() -> Tensor:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[5:9, 5:10] = True
    return mask


def grid() -> Tensor:
    """bool (9, 16, 16), places of 4x4."""
    places = torch.zeros(9, 16, 16, dtype=torch.bool)
    for place in range(9):
        row, column = 2 + 4 * (place // 3), 2 + 4 * (place % 3)
        places[place, row : row + 4, column : column + 4] = True
    return places


def goals(setting: Any, threshold: float = 4.0) -> dict[str, tuple[harness.Model, Goal]]:
    """Of the classes setting: each goal of its logits and, as embeddings, of these."""
    logits = setting.model.scores(setting.x)
    verifier = harness.wrap_model(setting.module, "embedding", threshold=threshold)
    return {
        "untargeted": (setting.model, setting.goal),
        "targeted": (setting.model, Targeted((setting.labels + 1) % 4)),
        "impersonate": (verifier, Impersonate(logits.roll(1, 0))),
        "evade": (verifier, Evade(logits)),
    }


def random_patterns(model: harness.Model, x: Tensor, goal: Goal, masks: Tensor, tries: int) -> Tensor:
    """(B,) whether one of so many random patterns inside one of the masks (P, H, W) reaches the goal."""
    draws = torch.Generator().manual_seed(11)
    objective = goal.objective(model, model.scores(x))
    reached = torch.zeros(len(x), dtype=torch.bool)
    for attempt_number in range(tries):
        mask = masks[attempt_number % len(masks)]
        # black and white, the strongest noise, and every level between them, in turn
        noise = torch.rand(x.shape, generator=draws)
        noise = noise.round() if attempt_number // len(masks) % 2 else noise
        reached |= objective.reached(model.scores(torch.where(mask, noise, x)))
    return reached


# --- what they change -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["eyeglasses", "square"])
@pytest.mark.parametrize("early_stop", [True, False])
def test_nothing_changes_outside_the_region(joint: Any, name: str, early_stop: bool) -> None:
    few, kept = joint.first(40), joint.x[:40].clone()
    params = {"iterations": 10, "early_stop": early_stop, "face": FACE}
    outcome = harness.attack(name, few.model, few.x, goal=few.goal, **params)
    entry = harness.catalog().attacks[name]
    masks = entry.load(entry.spec.region)(16, 16, face=FACE)
    changed = (outcome.adversarials != few.x).any(1)  # (B, 16, 16)
    outside = changed[:, None] & ~masks.view(1, -1, 16, 16)  # (B, P, 16, 16)
    assert (outside.flatten(2).sum(2) == 0).any(1).all()
    assert changed.flatten(1).any(1).all()
    assert outcome.valid.all()
    assert torch.equal(few.x, kept)
    assert outcome.success.any()


def test_every_pixel_of_the_region_is_used(joint: Any) -> None:
    few = joint.first(10)
    outcome = harness.attack(
        patch, few.model, few.x, goal=few.goal, threat=Region(window()), early_stop=False
    )
    changed = (outcome.adversarials != few.x).any(1)
    assert torch.equal(changed, window().expand(10, -1, -1))


def test_masks_of_different_sizes_in_one_batch(joint: Any) -> None:
    few = joint.first(12)
    masks = torch.zeros(12, 1, 16, 16, dtype=torch.bool)
    for case in range(12):
        masks[case, :, 4 : 5 + case, 4:9] = True
    params = {"iterations": 10, "early_stop": False, "restarts": 1}
    outcome = harness.attack(patch, few.model, few.x, goal=few.goal, threat=Region(masks), **params)
    changed = (outcome.adversarials != few.x).any(1, keepdim=True)
    assert torch.equal(changed, masks)
    for case in (0, 5, 11):
        own = one(few, case, patch, Region(masks[case, 0]), params)
        assert torch.allclose(own, outcome.adversarials[case], atol=1e-6)


# --- how far they get -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["patch", "square"])
@pytest.mark.parametrize("goal_name", ["flip", "untargeted", "targeted", "impersonate", "evade"])
def test_it_beats_random_patterns(joint: Any, classes: Any, name: str, goal_name: str) -> None:
    if goal_name == "flip":
        few = joint.first(40)
        model, goal, x = few.model, few.goal, few.x
    else:
        few = classes.first(40)
        (model, goal), x = goals(few)[goal_name], few.x
    run, masks = (patch, window()[None]) if name == "patch" else (square, grid())
    threat = Region(masks[0] if name == "patch" else masks)
    outcome = harness.attack(run, model, x, goal=goal, threat=threat)
    clean = goal.objective(model, model.scores(x)).reached(model.scores(x))
    by_chance = random_patterns(model, x, goal, masks, 200) | clean
    assert outcome.valid.all()
    # whatever noise can do, and half of what it cannot
    assert (outcome.success | ~by_chance).float().mean() > 0.97
    assert outcome.success.sum() > by_chance.sum() + 0.2 * len(x) or outcome.success.float().mean() > 0.95


class Linear(nn.Module):
    """One score (B, 1), linear."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.weights, self.bias = weights, bias  # (C, H, W)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,chw->b", x, self.weights)[:, None] + self.bias


def linear(bias: float, scale: float = 1.0) -> tuple[harness.Model, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(3)
    weights = torch.randn(3, 16, 16, generator=draws)
    x = torch.round(torch.rand(20, 3, 16, 16, generator=draws) * 255) / 255
    x[0], x[1] = 0, 1  # from where tanh space is steepest to climb
    return harness.wrap_model(Linear(scale * weights, scale * bias), "attributes"), x, weights


def lowest(x: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """(B,) the least score within reach of the mask: white where the weight is negative, else black."""
    best = torch.where(mask, (weights < 0).float(), x)
    return torch.einsum("bchw,chw->b", best, weights)


@pytest.mark.filterwarnings("ignore:probabilities")  # a score of one attribute, above 0 on all images
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_a_linear_score_comes_down_to_its_optimum(scale: float) -> None:
    model, x, weights = linear(1000.0, scale)
    goal = FlipAttribute(torch.tensor(0))
    outcome = harness.attack(patch, model, x, goal=goal, threat=Region(window()))
    found = model.scores(outcome.adversarials)[:, 0] / scale - 1000
    start = torch.einsum("bchw,chw->b", x, weights)
    gain = (start - found) / (start - lowest(x, weights, window()))
    assert not outcome.reached.any()
    assert gain.min() > 0.98
    assert gain.max() <= 1 + 1e-3


@pytest.mark.parametrize(("bias", "early_stop"), [(1000.0, True), (1000.0, False), (20.0, False)])
def test_the_square_is_put_where_it_does_most(bias: float, early_stop: bool) -> None:
    model, x, weights = linear(bias)
    x = x[model.scores(x)[:, 0] > 0]
    outcome = harness.attack(
        square, model, x, goal=FlipAttribute(torch.tensor(0)), threat=Region(grid()), early_stop=early_stop
    )
    assert outcome.reached.any() == (bias == 20)  # then several places would do, and the best is still wanted
    found = model.scores(outcome.adversarials)[:, 0] - bias
    start = torch.einsum("bchw,chw->b", x, weights)
    best = torch.stack([lowest(x, weights, place) for place in grid()])  # (P, B)
    gain = (start - found) / (start - best.amin(0))
    assert gain.min() > 0.97
    assert len(best.argmin(0).unique()) > 1  # not the same place for all
    used = (outcome.adversarials != x).any(1)[:, None] & grid()  # (B, P, 16, 16)
    assert (used.flatten(2).sum(2).argmax(1) == best.argmin(0)).float().mean() > 0.8


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("kind", ["flip", "impersonate"])
def test_a_plain_loop_with_torchs_adam_finds_the_same(
    joint: Any, classes: Any, kind: str, mirror: bool
) -> None:
    setting = joint if kind == "flip" else classes
    verifier = harness.wrap_model(classes.module, "embedding", threshold=0.01)
    model = joint.model if kind == "flip" else verifier
    anchors = verifier.scores(classes.x).roll(1, 0)
    mask, params = window(), {"iterations": 30, "restarts": 1, "early_stop": False, "mirror": mirror}
    for case in range(4):
        x = setting.x[case : case + 1]
        goal = (
            FlipAttribute(setting.columns[case : case + 1])
            if kind == "flip"
            else Impersonate(anchors[case : case + 1])
        )
        loss = "margin" if kind == "flip" else "squared-distance"
        threat = Region(mask, levels=None)
        outcome = harness.attack(patch, model, x, goal=goal, threat=threat, loss=loss, seed=7, **params)

        def climbed(image: Tensor, case: int = case) -> Tensor:
            if kind == "flip":
                score = joint.module(image)[0, joint.columns[case]]
                return (
                    score if joint.module(setting.x[case : case + 1])[0, joint.columns[case]] <= 0 else -score
                )
            return -(classes.module(image)[0] - anchors[case]).square().sum()

        noise = CaseRandom(7, ["0"]).uniform((3, 16, 16), -0.5, 0.5)
        expected = by_hand(x, noise, mask, climbed, mirror)
        assert torch.allclose(outcome.adversarials, expected, atol=2e-4)


def by_hand(x: Tensor, noise: Tensor, mask: Tensor, climbed: Any, mirror: bool) -> Tensor:
    """30 steps on one image by autograd through tanh, the best of the way and the end."""
    start = torch.atanh((x - 0.5) * 2 * 0.999999)
    delta = noise.clone().requires_grad_()
    adam = torch.optim.Adam([delta], lr=0.1, eps=1e-16)
    best, best_value = x, -torch.inf
    for step in range(31):
        image = torch.where(mask, torch.tanh(start + mask * delta) / 2 + 0.5, x)
        value = climbed(image)
        if value > best_value:
            best, best_value = image.detach(), value.detach()
        if step < 30:
            loss = -(value + climbed(image.flip(3))) / 2 if mirror else -value
            adam.zero_grad()
            loss.backward()
            adam.step()
    return best


def test_restarts_help_and_keep_the_best(joint: Any) -> None:
    def margins(restarts: int, early_stop: bool) -> Tensor:
        objective = joint.goal.objective(joint.model, joint.model.scores(joint.x))
        params = {"iterations": 4, "restarts": restarts, "early_stop": early_stop}
        outcome = harness.attack(
            patch, joint.model, joint.x, goal=joint.goal, threat=Region(window()), **params
        )
        return objective.margin(joint.model.scores(outcome.adversarials))

    once, often = margins(1, False), margins(4, False)
    assert (often >= once - 1e-6).all()
    assert (often > once + 1e-6).float().mean() > 0.5
    assert torch.equal(margins(4, True) > 1e-5, often > 1e-5)


# --- batches ----------------------------------------------------------------------------------------------


def one(setting: Any, case: int, run: Any, threat: Threat, params: dict[str, Any]) -> Tensor:
    rows = slice(case, case + 1)
    goal = FlipAttribute(setting.columns[rows], setting.labels[rows])
    x = setting.x[rows]
    trial = attempt(setting.model, run, x, goal, threat, seed=0, keys=[str(case)], parameters=params)
    return trial.verdict.adversarials[0]


@pytest.mark.parametrize("name", ["patch", "square"])
@pytest.mark.parametrize("early_stop", [True, False])
def test_a_case_is_attacked_alike_in_any_batch(joint: Any, name: str, early_stop: bool) -> None:
    run, mask = (patch, window()) if name == "patch" else (square, grid())
    threat = Region(mask, levels=None)
    few, params = joint.first(14), {"iterations": 4, "restarts": 2, "early_stop": early_stop}
    together = harness.attack(run, few.model, few.x, goal=few.goal, threat=threat, **params)
    for case in range(14):
        assert torch.allclose(one(few, case, run, threat, params), together.adversarials[case], atol=1e-5)


@pytest.mark.parametrize("cases", [0, 1])
@pytest.mark.parametrize("name", ["eyeglasses", "square"])
def test_hardly_any_cases(joint: Any, cases: int, name: str) -> None:
    few = joint.first(cases)
    outcome = harness.attack(name, few.model, few.x, goal=few.goal, face=FACE, iterations=3)
    assert outcome.adversarials.shape == (cases, 3, 16, 16)
    assert outcome.valid.all()


@pytest.mark.parametrize("name", ["patch", "square"])
def test_reduced_precision_is_never_trusted_with_a_decision(joint: Any, name: str) -> None:
    run, mask = (patch, window()) if name == "patch" else (square, grid())
    outcome = harness.attack(
        run, joint.model, joint.x, goal=joint.goal, threat=Region(mask), compute="bfloat16"
    )
    exact = harness.attack(run, joint.model, joint.x, goal=joint.goal, threat=Region(mask))
    early = outcome.backwards < outcome.backwards.max()
    assert early.any()
    assert outcome.success[early].all()
    assert (outcome.success == exact.success).float().mean() > 0.95


# --- odd models and requests ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["patch", "square"])
def test_an_answer_that_is_not_a_number_keeps_the_original(name: str) -> None:
    class Broken(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * torch.where((x == 0.5).flatten(1).all(1), 1.0, torch.nan)[:, None]

    run, mask = (patch, window()) if name == "patch" else (square, grid())
    x = torch.full((2, 3, 16, 16), 0.5)
    model = harness.wrap_model(Broken(torch.ones(3, 16, 16), 1.0), "attributes")
    threat = replace(Region(mask), levels=None)
    outcome = harness.attack(run, model, x, goal=FlipAttribute(torch.tensor(0)), threat=threat, iterations=3)
    assert torch.equal(outcome.adversarials, x)
    assert not outcome.success.any()


def test_a_gradient_that_is_zero_is_no_error() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1 + 0 * x.sum((1, 2, 3))[:, None]

    model = harness.wrap_model(Flat(), "attributes")
    x = torch.full((2, 3, 16, 16), 128 / 255)
    for run, mask in ((patch, window()), (square, grid())):
        goal = FlipAttribute(torch.tensor(0))
        outcome = harness.attack(run, model, x, goal=goal, threat=Region(mask), iterations=3)
        assert outcome.valid.all()
        assert not outcome.reached.any()


@pytest.mark.parametrize(
    ("run", "threat", "params", "fault"),
    [
        (patch, Threat(), {}, "needs a region"),
        (square, Threat(), {}, "needs a region"),
        (patch, Region(grid()), {}, "has 9 places, so use the attack square"),
        (square, Region(window()), {}, "needs places"),
        (patch, Region(torch.zeros(16, 16)), {}, "holds no pixel"),
        (square, Region(torch.zeros(2, 16, 16)), {}, "holds no pixel"),
        (patch, Region(window(), norm="linf", eps=0.1), {}, "does not bound a patch"),
        (patch, Region(window()), {"iterations": 0}, "iterations"),
        (patch, Region(window()), {"learning_rate": 0.0}, "learning_rate"),
        (patch, Region(window()), {"restarts": 0}, "restarts"),
        (square, Region(grid()), {"search_iterations": 0}, "search_iterations"),
    ],
)
def test_impossible_requests_are_refused(
    joint: Any, run: Any, threat: Threat, params: dict[str, Any], fault: str
) -> None:
    with pytest.raises(AttackError, match=fault):
        harness.attack(run, joint.model, joint.x, goal=joint.goal, threat=threat, **params)


@pytest.mark.parametrize("name", ["eyeglasses", "square", "universal-patch", "random-eyeglasses"])
def test_presets_and_regions_are_parameters(name: str) -> None:
    from harness.parameters import check

    entry = harness.catalog().attacks[name]
    for preset in entry.spec.presets.values():
        check("here", {**preset, "face": [0.1, 0, 1, 1]}, entry.parameters(), AttackError)
    more = {"paper-evasion", "paper-indirect"} if name in ("eyeglasses", "square") else set()
    assert set(entry.spec.presets) == (set() if name == "random-eyeglasses" else {"quick", "paper"} | more)


def test_tanh_space() -> None:
    x = torch.linspace(0, 1, 256)
    assert torch.allclose(from_tanh(to_tanh(x)), x, atol=1e-6)
    assert torch.allclose(to_tanh(x).double(), torch.atanh((x.double() - 0.5) * 2 * FACTOR), rtol=1e-2)
    values = torch.linspace(-5, 5, 21).requires_grad_()
    (slope,) = torch.autograd.grad(from_tanh(values).sum(), values)
    assert torch.allclose(steepness(from_tanh(values.detach())), slope, atol=1e-6)
