"""FFA towards the target that eq. 8 gives at the original image, against a plain loop in float64."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import harness
from harness.catalog import catalog
from harness.errors import AttackError
from harness.handle import Handle
from harness.threat import Minimal
from harness_attacks.ffa import ffa
from tests.attacks.conftest import Setting

MINIMAL = Minimal("linf")
HELD: dict[str, Any] = {"search": "iterative", "target": "held", "max_iterations": 40}
Image = npt.NDArray[np.float64]  # (C, H, W)


class OneScoreAlone(nn.Module):
    """A joint network behind ``select``, as if each attribute had a network of its own."""

    def __init__(self, joint: nn.Module) -> None:
        super().__init__()
        self.joint = joint

    def forward(self, x: Tensor) -> Tensor:
        return self.joint(x)

    def select(self, x: Tensor, columns: Tensor) -> Tensor:
        return self.joint(x).gather(1, columns[:, None])[:, 0]


def in_double(setting: Setting) -> Setting:
    """24 cases in float64. Logits are raised: if the smaller one is below 0, a held target flips nothing."""
    module = deepcopy(setting.module).double()
    if hasattr(module, "pairs"):
        module.both.body[-1].bias.data += 8  # type: ignore[union-attr, index]
    few = setting.first(24)
    x = torch.round(few.x.double() * 255) / 255
    return replace(few, model=harness.wrap_model(module, "attributes"), x=x)


def plain_held(setting: Setting, case: int, steps: int) -> Image | None:
    """One image, one float64 step at a time: t is f(x), but for 0 for the attribute or the larger logit."""
    module, column = setting.module, int(setting.columns[case])

    def outputs(image: Image) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(image).requires_grad_()
        pairs = getattr(module, "pairs", None)
        return x, pairs(x[None])[0, column] if pairs else module(x[None])[0]

    def score(image: Image) -> float:
        values = outputs(image)[1].tolist()
        return values[1] - values[0] if hasattr(module, "pairs") else values[column]

    image = original = setting.x[case].numpy()
    first = outputs(original)[1].tolist()
    target = list(first)
    target[first.index(max(first)) if hasattr(module, "pairs") else column] = 0.0
    for _ in range(steps):
        x, values = outputs(image)
        loss = sum((wanted - value) ** 2 / 2 for wanted, value in zip(target, values, strict=True))
        (slope,) = torch.autograd.grad(loss, x)
        step = -slope.numpy()
        image = np.clip(image + step / np.abs(step).max() / 255, 0, 1)
        stored: Image = np.round(image * 255) / 255
        if (score(stored) > 1e-5) if score(original) < 0 else (score(stored) < -1e-5):
            return stored
    return None


@pytest.mark.parametrize("network", ["single", "joint", "softmax"])
def test_a_held_target_is_that_of_a_plain_loop_in_double(
    network: str, request: pytest.FixtureRequest
) -> None:
    setting = in_double(request.getfixturevalue(network))
    x = setting.x
    objective = setting.goal.objective(setting.model, setting.model.scores(x))
    handle = Handle(setting.model, len(x))
    found = ffa(handle, x, objective, MINIMAL, rng=None, **HELD)  # type: ignore[arg-type]
    expected = [plain_held(setting, case, 40) for case in range(len(x))]
    flipped = [image is not None for image in expected]
    assert sum(flipped) >= 6
    assert (found != x).flatten(1).any(1).tolist() == flipped
    for image, plain in zip(found, expected, strict=True):
        assert plain is None or np.abs(image.numpy() - plain).max() < 1e-9


def test_a_held_target_leaves_the_other_attributes_where_they_are(joint: Setting) -> None:
    few = joint.first(60)
    clean = few.model.scores(few.x)
    apart, flips = {}, {}
    for target in ("recomputed", "held"):
        params: dict[str, Any] = {**HELD, "target": target}
        outcome = harness.attack("ffa", few.model, few.x, goal=few.goal, threat=MINIMAL, **params)
        moved = (few.model.scores(outcome.adversarials) - clean).abs()
        moved.scatter_(1, few.columns[:, None], 0)
        apart[target], flips[target] = moved[outcome.success].mean(), outcome.success.float().mean()
    assert apart["held"] < 0.8 * apart["recomputed"]
    assert 0.3 < flips["held"] <= flips["recomputed"]


def test_a_held_target_changes_nothing_where_a_network_has_one_output(
    single: Setting, joint: Setting
) -> None:
    """Networks with ``select`` count as networks of one output each."""
    alone = harness.wrap_model(OneScoreAlone(joint.module), "attributes")
    for setting, model in ((single, single.model), (joint, alone)):
        held, recomputed = (
            harness.attack("ffa", model, setting.x, goal=setting.goal, threat=MINIMAL, **params)
            for params in (HELD, {**HELD, "target": "recomputed"})
        )
        assert held.success.any()
        assert torch.equal(held.adversarials, recomputed.adversarials)


@pytest.mark.parametrize("network", ["joint", "softmax"])
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_a_held_target_takes_one_pass_more(
    network: str, compute: Any, request: pytest.FixtureRequest
) -> None:
    setting = request.getfixturevalue(network)
    params = {**HELD, "max_iterations": 12}
    outcome = harness.attack(
        "ffa", setting.model, setting.x, goal=setting.goal, threat=MINIMAL, compute=compute, **params
    )
    passes = catalog().attacks["ffa"].spec.passes
    assert passes is not None
    assert passes(params) == (outcome.forwards.max(), outcome.backwards.max()) == (25, 12)
    assert outcome.valid.all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"search": "line"}, 'target = "held" needs search = "iterative"'),
        ({"crossed": "onward"}, 'crossed = "onward" follows no target'),
    ],
)
def test_a_held_target_is_refused_where_it_has_no_meaning(joint: Setting, params: Any, message: str) -> None:
    few = joint.first(2)
    with pytest.raises(AttackError, match=message):
        harness.attack("ffa", few.model, few.x, goal=few.goal, threat=MINIMAL, **{**HELD, **params})


def test_a_held_target_needs_attributes(classes: Setting) -> None:
    few = classes.first(2)
    with pytest.raises(AttackError, match="needs a goal of attributes"):
        harness.attack(ffa, few.model, few.x, goal=few.goal, threat=MINIMAL, **HELD)
