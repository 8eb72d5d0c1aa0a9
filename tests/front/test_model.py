"""Models in eval mode and float32, and the handle: counted, and showing no more than access allows."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import wrap_model
from harness.errors import ContractError, ModelError
from harness.goals import FlipAttribute, Untargeted
from harness.handle import Handle, Meter
from harness.model import Model, exact, frozen


class Net(nn.Module):
    """(B, 3, 4, 4) to (B, 3), with all that remembers its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        # view, as in many a tutorial, works on contiguous tensors only
        return self.last(self.body(x).view(len(x), 16))  # type: ignore[no-any-return]


class Selecting(Net):
    """The same, with the cheaper ways that a joint network may offer."""

    selected = 0

    def select(self, x: Tensor, columns: Tensor) -> Tensor:
        self.selected += 1
        return self(x).gather(1, columns[:, None])[:, 0]

    def logits(self, x: Tensor, columns: Tensor) -> Tensor:
        own = self.select(x, columns)
        return torch.stack([-own / 2, own / 2], 1)


def net(kind: type[nn.Module] = Net) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(3))


def total(outputs: Tensor) -> Tensor:
    return outputs.sum(1)


# --- models -----------------------------------------------------------------------------------------------


def test_scores_in_eval_mode_without_gradients_and_in_parts() -> None:
    module = net().train()
    model, x = wrap_model(module), images(5)
    scores = model.scores(x)
    torch.testing.assert_close(model.scores(x, batch_size=2), scores)
    assert module.training
    assert not scores.requires_grad
    assert all(parameter.requires_grad for parameter in module.parameters())
    torch.testing.assert_close(scores, net()(x).detach())
    assert model.scores(x[:0]).shape == (0, 3)


def test_scores_are_float32_whatever_was_switched_on() -> None:
    seen = []

    class Watching(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            outputs = super().forward(x) @ torch.ones(48, 2)
            seen.append((outputs.dtype, torch.is_autocast_enabled("cpu")))
            return outputs

    model = wrap_model(Watching().eval())
    with torch.autocast("cpu", torch.bfloat16):
        scores = model.scores(images(1))
        Handle(model, 1)(images(1))
        assert torch.is_autocast_enabled("cpu")
    assert scores.dtype == torch.float32
    assert seen == [(torch.float32, False)] * 2


def test_convolutions_on_graphics_cards_are_float32_too() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.benchmark
    with exact(torch.device("cpu")):
        assert not cudnn.allow_tf32
    if torch.cuda.is_available():
        with exact(torch.device("cuda")):
            assert not cudnn.allow_tf32
    assert (cudnn.allow_tf32, cudnn.benchmark) == before


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (lambda x: x.sum(), r"\(\) for a batch of 2"),
        (lambda x: x.flatten(1).sum(1), r"\(2,\) for a batch of 2"),
        (lambda x: x.flatten(2), r"\(2, 3, 16\)"),
        (lambda x: torch.cat([x, x]).flatten(1), r"\(4, 48\)"),
        (lambda x: (x.flatten(1), x), "tuple"),
        (lambda x: None, "NoneType"),
    ],
)
def test_wrong_answers_are_refused(answer: Any, shown: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return answer(x)

    model = wrap_model(Wrong().eval())
    with pytest.raises(ContractError, match=shown):
        model.scores(images(2))
    with pytest.raises(ContractError, match=shown):
        Handle(model, 2)(images(2))


def test_answers_must_fit_the_names() -> None:
    model = wrap_model(net(), "attributes", names=["a", "b"])
    with pytest.raises(ContractError, match="returned 3 attributes, but has 2 names"):
        model.scores(images(1))
    assert wrap_model(net(), "embedding", names=["a"]).scores(images(1)).shape == (1, 3)


def test_decisions() -> None:
    outputs = torch.tensor([[1.0, 0.0, -1.0], [-1.0, 2.0, 2.0]])
    flags = wrap_model(net(), "attributes").decide(outputs)
    assert flags.tolist() == [[True, False, False], [False, True, True]]  # a tie at 0 is absent
    assert wrap_model(net(), "classes").decide(outputs).tolist() == [0, 1]  # the first of equals
    with pytest.raises(ModelError, match="anchor"):
        wrap_model(net(), "embedding").decide(outputs)


def test_wrap_model_takes_what_the_module_knows_of_itself() -> None:
    module = net()
    module.attribute_names, module.threshold = ["a", "b", "c"], 0.75  # type: ignore[assignment]
    assert wrap_model(module, "attributes").names == ("a", "b", "c")
    assert wrap_model(module, "attributes", names="xyz").names == ("x", "y", "z")
    assert wrap_model(module, "embedding").threshold == 0.75
    assert wrap_model(module, "embedding", threshold=0.0).threshold == 0


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (lambda x: x, {}, "needs a torch.nn.Module, got function"),
        (nn.Identity(), {"head": "class"}, 'head "class" is unknown; did you mean "classes"'),
        (nn.Identity(), {"access": "gradient"}, 'access "gradient" is unknown; did you mean "gradients"'),
    ],
)
def test_wrap_model_refuses(module: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        wrap_model(module, **arguments)


@pytest.mark.parametrize("fail", [False, True])
def test_frozen_restores_modes_and_flags(fail: bool) -> None:
    module = net().train()
    assert isinstance(module, Net)
    module.body[1].eval()
    module.last.weight.requires_grad_(False)
    modes = [part.training for part in module.modules()]
    flags = [parameter.requires_grad for parameter in module.parameters()]
    try:
        with frozen(module):
            assert not any(part.training for part in module.modules())
            assert not any(parameter.requires_grad for parameter in module.parameters())
            module.train()
            module.requires_grad_(True)
            if fail:
                raise KeyError
    except KeyError:
        assert fail
    assert [part.training for part in module.modules()] == modes
    assert [parameter.requires_grad for parameter in module.parameters()] == flags


# --- access -----------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_module() -> None:
    module, x = net(), images(3)
    start = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(start)[:, 1].sum(), start)
    values, slope = Handle(wrap_model(module), 3).gradient(x, lambda outputs: outputs[:, 1])
    torch.testing.assert_close(slope, expected)
    torch.testing.assert_close(values, module(x)[:, 1].detach())
    assert not values.requires_grad
    assert not x.requires_grad


