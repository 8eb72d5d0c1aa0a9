"""What an attack may ask: nothing that shows more than it may see, or costs more than is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F  # noqa: N812
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import BaseTorchDispatchMode

from harness import wrap_model
from harness.errors import ContractError
from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Targeted, Untargeted, lent_objective
from harness.goals.rules import Rules
from harness.handle import Handle, Meter
from harness.judge.trial import attempt
from harness.model import Model
from harness.threat import Linf

LEVEL = 1 / 255


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.flatten(1))  # type: ignore[no-any-return]

    def training_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        same = scores.ndim == labels.ndim
        return (scores - labels).square() if same else F.cross_entropy(scores, labels, reduction="none")

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        return (one - other).square().sum(1)


def images(count: int = 4) -> Tensor:
    return torch.round(torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 255) / 255


def net(head: Any = "attributes") -> Model:
    torch.manual_seed(0)
    return wrap_model(Net().eval(), head, threshold=1.0)


GOALS: dict[str, tuple[str, Goal]] = {
    "flip": ("attributes", FlipAttribute(torch.tensor([0, 1, 2, 0]))),
    "untargeted": ("classes", Untargeted(torch.tensor([0, 1, 2, 0]))),
    "targeted": ("classes", Targeted(torch.tensor([0, 1, 2, 0]))),
    "impersonate": ("embedding", Impersonate(torch.rand(4, 3))),
    "evade": ("embedding", Evade(torch.rand(4, 3))),
}


def granted(name: str = "flip", access: Any = "decisions") -> tuple[Handle, Any, Tensor, Meter]:
    head, goal = GOALS[name]
    model, x = net(head), images()
    objective = goal.objective(model, model.scores(x))
    meter = Meter(4)
    handle = Handle(model, 4, access=access, meter=meter, rules=Rules(objective, (3, 2, 2), x.device))
    return handle, lent_objective(objective), x, meter


# --- goals ------------------------------------------------------------------------------------------------


class Spy:
    """An objective of the attack's own, to which ``reaches`` would show scores."""

    columns = None

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __len__(self) -> int:
        return 4

    def reached(self, outputs: Tensor) -> Tensor:
        self.seen.append(outputs)
        return outputs[:, 0] > 0

    def take(self, cases: Tensor) -> Spy:
        return self


@pytest.mark.parametrize("name", GOALS)
def test_under_decisions_only_the_given_goal_can_be_focused(name: str) -> None:
    handle, objective, x, _ = granted(name)
    rows = torch.tensor([2, 0, 2])
    whole = handle.focus(objective).reaches(x)
    assert torch.equal(handle.take(rows).focus(objective.take(rows)).reaches(x[rows]), whole[rows])
    assert torch.equal(handle.focus(objective).take(rows).reaches(x[rows]), whole[rows])
    spy = Spy()
    with pytest.raises(ContractError, match="only decisions on its own goal"):
        handle.focus(spy).reaches(x)  # type: ignore[arg-type]
    assert not spy.seen
    with pytest.raises(ContractError, match="only decisions on its own goal"):
        handle.take(rows).focus(objective.take(torch.tensor([0, 1, 2])))


def subclass_of(objective: Any) -> Any:
    kind = type("Own", (type(objective),), {"reached": lambda self, outputs: outputs[:, 0] > 0.5})
    return kind(**vars(objective))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("impersonate", lambda objective: replace(objective, threshold=0.3)),
        ("evade", lambda objective: replace(objective, anchors=torch.zeros(4, 3))),
        ("evade", lambda objective: replace(objective, towards=True)),
        ("targeted", lambda objective: replace(objective, classes=1 - objective.classes.clamp(max=1))),
        ("flip", lambda objective: replace(objective, present=~objective.present)),
        ("flip", subclass_of),
        ("impersonate", subclass_of),
    ],
)
def test_under_decisions_a_goal_cannot_be_bent(name: str, change: Callable[[Any], Any]) -> None:
    handle, objective, _, _ = granted(name)
    with pytest.raises(ContractError, match="only decisions on its own goal"):
        handle.focus(change(objective))
    free, objective, x, _ = granted(name, "scores")
    free.focus(change(objective))(x)  # where scores may be seen, any goal may be asked for


def test_a_function_hung_on_the_goal_does_not_run() -> None:
    handle, objective, x, _ = granted("impersonate")
    expected = handle.focus(objective).reaches(x)
    seen: list[Tensor] = []
    object.__setattr__(objective, "reached", lambda outputs: seen.append(outputs) or outputs[:, 0] > 0)
    assert torch.equal(handle.focus(objective).reaches(x), expected)
    object.__setattr__(objective, "distance", lambda one, other: seen.append(one) or one[:, 0])
    assert torch.equal(handle.focus(objective).reaches(x), expected)
    assert not seen


# --- what is asked ----------------------------------------------------------------------------------------


def inside_vmap(handle: Handle, x: Tensor) -> object:
    return torch.vmap(handle)(x.expand(200, *x.shape))


