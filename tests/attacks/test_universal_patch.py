"""Universal patches: one for all, learned on some images, and judged on images that it has not seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Targeted, Untargeted
from harness.judge.trial import attempt
from harness.randomness import CaseRandom
from harness.threat import Region
from harness_attacks.attack_specs import PATCH_ATTACKS
from harness_attacks.universal_patch import shuffled, universal_patch

SPEC = next(spec for spec in PATCH_ATTACKS if spec.name == "universal-patch")


def window() -> Tensor:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4:10, 4:12] = True
    return mask


def worn(
    model: harness.Model, x: Tensor, goal: Goal, fit: Tensor, *, names: list[str] | None = None, **params: Any
) -> Tensor:
    """What the attack returns for all rows, those that it learned on included."""
    returned = []

    def spy(*arguments: Any, fit: Tensor, **given: Any) -> Tensor:
        returned.append(universal_patch(*arguments, fit=fit, **given))
        return returned[0]

    keys = names or [str(case) for case in range(len(x))]
    compute = params.pop("compute", "float32")
    attempt(
        model, spy, x, goal, Region(window()), seed=0, keys=keys, parameters=params, fit=fit, compute=compute
    )
    return returned[0]


def halves(cases: int) -> Tensor:
    return torch.arange(cases) % 2 == 0


def one_way(setting: Any) -> Goal:
    """Flip the first attribute of all images that have it: one group."""
    return FlipAttribute(torch.tensor(0))


def success(model: harness.Model, goal: Goal, x: Tensor, x_adv: Tensor) -> Tensor:
    objective = goal.objective(model, model.scores(x))
    return objective.reached(model.scores(torch.round(x_adv * 255) / 255))


def goals_of(joint: Any, classes: Any) -> dict[str, tuple[harness.Model, Goal, Tensor]]:
    logits = classes.model.scores(classes.x)
    verifier = harness.wrap_model(classes.module, "embedding", threshold=7.0)
    present = joint.model.scores(joint.x)[:, 1] > 0
    anchor = logits[50:51]
    accepted = (logits - anchor).norm(dim=1) < 7.0
    third = classes.labels != 2
    return {
        "flip": (joint.model, FlipAttribute(torch.tensor(1)), joint.x[present]),
        "untargeted": (classes.model, Untargeted(classes.labels), classes.x),
        "targeted": (classes.model, Targeted(torch.tensor(2)), classes.x[third]),
        "impersonate": (verifier, Impersonate(anchor), classes.x[~accepted]),
        "evade": (verifier, Evade(anchor), classes.x[accepted]),
    }


@pytest.mark.parametrize("kind", ["flip", "untargeted", "targeted", "impersonate", "evade"])
def test_unseen_images_are_fooled_more_than_by_the_best_random_patch(
    joint: Any, classes: Any, kind: str
) -> None:
    model, goal, x = goals_of(joint, classes)[kind]
    kept, shares, chances = x.clone(), [], []
    draws = torch.Generator().manual_seed(5)
    noise = torch.rand(200, 1, 3, 16, 16, generator=draws)
    noise[::2] = noise[::2].round()  # black and white, and every level between them, in turn
    objective = goal.objective(model, model.scores(x))
    worn_by_all = (torch.round(torch.where(window(), patch, x) * 255) / 255 for patch in noise)
    random = torch.stack([objective.reached(model.scores(images)) for images in worn_by_all])
    for fit in (halves(len(x)), ~halves(len(x))):
        outcome = harness.attack(
            "universal-patch", model, x, goal=goal, threat=Region(window()), fit=fit, iterations=100
        )
        assert outcome.valid.all()
        assert torch.equal(outcome.rows, torch.nonzero(~fit).flatten())
        shares.append(float(outcome.success.float().mean()))
        best = random[:, fit].sum(1).argmax()  # chosen as the patch is learned: on the images for that
        chances.append(float(random[best, ~fit].float().mean()))
    assert torch.equal(x, kept)
    assert sum(shares) / 2 >= min(sum(chances) / 2 + 0.1, 1.0)
    assert sum(shares) / 2 > 0.25


def test_one_patch_replaces_the_same_pixels_of_all(joint: Any) -> None:
    model, x = joint.model, joint.x
    present = model.scores(x)[:, 0] > 0
    x_adv = worn(model, x, one_way(joint), halves(len(x)), iterations=20)
    assert ((x_adv != x) & ~window()).sum() == 0
    for group in (present, ~present):
        patches = x_adv[group][:, :, window()]  # (N, 3, pixels)
        assert (patches == patches[0]).all()
    assert (x_adv[present][0] != x_adv[~present][0])[:, window()].float().mean() > 0.9


def test_groups_without_images_to_learn_on_stay_as_they_are(joint: Any) -> None:
    model, x = joint.model, joint.x
    present = model.scores(x)[:, 0] > 0
    x_adv = worn(model, x, one_way(joint), halves(len(x)) & present, iterations=5)
    assert torch.equal(x_adv[~present], x[~present])
    assert (x_adv[present] != x[present]).flatten(1).any(1).all()
    assert torch.equal(worn(model, x, one_way(joint), torch.zeros(len(x), dtype=torch.bool)), x)


@pytest.mark.parametrize("loss", ["success", "margin"])
def test_a_linear_score_comes_down_to_its_optimum(loss: str) -> None:
    draws = torch.Generator().manual_seed(3)
    weights, x = torch.randn(3, 16, 16, generator=draws), torch.rand(10, 3, 16, 16, generator=draws)

    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bchw,chw->b", x, weights)[:, None] + 1000

    model = harness.wrap_model(Linear(), "attributes")
    x_adv = worn(model, x, FlipAttribute(torch.tensor(0)), halves(10), loss=loss)
    found = (x_adv[0] * weights)[:, window()].sum()
    grey, best = (0.5 * weights)[:, window()].sum(), weights[:, window()].clamp(max=0).sum()
    assert (grey - found) / (grey - best) > 0.98


@pytest.mark.parametrize("mirror", [False, True])
def test_a_plain_loop_with_torchs_adam_finds_the_same(classes: Any, mirror: bool) -> None:
    verifier = harness.wrap_model(classes.module, "embedding", threshold=4.0)
    x, fit = classes.x[:20], halves(20)
    anchor = verifier.scores(classes.x[50:51])
    params = {"loss": "squared-distance", "iterations": 40, "mirror": mirror}
    x_adv = worn(verifier, x, Impersonate(anchor), fit, **params)
    delta = torch.zeros(3, 16, 16, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=0.05, eps=1e-16)
    for _ in range(40):
        images = torch.where(window(), torch.tanh(delta) / 2 + 0.5, x[fit])
        both = [images, images.flip(3)] if mirror else [images]
        loss = torch.stack([(classes.module(part) - anchor).square().sum(1).mean() for part in both]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    expected = torch.where(window(), torch.tanh(delta.detach()) / 2 + 0.5, x)
    assert torch.allclose(x_adv, expected, atol=2e-4)


def test_held_out_images_teach_nothing(joint: Any) -> None:
    model, x, fit = joint.model, joint.x[:40], halves(40)
    goal = FlipAttribute(torch.tensor(0))
    other = x.clone()
    draws = torch.Generator().manual_seed(9)
    other[~fit] = torch.round(torch.rand(20, 3, 16, 16, generator=draws) * 255) / 255
    first, second = (worn(model, images, goal, fit, iterations=20, mini_batch=8) for images in (x, other))
    assert torch.equal(first[fit], second[fit])
    changed = other.clone()
    changed[fit] = other[fit].flip(0)
    third = worn(model, changed.roll(1, 3), goal, fit, iterations=20, mini_batch=8)
    assert not torch.equal(first[fit][:, :, window()], third[fit][:, :, window()])


@pytest.mark.parametrize("mini_batch", [7, 64])
def test_the_order_of_the_rows_does_not_matter(joint: Any, mini_batch: int) -> None:
    model, x, fit = joint.model, joint.x[:40], halves(40)
    goal = FlipAttribute(torch.tensor(0))
    names = [f"image {case}" for case in range(40)]
    mixed = torch.randperm(40, generator=torch.Generator().manual_seed(4))
    params = {"iterations": 15, "mini_batch": mini_batch}
    first = worn(model, x, goal, fit, names=names, **params)
    second = worn(model, x[mixed], goal, fit[mixed], names=[names[case] for case in mixed.tolist()], **params)
    assert torch.equal(first[mixed], second)


def test_mini_batches_pass_through_all_rows() -> None:
    batches = shuffled(CaseRandom(0, [str(case) for case in range(10)]), 4)
    passes = [[next(batches) for _ in range(3)] for _ in range(3)]
    for batch in passes:
        assert [len(part) for part in batch] == [4, 4, 2]
        assert sorted(torch.cat(batch).tolist()) == list(range(10))
    assert not torch.equal(torch.cat(passes[0]), torch.cat(passes[1]))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("mini_batch", [8, 64])
@pytest.mark.parametrize("report", ["last", "best"])
def test_the_model_is_asked_in_parts_and_no_more_than_foretold(
    joint: Any, mini_batch: int, mirror: bool, report: str
) -> None:
    sizes = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return joint.module(x)

    goal = FlipAttribute(torch.tensor(0))
    params = {"iterations": 30, "mini_batch": mini_batch, "report": report}
    model = harness.wrap_model(Watched(), "attributes")
    fit, names = halves(40), [str(case) for case in range(40)]
    trial = attempt(
        model,
        universal_patch,
        joint.x[:40],
        goal,
        Region(window()),
        seed=0,
        keys=names,
        parameters={**params, "mirror": mirror},
        fit=fit,
    )
    asked = [size for size in sizes if size not in (40, 20)] or [20]
    assert max(asked) <= mini_batch
    assert SPEC.passes is not None
    forwards, backwards = SPEC.passes({**params, "mirror": mirror})
    assert trial.forwards.max() <= forwards + 1  # of those learned on, shared out and rounded up
    assert trial.backwards.max() <= backwards + 1


@pytest.mark.parametrize("cases", [0, 1, 2])
def test_hardly_any_cases(joint: Any, cases: int) -> None:
    x, fit = joint.x[:cases], torch.zeros(cases, dtype=torch.bool)
    fit[:1] = True
    goal = FlipAttribute(torch.tensor(0))
    outcome = harness.attack(
        "universal-patch", joint.model, x, goal=goal, threat=Region(window()), fit=fit, iterations=3
    )
    assert len(outcome.adversarials) == max(cases - 1, 0)
    assert outcome.valid.all()


def test_reduced_precision_learns_as_well(joint: Any) -> None:
    present = joint.model.scores(joint.x)[:, 1] > 0
    x, goal = joint.x[present], FlipAttribute(torch.tensor(1))
    fit = halves(len(x))
    shares = []
    for compute in ("float32", "bfloat16"):
        x_adv = worn(joint.model, x, goal, fit, compute=compute)
        shares.append(success(joint.model, goal, x, x_adv)[~fit].float().mean())
    assert abs(shares[0] - shares[1]) < 0.06


def test_answers_that_are_no_numbers_teach_nothing(joint: Any) -> None:
    class Partly(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            scores = joint.module(x)
            return torch.where((x[:, :, 0, 0] == 0).all(1, keepdim=True), torch.nan * scores, scores)

    x = joint.x[:20].clone()
    x[0, :, 0, 0] = 0  # a row of the fit half
    goal = FlipAttribute(torch.tensor(0), torch.ones(20, dtype=torch.bool))
    x_adv = worn(harness.wrap_model(Partly(), "attributes"), x, goal, halves(20), iterations=20)
    assert x_adv.isfinite().all()
    assert (x_adv[1:] != x[1:]).flatten(1).any(1).all()


def test_a_region_that_differs_is_refused(joint: Any) -> None:
    x, goal = joint.x[:4], FlipAttribute(torch.tensor(0))
    for mask in (window().expand(4, 1, 16, 16), window().expand(3, 16, 16)):
        with pytest.raises(AttackError, match=r"one mask \(H, W\) for all images"):
            harness.attack("universal-patch", joint.model, x, goal=goal, threat=Region(mask))
    with pytest.raises(AttackError, match="holds no pixel"):
        harness.attack("universal-patch", joint.model, x, goal=goal, threat=Region(torch.zeros(16, 16)))
    with pytest.raises(AttackError, match="mini_batch"):
        harness.attack("universal-patch", joint.model, x, goal=goal, threat=Region(window()), mini_batch=0)