def test_there_is_no_gradient_of_what_does_not_depend_on_the_model() -> None:
    with pytest.raises(ContractError, match="does not depend on the model"):
        Handle(wrap_model(net()), 2).gradient(images(2), lambda outputs: torch.ones(2))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_handle_is_not_copied(duplicate: Callable[[object], object]) -> None:
    with pytest.raises(ContractError, match="tried to copy its handle"):
        duplicate(Handle(wrap_model(net()), 2))


class Own(Tensor):
    """Tensors of a library."""


class Leaving(Net):
    """Leaves torch in another state, and answers with tensors of its own."""

    def forward(self, x: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)
        torch.set_grad_enabled(not torch.is_grad_enabled())
        return super().forward(x).as_subclass(Own)


def test_what_a_module_leaves_behind_reaches_nobody() -> None:
    threads, handle = torch.get_num_threads(), Handle(wrap_model(Leaving().eval()), 2)
    for outputs in (handle(images(2)), wrap_model(Leaving().eval()).scores(images(2))):
        assert type(outputs) is Tensor
        assert outputs.dtype == torch.float32
        assert torch.get_default_dtype() == torch.float32
        assert torch.get_num_threads() == threads
        assert torch.is_grad_enabled()


def test_scores_have_no_gradients() -> None:
    handle, x = Handle(wrap_model(net()), 2, access="scores"), images(2).requires_grad_()
    outputs = handle(x)
    assert not outputs.requires_grad
    torch.testing.assert_close(outputs, net()(x).detach())
    with pytest.raises(ContractError, match="asked for gradients, but may see only scores"):
        handle.gradient(x, total)


@pytest.mark.parametrize("focused", [False, True])
def test_decisions_of_attributes_are_signs(focused: bool) -> None:
    model, x = wrap_model(net(), "attributes"), images(6)
    handle = Handle(model, 6, access="decisions")
    expected = torch.where(model.scores(x) > 0, 1.0, -1.0)
    assert expected.unique().tolist() == [-1, 1]
    if focused:
        objective = FlipAttribute(torch.tensor([0, 1, 2, 0, 1, 2])).objective(model, model.scores(x))
        columns = objective.columns[:, None]
        assert torch.equal(handle.focus(objective)(x).gather(1, columns), expected.gather(1, columns))
    else:
        assert torch.equal(handle(x.requires_grad_()), expected)
    assert not handle.has_logits