def inside_vmap_of_vmap(handle: Handle, x: Tensor) -> object:
    return torch.vmap(torch.vmap(handle))(x.expand(2, 3, *x.shape))


def inside_grad(handle: Handle, x: Tensor) -> object:
    return torch.func.grad(lambda images: handle(images).sum())(x)


def inside_jvp(handle: Handle, x: Tensor) -> object:
    return torch.func.jvp(handle, (x,), (torch.ones_like(x),))


def inside_jacfwd(handle: Handle, x: Tensor) -> object:
    return torch.func.jacfwd(handle)(x)


def with_dual(handle: Handle, x: Tensor) -> object:
    with forward_ad.dual_level():
        return handle(forward_ad.make_dual(x, torch.ones_like(x)))


def traced(handle: Handle, x: Tensor) -> object:
    return torch.jit.trace(lambda images: handle(images), x)  # type: ignore[no-untyped-call]


def in_function_mode(handle: Handle, x: Tensor) -> object:
    with BaseTorchFunctionMode():
        return handle(x)


def in_dispatch_mode(handle: Handle, x: Tensor) -> object:
    with BaseTorchDispatchMode():
        return handle(x)


@pytest.mark.parametrize("access", ["gradients", "scores", "decisions"])
@pytest.mark.parametrize(
    "ask",
    [
        inside_vmap,
        inside_vmap_of_vmap,
        inside_grad,
        inside_jvp,
        inside_jacfwd,
        with_dual,
        traced,
        in_function_mode,
        in_dispatch_mode,
        lambda handle, x: handle(x[..., :1]),
        lambda handle, x: handle(x.to("meta")),
        lambda handle, x: handle(list(x)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_questions_that_cannot_be_counted_are_refused(
    ask: Callable[[Handle, Tensor], Any], access: Any
) -> None:
    handle, _, x, meter = granted(access=access)
    with pytest.raises(ContractError, match="the attack asked"):
        ask(handle, x)
    assert not meter.forwards.any()
    handle(x)
    assert meter.forwards.tolist() == [1, 1, 1, 1]


def test_many_gradients_at_once_are_not_one() -> None:
    handle, _, x, meter = granted(access="gradients")
    outputs = handle(x.requires_grad_())
    many = torch.eye(3).expand(4, 3, 3).permute(1, 0, 2)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(outputs, x, many, is_grads_batched=True)
    assert meter.backwards.max() <= 1


def test_ordinary_questions_are_answered() -> None:
    handle, objective, x, _ = granted(access="gradients")
    with torch.device("cpu"), torch.no_grad():
        assert torch.equal(handle(x), handle(nn.Parameter(x)))
    with forward_ad.dual_level():
        handle(x)
    assert handle.gradient(x, objective.margin)[1].shape == x.shape
    torch.vmap(lambda scale: (x * scale).sum() + handle(x).sum())(torch.ones(2))  # the model is asked once
    with BaseTorchFunctionMode():  # the caller's own
        Handle(net(), 4)(x)


# --- what is lent -----------------------------------------------------------------------------------------


def reachable(value: Any, depth: int = 4) -> list[Any]:
    """Return what can be reached through attributes and variables of functions."""
    found = [value]
    if depth and not isinstance(value, Tensor | str | int | type):
        inner = "__self__", "__closure__", "cell_contents"
        names = [name for name in dir(value) if not name.startswith("__") or name in inner]
        for one in [
            *(getattr(value, name, None) for name in names),
            *(value if isinstance(value, tuple | list) else ()),
        ]:
            found += reachable(one, depth - 1)
    return found


@pytest.mark.parametrize("name", GOALS)
def test_no_goal_leads_to_the_module(name: str) -> None:
    head, goal = GOALS[name]
    model, x = net(head), images()
    own = goal.objective(model, model.scores(x))
    assert any(isinstance(one, nn.Module) for one in reachable(own))
    lent = lent_objective(own)
    assert not any(isinstance(one, nn.Module) for one in reachable(lent))
    outputs = model.scores(x) + 0.1
    assert torch.equal(lent.loss(outputs), own.loss(outputs))
    assert torch.equal(lent.margin(outputs), own.margin(outputs))
    rows = torch.tensor([1, 1, 3])
    assert torch.equal(lent.take(rows).loss(outputs[rows]), own.loss(outputs)[rows])


def test_attacks_get_rules_and_a_lent_goal() -> None:
    seen: list[Any] = []

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        seen.append(objective)
        with pytest.raises(ContractError, match="only decisions on its own goal"):
            model.focus(Spy())
        with pytest.raises(ContractError, match="inside torch"):
            inside_vmap(model, x)
        model.focus(objective).reaches(x)
        return x.clone()

    goal = FlipAttribute(torch.zeros(4, dtype=torch.long))
    threat = Linf(8 * LEVEL, access="decisions")
    trial = attempt(net(), attack, images(), goal, threat, seed=0, keys=list("abcd"), parameters={})
    assert trial.forwards.tolist() == [1, 1, 1, 1]
    assert not hasattr(seen[0].training_loss, "__self__")
