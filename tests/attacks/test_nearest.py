"""DDN and FMN against Foolbox step by step, against closed forms, and on every head, region and precision."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import Evade, FlipAttribute, Impersonate, Targeted, Untargeted
from harness.testing.attacks.subject import AttackSubject
from harness.testing.problems.linear import FAR, linear_classes, linear_scores
from harness.testing.problems.quadratic import quadratic_classes, quadratic_embedding, quadratic_scores
from harness.threat import L2, Minimal, Region, l2, linf
from harness_attacks.costs import passes_of_balls
from harness_attacks.ddn import cosine, shrinking
from harness_attacks.descent import Nearest, Plan, Seen, descend, height_of
from harness_attacks.fmn import adaptive
from harness_attacks.grid import settled
from harness_attacks.oracle import Oracle
from tests.attacks.conftest import Setting
from tests.benchmarks.test_nearest import bisected

EACH = [("ddn", "l2"), ("fmn", "l2"), ("fmn", "linf")]


@pytest.fixture(scope="module")
def foolbox() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
        return pytest.importorskip("foolbox")


def distances(outcome: harness.Outcome, norm: str) -> Tensor:
    return torch.tensor(outcome.distances[norm].to_numpy())


# --- the published loops ----------------------------------------------------------------------------------


def peer_of(foolbox: Any, name: str, norm: str, steps: int) -> Any:
    if name == "ddn":
        return foolbox.attacks.DDNAttack(steps=steps)
    if norm == "linf":
        return foolbox.attacks.LInfFMNAttack(steps=steps)
    made = foolbox.attacks.L2FMNAttack(steps=steps)

    def project(x: Any, x0: Any, epsilon: Any) -> Any:
        # Foolbox 3.3.4 divides the norm by itself, so that it never projects
        change = x - x0
        return x0 + change * (epsilon / change.flatten(1).norms.l2(axis=-1)).minimum(1).reshape((-1, 1, 1, 1))

    made.project = project
    return made


@pytest.mark.parametrize("goal", ["leave", "reach"])
@pytest.mark.parametrize(("name", "norm"), EACH)
def test_the_loops_are_those_of_foolbox(
    classes: Setting, foolbox: Any, name: str, norm: Any, goal: str
) -> None:
    """With the published settings, and before anything is polished or rounded."""
    few, steps = classes.first(40), 20
    wanted = (few.labels + 1) % 4
    asked = Untargeted(few.labels) if goal == "leave" else Targeted(wanted)
    rule = shrinking(1.0, 0.05, 0.05) if name == "ddn" else adaptive(0.05, patience=None)
    plan = Plan(cosine(1.0, 0.01, steps), False, rule, onto=name == "ddn")

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        near = Nearest.of(x)
        loss: Any = "cross-entropy" if name == "ddn" else "margin"
        descend(Oracle(model.focus(objective), objective), x, threat, near, loss, plan)
        return near.images

    threat = Minimal(norm, levels=None)
    ours = harness.attack(attack, few.model, few.x, goal=asked, threat=threat)
    peer = foolbox.PyTorchModel(few.module, bounds=(0, 1), device="cpu")
    criteria = foolbox.criteria
    criterion = (
        criteria.Misclassification(few.labels)
        if goal == "leave"
        else criteria.TargetedMisclassification(wanted)
    )
    theirs = peer_of(foolbox, name, norm, steps).run(peer, few.x, criterion)
    begun = ours.clean_correct
    if goal == "reach":
        begun = few.model.scores(few.x).argmax(1) != wanted
    same = (ours.adversarials - theirs).abs().flatten(1).amax(1) < 1e-4
    # the two sum in another order, and a radius that hangs on the sign of a tiny margin may go the other way
    assert same[begun].float().mean() > 0.9
    assert ours.reached[begun].float().mean() > 0.8


# --- closed forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "norm"), EACH)
def test_within_2_percent_of_the_closed_form_on_every_head(name: str, norm: Any) -> None:
    shape = (3, 12, 12)
    problems = [
        linear_scores(shape, FAR),
        linear_scores(shape),
        linear_classes(shape),
        quadratic_scores(shape),
        quadratic_classes(shape),
        quadratic_embedding(shape, towards=True),
        quadratic_embedding(shape, towards=False),
    ]
    for problem in problems:
        ran = AttackSubject.of(name).run(problem, Minimal(norm, levels=None))
        assert ran.trial.verdict.success.all(), problem.name
        change = ran.change.double()
        size = linf(change) / problem.linf if norm == "linf" else l2(change) / problem.l2
        assert (size - 1).abs().max() < 0.02, problem.name


@pytest.mark.parametrize(("name", "norm"), EACH)
def test_a_region_has_a_closed_form_too(name: str, norm: Any) -> None:
    """A linear score of one attribute, where only some pixels may change; one region, or one per case."""
    torch.manual_seed(0)
    linear = nn.Linear(3 * 64, 1)
    with torch.no_grad():
        linear.bias.copy_(0.4 - linear.weight.sum(1) / 2)
    model = harness.wrap_model(nn.Sequential(nn.Flatten(), linear).eval(), "attributes")
    x = 0.4 + 0.2 * torch.rand(6, 3, 8, 8)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1:7, 2:8] = True
    each = torch.stack([mask, mask.T, mask.flip(0), mask.flip(1), mask | mask.T, mask])[:, None]
    goal = FlipAttribute(torch.zeros(6, dtype=torch.long))
    for region in (mask, each):
        threat = Region(region, norm=norm, levels=None)
        outcome = harness.attack(name, model, x, goal=goal, threat=threat)
        inside = (linear.weight.detach().view(3, 8, 8) * region).expand(6, 3, 8, 8).flatten(1)
        size = inside.abs().sum(1) if norm == "linf" else inside.norm(dim=1)
        expected = model.scores(x)[:, 0].abs() / size
        assert outcome.success.all()
        assert distances(outcome, norm).div(expected).sub(1).abs().max() < 0.02


# --- the grid ---------------------------------------------------------------------------------------------


def test_on_the_grid_no_rounded_image_is_nearer_on_a_plane() -> None:
    """Of a linear score, the nearest whole levels are among the multiples of the normal, rounded."""
    draws = torch.Generator().manual_seed(1)
    weight = torch.randn(192, generator=draws, dtype=torch.float64)
    x = (torch.randint(60, 196, (1, 1, 8, 24), generator=draws) / 255).expand(12, -1, -1, -1).contiguous()
    lack = torch.linspace(0.05, 1.5, 12, dtype=torch.float64)  # what each score must gain

    class Planes(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            gain = ((image - x[:1]).double().flatten(1) * weight).sum(1)
            return (gain[:, None] - lack).float()

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        oracle = Oracle(model.focus(objective), objective)
        far = x + 0.2 * torch.rand(192, generator=draws).view(1, 1, 8, 24) * weight.sign().view(1, 1, 8, 24)
        clean = oracle.margin(torch.arange(len(x)), x)
        images, reached = settled(oracle, x, far.float(), threat, clean, 3)
        assert reached.all()
        return images

    model = harness.wrap_model(Planes(), "attributes")
    goal = FlipAttribute(torch.arange(12))
    found = distances(harness.attack(attack, model, x, goal=goal, threat=Minimal("l2")), "l2")
    for case in range(12):
        best = torch.inf
        for scale in torch.linspace(0, 60, 6001, dtype=torch.float64):
            levels = (scale * weight).round()
            if (levels * weight).sum() / 255 > lack[case] + 1e-5:
                best = float(levels.norm()) / 255
                break
        assert best < torch.inf
        assert found[case] <= 1.01 * best


@pytest.mark.parametrize(("name", "norm"), EACH)
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", ["classes", "single", "joint", "softmax"])
def test_every_image_is_adversarial_after_rounding(
    network: str, compute: Any, name: str, norm: Any, request: pytest.FixtureRequest
) -> None:
    setting = request.getfixturevalue(network).first(24)
    outcome = harness.attack(
        name, setting.model, setting.x, goal=setting.goal, threat=Minimal(norm), compute=compute, steps=30
    )
    assert outcome.success.all()
    assert outcome.valid.all()
    whole = outcome.adversarials * 255
    assert (whole - whole.round()).abs().max() < 1e-4


@pytest.mark.parametrize(("name", "norm"), EACH)
def test_nothing_outside_the_region_changes(classes: Setting, name: str, norm: Any) -> None:
    few = classes.first(24)
    mask = torch.zeros(24, 1, 16, 16, dtype=torch.bool)
    mask[::2, :, 1:13, 1:13] = True
    mask[1::2, :, 3:15, 2:15] = True
    outcome = harness.attack(name, few.model, few.x, goal=few.goal, threat=Region(mask, norm=norm))
    assert outcome.valid.all()
    assert outcome.success.float().mean() > 0.95
    changed = (outcome.adversarials != few.x).any(1, keepdim=True)
    assert not (changed & ~mask).any()


# --- parameters -------------------------------------------------------------------------------------------


def test_each_loss_is_followed_and_both_are_no_farther(classes: Setting) -> None:
    few, threat = classes.first(40), Minimal("l2", levels=None)
    given: dict[str, Any] = {"goal": few.goal, "threat": threat, "steps": 20}
    found = {
        loss: harness.attack("ddn", few.model, few.x, loss=loss, **given)
        for loss in ("cross-entropy", "training", "margin", "both")
    }
    assert all(outcome.success.all() for outcome in found.values())
    means = {loss: distances(outcome, "l2").mean() for loss, outcome in found.items()}
    assert means["both"] <= 1.002 * min(means["cross-entropy"], means["margin"])
    # the training loss is the cross-entropy here
    assert means["training"] == pytest.approx(float(means["cross-entropy"]), rel=0.01)
    assert found["both"].backwards.max() >= 34


def test_the_values_that_are_followed_have_the_slopes_of_their_losses(classes: Setting) -> None:
    few = classes.first(20)
    scores = few.model.scores(few.x).requires_grad_()
    for goal, sign in ((Untargeted(few.labels), 1), (Targeted(few.labels), -1)):
        objective: Any = goal.objective(few.model, scores.detach())
        entropy = nn.functional.cross_entropy(scores, few.labels, reduction="none")
        height = height_of(objective, "cross-entropy", scores)
        assert torch.allclose(nn.functional.softplus(sign * height), entropy, atol=1e-5)
        (steep,) = torch.autograd.grad(sign * entropy.sum(), scores, retain_graph=True)
        (own,) = torch.autograd.grad(height.sum(), scores, retain_graph=True)
        assert nn.functional.cosine_similarity(steep, own).min() > 0.9999
        training = height_of(objective, "training", scores)
        assert torch.allclose(training, sign * entropy)


def test_other_classes_have_nearer_boundaries() -> None:
    """With linear logits the descent may end at any plane, and the neighbours are exact."""
    problem = linear_classes((3, 12, 12))
    sizes = []
    for neighbours in (0, 3):
        ran = AttackSubject.of("ddn", {"neighbours": neighbours}).run(problem, Minimal("l2", levels=None))
        sizes.append((l2(ran.change.double()) / problem.l2).max())
    assert sizes[0] > 1.02
    assert sizes[1] < 1.01


def test_the_polish_brings_images_nearer(classes: Setting) -> None:
    few = classes.first(40)
    for threat in (Minimal("l2", levels=None), Minimal("l2")):
        given: dict[str, Any] = {"goal": few.goal, "threat": threat, "steps": 6}
        rough, fine = (
            harness.attack("ddn", few.model, few.x, neighbours=0, polish=polish, **given) for polish in (0, 6)
        )
        assert fine.success.all()
        both = rough.success
        assert (distances(fine, "l2") <= 1.003 * distances(rough, "l2"))[both].all()
        assert distances(fine, "l2")[both].mean() < 0.998 * distances(rough, "l2")[both].mean()


@pytest.mark.parametrize(("name", "norm"), EACH)
def test_the_forecast_bounds_the_passes(classes: Setting, name: str, norm: Any) -> None:
    few = classes.first(40)
    for polish, loss in ((0, "margin"), (1, "both"), (5, "cross-entropy")):
        given: dict[str, Any] = {"steps": 6, "polish": polish, "loss": loss, "neighbours": polish}
        outcome = harness.attack(name, few.model, few.x, goal=few.goal, threat=Minimal(norm), **given)
        forwards, backwards = passes_of_balls({**given, "eot": 1, "bpda": False})
        assert outcome.forwards.max() <= forwards
        assert outcome.backwards.max() <= backwards
        begun = outcome.backwards > 0
        least = (6 - given["neighbours"]) * (2 if loss == "both" else 1)
        assert (outcome.backwards[begun] >= least).all()


@pytest.mark.parametrize("name", ["ddn", "fmn"])
def test_the_gradients_of_neighbours_are_among_the_steps(classes: Setting, name: str) -> None:
    few = classes.first(40)
    given: dict[str, Any] = {"steps": 20, "neighbours": 3, "polish": 1}
    outcome = harness.attack(name, few.model, few.x, goal=few.goal, threat=Minimal("l2"), **given)
    assert outcome.backwards.max() == 20 + 2  # two for the polish


@pytest.mark.parametrize("name", ["ddn", "fmn"])
def test_the_judged_image_is_found_at_the_end(name: str) -> None:
    """Only then is it on the grid."""
    trial = AttackSubject.of(name, {"steps": 20}).run(linear_scores((3, 12, 12)), Minimal("l2")).trial
    assert trial.verdict.success.all()
    assert (trial.meter.found > 20).all()
    assert (trial.meter.found <= trial.meter.forwards).all()


def test_the_share_by_which_ddns_radius_changes_falls_along_a_cosine() -> None:
    """Until something is found, the radius grows by the first share."""
    rule, one = shrinking(2.0, 0.4, 0.1), torch.ones(2)
    there = torch.tensor([True, False])
    for progress, share in ((0.0, 0.4), (0.5, 0.25), (1.0, 0.1)):
        before = torch.full((2,), 2.0 if progress == 0 else 3.0)
        for found, growth in ((one, share), (one * torch.inf, 0.4)):
            radius = rule(Seen(progress, before, one, there, found, one, one))
            expected = before * torch.tensor([1 - share, 1 + growth])
            assert torch.allclose(radius, expected)


class Steep(torch.autograd.Function):
    """The same value, with a slope forty times too steep, as if the boundary were near."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return 40 * slope


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_fmn_loses_patience_with_a_boundary_that_seems_near(norm: Any) -> None:
    """Each step goes a fortieth of the way that is left; from half of the steps on, the ball grows faster."""

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Steep.apply(x.mean((1, 2, 3)) - 0.6)[:, None]  # type: ignore[no-untyped-call]

    x = torch.linspace(0.2, 0.4, 4).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    goal = FlipAttribute(torch.zeros(4, dtype=torch.long))
    threat = Minimal(norm, levels=None)
    outcome = harness.attack("fmn", harness.wrap_model(Mean(), "attributes"), x, goal=goal, threat=threat)
    assert outcome.success.all()
    far = (0.6 - x[:, 0, 0, 0]) * (48**0.5 if norm == "l2" else 1)
    assert torch.allclose(distances(outcome, norm).float(), far, rtol=0.02)


