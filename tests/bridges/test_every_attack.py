"""Every attack that the documents name, on every head: its images, its passes, its access, its repetition."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness.errors import AttackError, ContractError
from harness.handle import Meter
from harness_art.problem import Problem
from harness_art.table import ATTACKS as FROM_ART
from harness_foolbox.models import foolbox_itself
from harness_foolbox.table import ATTACKS as FROM_FOOLBOX

from .conftest import CASES, GOALS, Setting, setting_of
from .quick import NAMES, few, function, spec, threat

DOCUMENT = (Path(__file__).parents[2] / "docs/bridges.md").read_text(encoding="utf-8")
DOCUMENTED = {
    cells[0].strip(" `"): [cell.strip() for cell in cells[1:]]
    for cells in (line.strip("|").split("|") for line in DOCUMENT.splitlines())
    if re.fullmatch(r"`(art|foolbox)/\w+`", cells[0].strip())
}
ALONE = [f"art/{row.name}" for row in FROM_ART if row.alone] + [
    f"foolbox/{row.name}" for row in FROM_FOOLBOX if row.alone
]


RUNS: dict[tuple[str, str], tuple[Setting, torch.Tensor, Meter]] = {}
"""What attacks did on the cases of a goal, for tests that compare another run with it."""


def run(name: str, goal: str) -> tuple[Setting, torch.Tensor, Meter]:
    """Let an attack run on the cases of a goal; the setting that counted, the images, the passes."""
    setting = setting_of(goal)
    RUNS[name, goal] = setting, *setting.call(function(name), threat(name), **few(name))
    return RUNS[name, goal]


def first_run(name: str, goal: str) -> tuple[torch.Tensor, Meter]:
    """The images and passes of an earlier run, or of one now."""
    _, images, meter = RUNS.get((name, goal)) or run(name, goal)
    return images, meter


def test_the_documents_name_every_attack_and_say_what_it_needs() -> None:
    assert sorted(DOCUMENTED) == sorted(NAMES)
    for name, (access, norms, budget, calls, *_) in DOCUMENTED.items():
        described = spec(name)
        assert access == described.access, name
        assert norms == (", ".join(described.norms) or "–"), name
        assert budget == (described.budget if described.norms else "–"), name
        assert calls == ("per case" if name in ALONE else "batched"), name
        assert described.heads == {"attributes", "classes", "embedding"}


@pytest.mark.parametrize("name", DOCUMENTED)
@pytest.mark.parametrize("goal", GOALS)
def test_images_and_passes(name: str, goal: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Finite images in the box and the budget, in silence; passes as counted from within, as forecast."""
    limits = threat(name)
    setting, images, meter = run(name, goal)
    assert capfd.readouterr() == ("", "")
    assert images.shape == setting.x.shape
    assert images.dtype == torch.float32
    assert images.isfinite().all()
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6
    if limits.eps is not None:
        assert (limits.distance(images - setting.x) <= limits.eps + 1e-5).all()
    assert meter.forwards.sum() == setting.module.asked > 0
    assert meter.backwards.sum() == setting.module.returned
    assert (meter.backwards.sum() > 0) == (spec(name).access == "gradients")
    if not spec(name).traits:
        assert (meter.forwards > 0).all()
    forecast = spec(name).passes
    if forecast is not None:
        forwards, backwards = forecast(few(name))
        assert meter.forwards.sum() <= CASES * forwards
        assert meter.backwards.sum() <= CASES * backwards