def test_decisions_of_classes_are_one_hot_and_of_embeddings_none() -> None:
    model, x = wrap_model(net()), images(6)
    shown = Handle(model, 6, access="decisions")(x)
    assert torch.equal(shown.argmax(1), model.scores(x).argmax(1))
    assert torch.equal(shown.sum(1), torch.ones(6))
    assert set(shown.unique().tolist()) == {0, 1}
    with pytest.raises(ContractError, match="no decisions without an anchor"):
        Handle(wrap_model(net(), "embedding"), 6, access="decisions")(x)


def test_tie_shows_as_absent() -> None:
    class Zero(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, :2] * 0

    handle = Handle(wrap_model(Zero().eval(), "attributes"), 1, access="decisions")
    assert handle(images(1)).tolist() == [[-1, -1]]


# --- focus ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Net, Selecting])
@pytest.mark.parametrize("names", [(), ("a", "b", "c")])
def test_focus_gives_the_same_numbers_and_nothing_in_other_columns(
    kind: type[nn.Module], names: tuple[str, ...]
) -> None:
    module, x, columns = net(kind), images(4), torch.tensor([2, 0, 1, 0])
    model = wrap_model(module, "attributes", names=names)
    objective = FlipAttribute(columns).objective(model, model.scores(x))
    handle = Handle(model, 4)
    focused = handle.focus(objective)
    outputs = focused(x)
    assert outputs.shape == (4, 3)
    own = torch.arange(3) == columns[:, None]
    torch.testing.assert_close(outputs[own], handle(x)[own])
    assert outputs[~own].isnan().all()
    for one, other in zip(
        focused.gradient(x, objective.margin), handle.gradient(x, objective.margin), strict=True
    ):
        torch.testing.assert_close(one, other)
    # and of some of the cases
    some = torch.tensor([2, 0])
    torch.testing.assert_close(
        objective.take(some).scores(focused.take(some)(x[some])), objective.scores(outputs)[some]
    )
    assert getattr(module, "selected", 1) > 0


def test_focus_on_classes_changes_nothing() -> None:
    model, x = wrap_model(net()), images(2)
    objective = Untargeted(torch.tensor([0, 1])).objective(model, model.scores(x))
    assert torch.equal(Handle(model, 2).focus(objective)(x), Handle(model, 2)(x))


def test_focus_needs_an_objective_of_the_same_cases() -> None:
    model = wrap_model(net(), "attributes")
    objective = FlipAttribute(torch.tensor(0)).objective(model, model.scores(images(4)))
    with pytest.raises(ContractError, match="an objective of 4 cases cannot focus a handle of 3 cases"):
        Handle(model, 3).focus(objective)


def test_logits_of_the_focused_attribute() -> None:
    module, x = net(Selecting), images(3)
    model = wrap_model(module, "attributes")
    objective = FlipAttribute(torch.tensor([1, 0, 2])).objective(model, model.scores(x))
    meter = Meter(3)
    handle = Handle(model, 3, meter=meter)
    logits = handle.focus(objective).logits(x)
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], objective.scores(model.scores(x)))
    assert meter.forwards.tolist() == [1, 1, 1]
    with pytest.raises(ContractError, match="focused"):
        handle.logits(x)
    with pytest.raises(ContractError, match="logits need a model that has them"):
        Handle(wrap_model(net(), "attributes"), 3).focus(objective).logits(x)


# --- the meter --------------------------------------------------------------------------------------------


def counted(cases: int, **arguments: Any) -> tuple[Handle, Meter]:
    meter = Meter(cases)
    return Handle(wrap_model(net()), cases, meter=meter, **arguments), meter


def test_counts_forward_and_backward_passes() -> None:
    handle, meter = counted(3)
    handle(images(3))
    with torch.no_grad():
        handle(images(3).requires_grad_())
    handle.gradient(images(3), total)
    assert meter.forwards.tolist() == [3, 3, 3]
    assert meter.backwards.tolist() == [1, 1, 1]


