"""Models with the idioms of real code pass the contract without a finding, and without a warning."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.testing import findings, model_checks, results_of
from harness.testing.contract import Result

from . import broken_models, sound_models


def checked(build: Any, head: str, **said: Any) -> list[Result]:
    spec = harness.ModelSpec(name="model", summary="", head=head, build="tests:build", **said)  # type: ignore[arg-type]
    return [result for group in results_of(model_checks(spec, function=build)) for result in group]


@pytest.mark.parametrize(
    ("build", "head"),
    [
        (sound_models.mobile_face_net, "embedding"),
        (sound_models.resnet, "classes"),
        (sound_models.vit, "attributes"),
    ],
)
def test_a_real_architecture_passes_without_a_word(build: Any, head: str) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        results = checked(build, head)
    assert findings(results) == []
    assert [str(warning.message) for warning in heard] == []
    assert sum(result.status == "passed" for result in results) >= 11


class InFloat32(nn.Module):
    """A network that cannot be asked in float64, so that its gradient is compared across kinks."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.threshold = 1.1

    def forward(self, x: Tensor) -> Tensor:
        self.module.float()
        return self.module(x.float())


def of_classifier(change: Any) -> Any:
    """A build function of the classifier after ``change(module)``."""

    def build(task: Any) -> nn.Module:
        module = broken_models.Classifier(len(task.class_names))
        return change(module) or module

    return build


def reads_values(module: Any) -> None:
    module.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]


def starts_at_zero(module: Any) -> None:
    nn.init.zeros_(module.output.weight)
    nn.init.zeros_(module.output.bias)


def rectifies_the_image(module: Any) -> nn.Module:
    return nn.Sequential(nn.ReLU(inplace=True), module)


def of_cosines(module: Any) -> None:
    module.change = lambda logits: 16 * logits / logits.norm(dim=1, keepdim=True)


class WithToken(nn.Module):
    """A token that is made of no image goes through a linear layer before the image does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.token = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        token = self.token(torch.ones(len(x), 4).to(x))
        return self.module(x + 0.1 * token[:, :, None, None])


def is_exported(module: Any) -> nn.Module:
    """An exported program refuses ``eval()``."""
    size = torch.export.Dim("size", min=1, max=512)
    program = torch.export.export(module.eval(), (torch.rand(2, 3, 16, 16),), dynamic_shapes=({0: size},))
    return program.module()


def is_scripted(module: Any) -> nn.Module:
    return torch.jit.trace(module.eval(), torch.rand(2, 3, 16, 16))


def loads(module: Any) -> None:
    """As from a checkpoint, with hundreds of tensors that the meta device does not copy."""
    state = {
        name: torch.full_like(tensor, 0.01, device="cpu") for name, tensor in module.state_dict().items()
    }
    state["output.weight"] = torch.linspace(-1, 1, 640).view(5, 128)
    module.load_state_dict(state)


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.double(),
        lambda module: module.bfloat16(),
        rectifies_the_image,
        reads_values,
        starts_at_zero,
        of_cosines,
        lambda module: setattr(module, "change", lambda logits: logits.log_softmax(1)),
        lambda module: setattr(module, "class_names", ("five", "four", "three", "two", "one")),
        loads,
        is_exported,
        is_scripted,
        InFloat32,
        WithToken,
    ],
    ids=lambda change: getattr(change, "__name__", "change"),
)
def test_an_idiom_of_real_code_is_no_fault(change: Any) -> None:
    assert findings(checked(of_classifier(change), "classes")) == []


def test_kinks_are_no_wrong_gradient() -> None:
    def build(task: Any) -> nn.Module:
        return InFloat32(sound_models.mobile_face_net(task))

    results = checked(build, "embedding")
    assert findings(results) == []
    (gradients,) = [result for result in results if result.check == "gradients"]
    assert gradients.status == "passed"


def test_a_baseline_may_be_constant_if_it_says_so() -> None:
    def build(task: Any) -> nn.Module:
        return broken_models.of_logits(lambda logits: 0 * logits + 1)(task)

    assert [finding.check for finding in findings(checked(build, "classes"))] == ["pixel-scale"]
    assert findings(checked(build, "classes", traits=frozenset({"constant"}))) == []