@pytest.mark.parametrize("name", DOCUMENTED)
def test_it_sees_no_more_than_it_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a handle that enforces the same access, it does the same as with one that shows everything."""
    setting, access = setting_of("flip"), spec(name).access
    shown, _ = first_run(name, "flip")
    enforced, _ = setting.call(function(name), threat(name, access=access), **few(name))
    assert torch.equal(shown, enforced)


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if spec(name).access != "gradients"])
@pytest.mark.parametrize("goal", ["flip", "untargeted"])
def test_a_handle_that_shows_everything_does_not(
    name: str, goal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attack by decisions is answered one-hot, and one by scores without a way back to the image."""
    answers = []
    forward = Problem.forward

    def heard(self: Problem, x: torch.Tensor) -> torch.Tensor:
        answers.append(forward(self, x))
        return answers[-1]

    monkeypatch.setattr(Problem, "forward", heard)
    setting_of(goal).call(function(name), threat(name), **few(name))
    said = torch.cat(answers)
    assert not said.requires_grad
    one_hot = bool(((said == 0) | (said == 1)).all() and (said.sum(1) == 1).all())
    assert one_hot == (spec(name).access == "decisions")


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if spec(name).access == "gradients"])
def test_gradients_are_refused_where_scores_are_shown(name: str) -> None:
    setting = setting_of("untargeted")
    with pytest.raises((ContractError, AttackError), match="gradients"):
        setting.call(function(name), threat(name, access="scores"), **few(name))
    model = replace(setting.model, access="scores")
    with pytest.raises(AttackError, match="needs gradients, but may see only scores"):
        harness.attack(name, model, setting.x, goal=setting.goal, threat=threat(name))


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("goal", ["flip", "untargeted"])
def test_a_case_alone_is_the_case_in_a_batch(name: str, goal: str) -> None:
    """Passes and images of each case of an attack that runs case by case do not depend on the others."""
    setting = setting_of(goal)
    together, meter = first_run(name, goal)
    for case in range(CASES):
        alone, own = setting.call(function(name), threat(name), cases=slice(case, case + 1), **few(name))
        assert torch.equal(alone[0], together[case])
        assert own.forwards.item() == meter.forwards[case]
        assert own.backwards.item() == meter.backwards[case]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_it_repeats(name: str) -> None:
    """The same seed, the same images, whatever was drawn before."""
    setting = setting_of("untargeted")
    once, _ = first_run(name, "untargeted")
    torch.rand(7)
    again, _ = setting.call(function(name), threat(name), **few(name))
    assert torch.equal(once, again)


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if len(spec(name).norms) == 2])
def test_the_other_norm(name: str) -> None:
    setting = setting_of("untargeted")
    limits = threat(name, spec(name).norms[1])
    if name == "art/SquareAttack":
        with pytest.raises(AttackError, match="art/SquareAttack in L2 needs images of at least 10 pixels"):
            setting.call(function(name), limits, **few(name))
        return
    images, _ = setting.call(function(name), limits, **few(name))
    assert images.isfinite().all()
    if limits.eps is not None:
        assert (limits.distance(images - setting.x) <= limits.eps + 1e-5).all()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_reaches_the_goal_already_is_left_alone(name: str) -> None:
    """A misclassified image is an adversarial as it is; an attack that leaves classes would undo it."""
    setting = setting_of("untargeted")
    goal = harness.goals.Untargeted((setting.model.scores(setting.x).argmax(1) + 1) % 4)
    wrong = Setting(setting.model, setting.x, goal)
    if spec(name).traits:  # one change for all: there is nothing to be left
        return
    images, meter = wrong.call(function(name), threat(name), **few(name))
    assert torch.equal(images, setting.x)
    assert meter.forwards.tolist() == [1] * CASES


REGIONS = [f"art/{row.name}" for row in FROM_ART if row.masks]


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("places", ["shared", "own"])
def test_regions_are_kept(name: str, places: str) -> None:
    setting = setting_of("evade")
    mask: Any = torch.zeros(8, 8, dtype=torch.bool)
    mask[:, :6] = True
    if places == "own":
        mask = torch.stack([mask.roll(case, 1) for case in range(CASES)])[:, None]
    limits = replace(threat(name), mask=mask)
    images, _ = setting.call(function(name), limits, **few(name))
    assert limits.outside(images - setting.x).max() == 0
    assert not torch.equal(images, setting.x)


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name not in REGIONS])
def test_regions_are_refused_by_the_others(name: str) -> None:
    setting = setting_of("flip")
    limits = replace(threat(name), mask=torch.ones(8, 8, dtype=torch.bool))
    with pytest.raises(AttackError, match=f"{name} cannot restrict its changes to a region"):
        setting.call(function(name), limits, **few(name))
    assert setting.module.asked == 0


@pytest.mark.parametrize("name", ["art/ProjectedGradientDescent", "foolbox/LinfPGD"])
def test_passes_of_a_batch_are_booked_on_the_nearest(name: str) -> None:
    """Images that keep near to their originals: every case has the passes that it has alone."""
    for goal in ("untargeted", "flip"):
        setting = setting_of(goal)
        limits = threat(name, eps=0.03)
        _, meter = setting.call(function(name), limits, **few(name))
        _, own = setting.call(function(name), limits, cases=slice(0, 1), **few(name))
        assert meter.forwards.tolist() == [own.forwards.item()] * CASES
        assert meter.backwards.tolist() == [own.backwards.item()] * CASES


def test_no_attack_leaves_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Toolbox's GeoDA saves a table in the working folder."""
    monkeypatch.chdir(tmp_path)
    setting_of("evade").call(function("art/GeoDA"), threat("art/GeoDA"), **few("art/GeoDA"))
    assert not list(tmp_path.iterdir())


def test_an_attack_that_cannot_begin_gives_up() -> None:
    """The Toolbox's GeoDA would look for ever where no random image reaches the goal."""
    setting = setting_of("untargeted")
    blind = harness.wrap_model(torch.nn.Sequential(torch.nn.Flatten(), _Constant()), "classes")
    goal = harness.goals.Untargeted(torch.zeros(CASES, dtype=torch.long))
    outcome = harness.attack(
        "art/GeoDA", blind, setting.x, goal=goal, threat=harness.threats.Minimal("l2"), max_iter=300
    )
    assert not outcome.reached.any()
    assert (outcome.forwards <= 310).all()


class _Constant(torch.nn.Module):
    """Always class 0 of three."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([3.0, 0.0, 0.0]).expand(len(x), 3)


def test_without_foolbox_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(AttackError, match=r"pip install face-robustness-harness\[foolbox\]"):
        foolbox_itself()
    assert "foolbox/LinfPGD" in NAMES