def test_counts_cases_that_leave_and_cases_with_several_candidates() -> None:
    handle, meter = counted(4)
    active = handle.take(torch.tensor([3, 1]))
    active.gradient(images(2), total)
    active.take(torch.tensor([1]))(images(1))  # case 1
    handle.take(torch.tensor([0, 0, 2, 0])).gradient(images(4), total)
    handle.take(torch.tensor([False, False, True, True]))(images(2))
    handle.take(torch.tensor([], dtype=torch.long))(images(0))
    assert meter.forwards.tolist() == [3, 2, 2, 2]
    assert meter.backwards.tolist() == [3, 1, 1, 1]


def test_counts_backward_passes_that_the_attack_makes_itself() -> None:
    handle, meter = counted(2)
    x = images(2).requires_grad_()
    loss = handle(x).square().sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert meter.forwards.tolist() == [1, 1]
    assert meter.backwards.tolist() == [2, 2]
    x = images(2).requires_grad_()  # two forward passes, and one backward pass through both
    torch.autograd.grad((handle(x) + handle(x * 0.5)).sum(), x)
    assert meter.forwards.tolist() == [3, 3]
    assert meter.backwards.tolist() == [4, 4]


def test_refuses_a_batch_that_cannot_be_booked() -> None:
    handle, meter = counted(4)
    for count in (3, 5, 8):
        with pytest.raises(ContractError, match=rf"about {count} images .* 4 cases; model.take\(cases\)"):
            handle(images(count))
    assert not meter.forwards.any()


def test_refuses_a_model_that_was_put_into_train_mode() -> None:
    module = net()
    handle = Handle(wrap_model(module), 1)
    assert isinstance(module, Net)
    module.body[3].train()
    with pytest.raises(ContractError, match="train mode"):
        handle(images(1))


# --- precision --------------------------------------------------------------------------------------------


def test_bfloat16_is_coarse_and_precise_takes_it_back() -> None:
    model, x = wrap_model(net()), images(4)
    handle = Handle(model, 4, compute="bfloat16")
    exact_scores = model.scores(x)
    coarse = handle(x)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact_scores)
    torch.testing.assert_close(coarse, exact_scores, atol=0.05, rtol=0.05)
    torch.testing.assert_close(handle.precise()(x), exact_scores)
    assert not torch.equal(handle(x), exact_scores)  # the handle itself stays as it is


def test_handle_tells_what_an_attack_may_know() -> None:
    model = Model(net(), "classes", ("a", "b", "c"))
    handle = Handle(model, 2, access="scores")
    assert (handle.head, handle.names, handle.access) == ("classes", ("a", "b", "c"), "scores")
    assert (handle.device, len(handle), handle.has_logits) == (torch.device("cpu"), 2, False)


class Parts(nn.Module):
    """Logits (B, 2) of three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("component_classes", torch.tensor([0, 1, 1]))

    def components(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([mean, 2 * mean, -mean], 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.components(x)
        return torch.stack([scores[:, 0], scores[:, 1:].logsumexp(1)], 1)


def test_components_are_shown_counted_and_differentiable() -> None:
    handle = Handle(wrap_model(Parts().eval(), "classes"), 4)
    x = torch.rand(4, 3, 2, 2)
    assert handle.has_components
    assert handle.component_classes.tolist() == [0, 1, 1]
    values, slope = handle.gradient(x, lambda scores: scores[:, 1] - scores[:, 0], outputs=handle.components)
    torch.testing.assert_close(values, x.flatten(1).mean(1))
    torch.testing.assert_close(slope, torch.full_like(x, 1 / 12))
    assert handle._meter.forwards.tolist() == [1] * 4
    assert handle._meter.backwards.tolist() == [1] * 4


def test_components_need_a_model_that_has_them_and_its_scores() -> None:
    closed = Handle(wrap_model(Parts(), "classes"), 1, access="decisions")
    plain = Handle(wrap_model(nn.Flatten(), "classes"), 1)
    for handle in (closed, plain):
        assert not handle.has_components
        with pytest.raises(ContractError, match="components need"):
            handle.components(torch.rand(1, 3, 2, 2))
    with pytest.raises(ContractError, match="Flatten has no components"):
        _ = plain.component_classes
