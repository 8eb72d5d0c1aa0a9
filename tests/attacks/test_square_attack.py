"""Square Attack against its reference at equal queries, and what it must do on each head, norm and region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

import harness
from harness.errors import AttackError
from harness.goals import FlipAttribute, Impersonate, Untargeted
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import L2, Linf, Minimal, Region, Threat
from harness_attacks.square_attack import side_of, square_attack
from harness_attacks.square_moves import Draws, Places, bump, corners, moved_mass, stripes, tiles
from tests.attacks.conftest import Setting
from tests.attacks.test_against_peers import art_classifier

QUERIES = 80


def images(cases: int, height: int, width: int) -> Tensor:
    draws = torch.Generator().manual_seed(3)
    return torch.round(torch.rand(cases, 3, height, width, generator=draws) * 255) / 255


def drawn(cases: int, seed: int = 0) -> Draws:
    rng = CaseRandom(seed, [str(case) for case in range(cases)])
    return Draws(rng.uniform((Draws.count(3),)))


def test_success_is_that_of_the_reference(classes: Setting) -> None:
    """As ART's in the mean over seeds, within one point and two standard errors of ART's mean.

    ART draws one square for all images of a batch, so that its rates differ by several points from seed to
    seed. Its attack on classes in L2 divides by what its authors multiply with, and is left out.
    """
    few, threat = classes.first(60), Linf(4 / 255)
    x, labels = few.x, few.labels
    ours, theirs = [], []
    for seed in range(3):
        outcome = harness.attack(
            "square-attack", few.model, x, goal=few.goal, threat=threat, queries=QUERIES, seed=seed
        )
        ours.append(float(outcome.reached.float().mean()))
        attack = pytest.importorskip("art.attacks.evasion").SquareAttack(
            art_classifier(classes.module, 4), norm=np.inf, eps=threat.eps, max_iter=QUERIES, p_init=0.8,
            nb_restarts=1, batch_size=len(x), verbose=False,
        )  # fmt: skip
        np.random.seed(seed)  # noqa: NPY002  (ART draws from the global generator)
        found = torch.tensor(attack.generate(x.numpy(), F.one_hot(labels, 4).numpy()))
        theirs.append(float((classes.model.scores(found).argmax(1) != labels).float().mean()))
    assert 0.1 < np.mean(ours) < 0.9
    assert np.mean(ours) >= np.mean(theirs) - 0.01 - 2 * np.std(theirs) / 3**0.5, (ours, theirs)


def test_squares_shrink_as_published() -> None:
    """The share p is halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000 queries."""
    sides = {at: side_of(0.8, at, 10000, 100, 100) for at in (0, 10, 11, 51, 201, 501, 9999)}
    halved = {0: 0, 10: 0, 11: 1, 51: 2, 201: 3, 501: 4, 9999: 9}
    assert sides == {at: max(1, round((0.8 / 2**times * 1e4) ** 0.5)) for at, times in halved.items()}
    assert side_of(0.8, 30, 1000, 100, 100) == side_of(0.8, 300, 10000, 100, 100)
    assert side_of(1.0, 0, 10, 8, 200) == 8, "no wider than the shorter side"


def test_a_square_has_one_sign_per_channel() -> None:
    x, threat = torch.full((40, 3, 12, 20), 0.5), Linf(8 / 255)
    changed = corners(x, x, threat, Places.of(x, threat), drawn(40), 5) - x
    lies = (changed != 0).all(1)
    assert (lies.flatten(1).sum(1) == 25).all()
    assert torch.allclose(changed.abs().amax((2, 3)), torch.tensor(8 / 255))
    for case in range(40):
        rows, columns = torch.nonzero(lies[case], as_tuple=True)
        assert rows.max() - rows.min() == columns.max() - columns.min() == 4
        assert all(len(changed[case, channel][lies[case]].unique()) == 1 for channel in range(3))
    signs = changed.sum((2, 3)).sign()  # (40, 3)
    assert (signs.mean(0).abs() < 0.5).all(), "each channel goes up as often as down"
    assert (signs != signs[:, :1]).any(), "channels differ"
    places = {tuple(torch.nonzero(lies[case])[0].tolist()) for case in range(40)}
    assert len(places) > 20
    assert max(row for row, _ in places) > 5
    assert max(column for _, column in places) > 12


def test_the_start_is_stripes_in_linf_and_a_full_budget_in_l2() -> None:
    x, rng = torch.full((6, 3, 18, 30), 0.5), CaseRandom(0, list("abcdef"))
    change = stripes(x, Linf(8 / 255), rng) - x
    assert torch.equal(change, change[:, :, :1].expand_as(change))
    assert torch.allclose(change.abs(), torch.tensor(8 / 255))
    assert len(change[0, 0, 0].unique()) == 2
    tiled = tiles(x, L2(0.5), rng) - x
    assert torch.allclose(tiled.flatten(1).norm(dim=1), torch.tensor(0.5), atol=1e-6)
    assert (tiled != 0).float().mean() > 0.8


def test_mass_moves_and_none_is_lost() -> None:
    """The second window becomes empty where the first does not lie, and the length stays eps."""
    x, threat = torch.full((30, 3, 16, 24), 0.5), L2(0.5)
    start = tiles(x, threat, CaseRandom(0, [str(case) for case in range(30)]))
    places, draws = Places.of(x, threat), drawn(30)
    delta = moved_mass(x, start, threat, places, draws, 5) - x
    assert torch.allclose(delta.flatten(1).norm(dim=1), torch.tensor(0.5), atol=1e-6)
    first, second = (places.window(places.corner(one, 5), 5) for one in (draws.first, draws.second))
    emptied = 0
    for case in range(30):
        gone = sorted({*second[case].tolist()} - {*first[case].tolist()})
        emptied += len(gone)
        assert (delta[case].flatten(1)[:, gone].abs() < 1e-7).all()
        others = sorted({*range(16 * 24)} - {*first[case].tolist()} - {*second[case].tolist()})
        before = (start - x)[case].flatten(1)[:, others]
        assert torch.allclose(delta[case].flatten(1)[:, others], before, atol=1e-5)
    assert emptied > 300


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 11])
def test_a_bump_is_a_hill_and_a_valley(side: int) -> None:
    found = bump(side)
    assert np.linalg.norm(found) == pytest.approx(1, rel=1e-6)
    assert side == 1 or (found[: side // 2].min() > 0 > found[side // 2 :].max())


@pytest.mark.parametrize("shape", [(24, 9), (9, 24), (2, 3), (1, 1)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_images_of_any_ratio(shape: tuple[int, int], norm: Any) -> None:
    x = images(5, *shape)
    torch.manual_seed(0)
    linear = torch.nn.Linear(3 * shape[0] * shape[1], 2)
    with torch.no_grad():
        linear.bias.copy_(0.05 - linear.weight.sum(1) / 2)
    model = harness.wrap_model(torch.nn.Sequential(torch.nn.Flatten(), linear).eval(), "attributes")
    goal = FlipAttribute(torch.arange(5) % 2)
    threat = Threat(norm, 0.4 if norm == "linf" else 0.2 * x[0].numel() ** 0.5, access="scores")
    outcome = harness.attack("square-attack", model, x, goal=goal, threat=threat, queries=60)
    assert outcome.valid.all()
    assert outcome.reached.any()
    assert (outcome.backwards == 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_queries_are_counted_and_cases_leave(joint: Setting, norm: Any) -> None:
    threat = Threat(norm, 6 / 255 if norm == "linf" else 0.6, access="scores")
    outcome = harness.attack(
        "square-attack", joint.model, joint.x, goal=joint.goal, threat=threat, queries=40
    )
    assert outcome.valid.all()
    assert 0 < outcome.reached.float().mean() < 1
    assert (outcome.forwards[~outcome.reached] >= 40).all()
    assert outcome.forwards[outcome.reached].float().mean() < 35
    if norm == "linf":
        assert outcome.forwards.max() == 40, "the query is the test"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_inside_a_region_no_query_is_wasted(joint: Setting, norm: Any) -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[1:4, 10:15] = True
    threat = Region(mask, norm=norm, eps=0.5 if norm == "linf" else 2.0, access="scores")
    outcome = harness.attack(
        "square-attack", joint.model, joint.x, goal=joint.goal, threat=threat, queries=60
    )
    assert outcome.valid.all()
    assert outcome.reached.float().mean() > 0.1
    places = Places.of(joint.x, threat)
    tops, lefts = places.corner(drawn(120).first, 3)
    assert mask[tops + 1, (lefts + 1).clamp_max(14)].all(), "squares are around pixels of the mask"


def test_margins_only_rise(slender: Setting) -> None:
    """What is kept is the best so far: with more queries of the same run, no margin is lower."""
    goal, threat = Untargeted(slender.labels), Linf(1 / 255)
    objective = goal.objective(slender.model, slender.model.scores(slender.x))
    margins = []
    for queries in (1, 12):  # of one schedule: all squares are of the same share
        handle = Handle(slender.model, len(slender.x))
        rng = CaseRandom(0, [str(case) for case in range(len(slender.x))])
        found = square_attack(handle, slender.x, objective, threat, rng=rng, queries=queries)
        margins.append(objective.margin(slender.model.scores(found)))
    assert (margins[1] >= margins[0] - 1e-6).all()
    assert (margins[1] > margins[0]).float().mean() > 0.5


def test_a_verifier_is_fooled_by_queries_alone() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 8)).eval()
    model = harness.wrap_model(module, "embedding")
    x = images(12, 8, 8)
    with torch.no_grad():
        anchors = module(x.flip(0))
    apart = model.distance(module(x).detach(), anchors)
    goal = Impersonate(anchors, threshold=float(apart.median()) * 0.8)
    outcome = harness.attack(
        "square-attack", model, x, goal=goal, threat=Linf(0.1, access="scores"), queries=200
    )
    before = (apart < goal.threshold).float().mean()
    assert outcome.valid.all()
    assert outcome.reached.float().mean() > before + 0.2


def test_it_needs_a_budget(joint: Setting) -> None:
    with pytest.raises(AttackError, match="needs a budget"):
        harness.attack(square_attack, joint.model, joint.x, goal=joint.goal, threat=Minimal("linf"))