@pytest.mark.parametrize("name", ["ddn", "fmn"])
def test_an_image_that_is_there_already_stays(classes: Setting, name: str) -> None:
    wrong = Untargeted((classes.model.scores(classes.x).argmax(1) + 1) % 4)
    outcome = harness.attack(name, classes.model, classes.x, goal=wrong, threat=Minimal("l2"))
    assert torch.equal(outcome.adversarials, classes.x)
    assert (outcome.forwards == 1).all()
    assert (outcome.backwards == 0).all()


@pytest.mark.parametrize("name", ["ddn", "fmn"])
def test_a_budget_bounds_what_counts(classes: Setting, name: str) -> None:
    outcome = harness.attack(name, classes.model, classes.x, goal=classes.goal, threat=L2(0.2), steps=20)
    assert (distances(outcome, "l2")[outcome.success] <= 0.2 + 1e-5).all()
    assert 0 < outcome.success.float().mean() < 1
    assert outcome.valid.all()


@pytest.mark.parametrize(("name", "norm"), EACH)
def test_a_constant_model_is_no_success(name: str, norm: Any) -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x.sum((1, 2, 3))[:, None] - 1

    model = harness.wrap_model(Constant(), "attributes")
    goal = FlipAttribute(torch.zeros(2, dtype=torch.long))
    x = torch.rand(2, 3, 4, 4)
    outcome = harness.attack(name, model, x, goal=goal, threat=Minimal(norm))
    assert not outcome.reached.any()
    assert outcome.errors == ("", "")


