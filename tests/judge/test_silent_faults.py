"""What would give wrong numbers without a word is refused, works, or is said; with ``harness.attack``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError, ModelError
from harness.goals import Evade, FlipAttribute, Impersonate, Targeted, Untargeted
from harness.judge.outcome import Outcome
from harness.threat import L2, Linf

N, K = 12, 5
SHAPE = (3, 16, 16)


class Linear(nn.Module):
    def __init__(
        self, before: Callable[[Tensor], Tensor] = lambda x: x, after: Callable[[Tensor], Any] = lambda y: y
    ) -> None:
        super().__init__()
        self.layer, self.before, self.after = nn.Linear(768, K), before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.layer(self.before(x).flatten(1)))


def net(**around: Any) -> Linear:
    module = Linear(**around)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        module.layer.weight.copy_(torch.rand((K, 768), generator=generator) / 14 - 1 / 28)
        module.layer.bias.zero_()
    return module.eval()


@pytest.fixture
def x() -> Tensor:
    drawn = torch.rand((N, *SHAPE), generator=torch.Generator().manual_seed(1))
    return (255 * drawn).round() / 255


def labels(x: Tensor, **around: Any) -> Tensor:
    return net(**around)(x.clone()).argmax(1)


def attacked(module: nn.Module, x: Tensor, goal: Any, head: Any = "classes", **more: Any) -> Outcome:
    more = {"threat": Linf(16 / 255), **more}
    return harness.attack("pgd", harness.wrap_model(module, head), x, goal=goal, **more)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_called_in_a_mode_without_gradients(x: Tensor, mode: Any) -> None:
    expected = attacked(net(), x, Untargeted(labels(x)))
    assert expected.success.all()
    with mode():
        images = x.clone()
        found = attacked(net(), images, Untargeted(labels(images)))
    assert torch.equal(found.adversarials, expected.adversarials)
    assert torch.equal(found.backwards, expected.backwards)


def test_embeddings_of_inference_mode_are_anchors(x: Tensor) -> None:
    module = net()
    with torch.inference_mode():
        goal = Evade(module(x), 0.05)
        outcome = harness.attack("pgd", harness.wrap_model(module, "embedding"), x, goal=goal, threat=L2(1.0))
    assert outcome.success.all()


def _blocked() -> dict[str, nn.Module]:
    return {
        "detach": net(after=lambda y: y.detach()),
        "numpy": net(after=lambda y: torch.from_numpy(y.detach().numpy())),
        "no_grad": net(after=torch.no_grad()(lambda y: 1 * y)),
        "inference_mode": net(after=torch.inference_mode()(lambda y: 1 * y)),
    }


@pytest.mark.parametrize("how", list(_blocked()))
def test_an_output_without_a_graph_is_an_error(x: Tensor, how: str) -> None:
    module = _blocked()[how]
    with pytest.raises(ModelError, match=r'no gradient at the image.* declare access = "scores"'):
        attacked(module, x, Untargeted(labels(x)))
    model = harness.wrap_model(module, access="scores")
    outcome = harness.attack("noise", model, x, goal=Untargeted(labels(x)), threat=Linf(1.0))
    assert outcome.success.any()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda x: x.sub_(0.5).div_(0.2), lambda x: x.sub(0.5).div(0.2)),
        (lambda x: x.clamp_(0.2, 0.8), lambda x: x.clamp(0.2, 0.8)),
        (lambda x: nn.functional.relu(x, inplace=True), lambda x: x.relu()),
        (lambda x: x.mul_(2), lambda x: x * 2),
    ],
)
def test_what_a_model_does_to_its_input_is_its_own_business(x: Tensor, change: Any, same: Any) -> None:
    before = x.clone()
    expected = attacked(net(before=same), x, Untargeted(labels(x, before=same)))
    found = attacked(net(before=change), x, Untargeted(labels(x, before=same)))
    assert torch.equal(x, before)
    assert torch.equal(found.adversarials, expected.adversarials)
    assert not any(found.faults)
    noisy = harness.attack(
        "noise",
        harness.wrap_model(net(before=change)),
        x,
        goal=Untargeted(labels(x, before=same)),
        threat=Linf(4 / 255),
    )
    assert not any(noisy.faults)


@pytest.mark.parametrize("after", [torch.sigmoid, lambda y: y.softmax(1)])
def test_probabilities_as_scores_are_flagged(x: Tensor, after: Any) -> None:
    goal = FlipAttribute(torch.zeros(N, dtype=torch.long))
    with pytest.warns(UserWarning, match="probabilities: every output of the model is between 0 and 1"):
        outcome = attacked(net(after=after), x, goal, "attributes")
    assert outcome.flags == ("probabilities",)


def test_a_constant_model_is_flagged(x: Tensor) -> None:
    goal = Untargeted((labels(x) + 1) % K)
    with pytest.warns(UserWarning, match="constant-decisions"):
        outcome = attacked(net(after=lambda y: 0 * y + torch.arange(5.0)), x, goal)
    assert outcome.flags == ("constant-decisions",)


def test_one_output_has_no_decision(x: Tensor) -> None:
    with pytest.raises(ModelError, match="one output under the head"):
        attacked(net(after=lambda y: y[:, :1]), x, Untargeted(torch.zeros(N, dtype=torch.long)))


def test_images_that_were_wrong_before_are_no_successes_of_the_rate(x: Tensor) -> None:
    right = labels(x)
    outcome = attacked(net(), x, Untargeted((right + 1) % K))
    assert outcome.reached.any()
    assert not outcome.clean_correct.any()
    assert outcome.success_rate.value is None
    assert outcome.clean_accuracy.value == 0
    assert "12 images, 0 right before the attack" in repr(outcome)
    some = torch.where(torch.arange(N) < 4, right, (right + 1) % K)
    outcome = attacked(net(), x, Untargeted(some))
    assert outcome.clean_correct.tolist() == [True] * 4 + [False] * 8
    assert outcome.success_rate.n == 4
    assert outcome.success_rate.value == outcome.success[:4].float().mean()
    assert outcome.clean_accuracy.value == pytest.approx(4 / N)
    assert outcome.robust_accuracy.value == pytest.approx(float((~outcome.success[:4]).sum()) / N)


@pytest.mark.parametrize("eps", [1.001, 8, 255, 300])
def test_a_budget_in_grey_levels_is_refused(eps: float) -> None:
    with pytest.raises(AttackError, match=f"eps = {eps:g} is above 1 in L-infinity"):
        Linf(eps)


def test_every_image_is_inside_the_largest_budget() -> None:
    assert Linf(1.0).eps == 1


@pytest.mark.parametrize("value", [0.7, 0.01, 1.0, 2.0])
def test_a_soft_label_above_0_is_present(x: Tensor, value: float) -> None:
    model = harness.wrap_model(net(), "attributes")
    goal = FlipAttribute(torch.zeros(N, dtype=torch.long), torch.full((N,), value))
    assert goal.objective(model, model.scores(x)).labels.all()


@pytest.mark.parametrize("goal", [Untargeted, Targeted, FlipAttribute])
def test_numbers_of_classes_and_attributes_are_whole(x: Tensor, goal: Any) -> None:
    head: Any = "attributes" if goal is FlipAttribute else "classes"
    model = harness.wrap_model(net(), head)
    goal(torch.full((N,), 3.0)).objective(model, model.scores(x))
    with pytest.raises(AttackError, match="by a whole number"):
        goal(torch.full((N,), 0.7)).objective(model, model.scores(x))


@pytest.mark.parametrize("goal", [Evade, Impersonate])
@pytest.mark.parametrize(
    "similarity",
    [nn.functional.cosine_similarity, lambda a, b: (a * b).sum(1), lambda a, b: -(a - b).norm(dim=1)],
)
def test_a_similarity_is_no_distance(x: Tensor, goal: Any, similarity: Any) -> None:
    module = net(after=lambda y: nn.functional.normalize(y))
    model = harness.wrap_model(module, "embedding", distance=similarity)
    anchors = module(x).detach().roll(1, 0)
    with pytest.raises(ModelError, match="give a distance"):
        harness.attack("noise", model, x, goal=goal(anchors, 0.28), threat=Linf(1 / 255))


def test_a_distance_of_another_shape_is_refused(x: Tensor) -> None:
    model = harness.wrap_model(net(), "embedding", distance=lambda a, b: torch.cdist(a, b))
    with pytest.raises(ModelError, match="distance of 12 pairs"):
        harness.attack("noise", model, x, goal=Evade(net()(x).detach(), 0.3), threat=Linf(1 / 255))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_models_compute_in_their_own_precision(x: Tensor, kind: torch.dtype) -> None:
    found = attacked(net().to(kind), x, Untargeted(labels(x)))
    assert found.success.all()
    assert int(found.backwards.sum()) > 0


def test_an_attack_is_not_blamed_for_a_model_that_wakes_up(x: Tensor) -> None:
    class Wakes(Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.train()
            return super().forward(x)

    module = Wakes()
    module.load_state_dict(net().state_dict())
    assert attacked(module.eval(), x, Untargeted(labels(x))).success.all()


def test_the_faults_of_a_model_are_named_as_its_own(x: Tensor) -> None:
    def fail(_: Tensor) -> Tensor:
        raise KeyError("mean")

    with pytest.raises(ModelError, match="the model failed: KeyError: 'mean'"):
        attacked(net(before=fail), x, Untargeted(labels(x)))