def test_logits_of_any_size_give_the_same_images(classes: Setting) -> None:
    """The cross-entropy of large logits has gradients of 0; what is followed has the same direction."""

    class Louder(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1e4 * classes.module(x)

    few = classes.first(24)
    given: dict[str, Any] = {"goal": few.goal, "threat": Minimal("l2", levels=None), "loss": "margin"}
    plain = harness.attack("ddn", few.model, few.x, **given)
    loud = harness.attack("ddn", harness.wrap_model(Louder().eval(), "classes"), few.x, **given)
    assert loud.success.all()
    assert distances(loud, "l2").mean() == pytest.approx(float(distances(plain, "l2").mean()), rel=2e-3)
    loud = harness.attack(
        "ddn", harness.wrap_model(Louder().eval(), "classes"), few.x, **{**given, "loss": "cross-entropy"}
    )
    assert loud.success.all()


@pytest.mark.parametrize("towards", [True, False])
@pytest.mark.parametrize(("name", "norm"), EACH)
def test_verifiers_of_unit_vectors(name: str, norm: Any, towards: bool) -> None:
    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 768, generator=torch.Generator().manual_seed(3)) / 28)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(torch.tanh((x.flatten(1) - 0.5) @ self.weight.T), dim=1)

    draws = torch.Generator().manual_seed(4)
    x = torch.round((0.3 + 0.4 * torch.rand(12, 3, 16, 16, generator=draws)) * 255) / 255
    model = harness.wrap_model(Unit().eval(), "embedding", threshold=0.5)
    own = model.scores(x)
    anchors = own.roll(1, 0) if towards else nn.functional.normalize(own + 0.1 * own.roll(1, 0), dim=1)
    goal = Impersonate(anchors) if towards else Evade(anchors)
    outcome = harness.attack(name, model, x, goal=goal, threat=Minimal(norm))
    far = torch.linalg.vector_norm(model.scores(outcome.adversarials) - anchors, dim=1)
    assert outcome.success.all()
    assert ((far < 0.5) == towards).all()


@pytest.mark.parametrize("relative", [True, False])
def test_only_lengths_in_shares_of_the_radius_are_shorter_on_verifiers(
    monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.Tanh()).eval()
    model = harness.wrap_model(module, "embedding", threshold=0.5)
    x = torch.rand(6, 3, 8, 8)
    goal = Impersonate(model.scores(x).roll(1, 0))

    def found() -> Tensor:
        given = {"steps": 10, "polish": 0, "relative": relative}
        return harness.attack("fmn", model, x, goal=goal, threat=Minimal("linf"), **given).adversarials

    before = found()
    monkeypatch.setattr("harness_attacks.fmn.ON_VERIFIERS", 0.01)
    assert torch.equal(before, found()) != relative


@pytest.mark.parametrize("seed", [3, 5])
def test_small_evasions_are_nearer_in_fewer_passes(seed: int) -> None:
    """Rounding removes most of them; the same margins as attributes are searched from the ends of lines."""
    draws = torch.Generator().manual_seed(seed)
    weight, threshold = torch.randn(8, 768, generator=draws) / 28, 0.12
    x = torch.round((0.3 + 0.4 * torch.rand(24, 3, 16, 16, generator=draws)) * 255) / 255

    class Unit(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(torch.tanh((x.flatten(1) - 0.5) @ weight.T), dim=1)

    class Distances(Unit):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(super().forward(x), anchors) - threshold

    own = Unit()(x)
    anchors = nn.functional.normalize(own + 0.1 * own.roll(1, 0), dim=1)
    person = harness.wrap_model(Unit().eval(), "embedding", threshold=threshold)
    score = harness.wrap_model(Distances().eval(), "attributes")
    flip = FlipAttribute(torch.arange(24))
    evaded = harness.attack("ddn", person, x, goal=Evade(anchors), threat=Minimal("l2"))
    flipped = harness.attack("ddn", score, x, goal=flip, threat=Minimal("l2"))
    assert evaded.success.all()
    assert distances(evaded, "l2").mean() < 0.98 * distances(flipped, "l2").mean()
    passes = [(outcome.forwards + outcome.backwards).float().mean() for outcome in (evaded, flipped)]
    assert passes[0] < passes[1] - 6


# --- peers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 255])
@pytest.mark.parametrize(("name", "norm"), EACH)
def test_no_farther_than_foolbox_at_equal_steps(
    classes: Setting, foolbox: Any, name: str, norm: Any, levels: int | None
) -> None:
    """Neither rounds, or theirs are bisected on the 8-bit grid. Means are of the cases that both reached."""
    few, steps = classes.first(60), 40
    peer = foolbox.PyTorchModel(few.module, bounds=(0, 1), device="cpu")
    theirs = peer_of(foolbox, name, norm, steps)(peer, few.x, few.labels, epsilons=None)[1]
    with torch.no_grad():
        fooled = few.module(theirs).argmax(1) != few.labels
    far = l2(theirs - few.x) if norm == "l2" else linf(theirs - few.x)
    if levels:
        far = bisected(few, theirs, norm)
        fooled = fooled & far.isfinite()
    threat = Minimal(norm, levels=levels)
    ours = harness.attack(name, few.model, few.x, goal=few.goal, threat=threat, steps=steps)
    assert ours.success.all()
    both = fooled & (ours.backwards > 0)
    assert both.sum() > 20
    assert distances(ours, norm)[both].mean() <= 1.01 * far[both].mean()


@pytest.mark.parametrize("seed", [3, 5])
def test_fmn_impersonates_as_near_as_foolboxs(foolbox: Any, seed: int) -> None:
    """In L-infinity, on the grid: steps as long as the ball would lead past the person, and end farther."""
    draws = torch.Generator().manual_seed(seed)
    first, last = torch.randn(32, 768, generator=draws) / 7, torch.randn(8, 32, generator=draws)
    x = torch.round((0.2 + 0.6 * torch.rand(16, 3, 16, 16, generator=draws)) * 255) / 255

    class Unit(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(torch.tanh((x.flatten(1) - 0.5) @ first.T) @ last.T, dim=1)

    model = harness.wrap_model(Unit().eval(), "embedding", threshold=0.5)
    goal = Impersonate(model.scores(x).roll(1, 0))
    given: dict[str, Any] = {"goal": goal, "steps": 100}
    peer = "foolbox/LInfFMNAttack"
    theirs = harness.attack(peer, model, x, threat=Minimal("linf", levels=None), **given)
    far = bisected(Setting(model, x, goal, x, x), theirs.adversarials, "linf")
    ours = harness.attack("fmn", model, x, threat=Minimal("linf"), **given)
    both = far.isfinite() & ours.success
    assert both.sum() >= 15
    assert distances(ours, "linf")[both].mean() <= 1.01 * far[both].mean()


@pytest.mark.parametrize(("name", "norm"), EACH)
def test_the_enrolled_image_itself_sets_out_at_random(name: str, norm: Any) -> None:
    """Its distance is 0, and so is the gradient of that."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 6)).eval()
    model = harness.wrap_model(module, "embedding", threshold=0.5)
    x = torch.round((0.3 + 0.4 * torch.rand(6, 3, 8, 8)) * 255) / 255
    goal = Evade(model.scores(x))
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1:, 1:] = True
    for threat in (Minimal(norm), Region(mask, norm=norm)):
        outcome = harness.attack(name, model, x, goal=goal, threat=threat)
        assert outcome.success.all()
        # the random numbers are the case's own, whatever the batch; float32's last bits are not
        again = harness.attack(name, model, x, goal=goal, threat=threat, batch_size=2)
        levels = 255 * (again.adversarials - outcome.adversarials).abs()
        assert (levels > 0.5).float().mean() < 0.02
