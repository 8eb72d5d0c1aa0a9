"""Mirrored verifiers: twice the outputs, the mean of two distances, and attacks that see both."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.errors import ModelError
from harness.goals import Evade, Impersonate, mirrored, twice
from harness.handle import Handle
from harness.model import Model, wrap_model


class Weighed(nn.Module):
    """Two sums of the pixels, with weights that are not the same on both sides of the image."""

    def __init__(self, *, writes: bool = False) -> None:
        super().__init__()
        self.writes = writes
        self.weight = nn.Parameter(torch.arange(24.0).view(3 * 4, 2) / 10)

    def forward(self, x: Tensor) -> Tensor:
        found = x.flatten(1) @ self.weight
        if self.writes:
            x.zero_()
        return found


def plain(**how: bool) -> Model:
    return wrap_model(Weighed(**how).eval(), "embedding", threshold=1.0)


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("writes", [False, True])
def test_the_outputs_are_those_of_image_and_mirror_image(writes: bool) -> None:
    model, x = plain(writes=writes), images()
    both = mirrored(model).scores(x)
    assert torch.equal(both, torch.cat([model.scores(x), model.scores(x.flip(3))], 1))
    assert not torch.equal(both[:, :2], both[:, 2:])


@pytest.mark.parametrize("kind", [Impersonate, Evade])
def test_the_mean_distance_decides(kind: type[Impersonate | Evade]) -> None:
    """Margin, loss and decision say the same of an image and of its mirror image."""
    model, x, reference = plain(), images(), images(8)[5:6]
    anchor = model.scores(reference)
    apart = [(model.scores(side) - anchor).norm(dim=1) for side in (x, x.flip(3))]
    mean = (apart[0] + apart[1]) / 2
    bound = float(mean.median()) + 1e-3
    assert ((apart[0] < bound) != (mean < bound)).any()
    goal = kind(twice(anchor), bound)
    objective = goal.objective(mirrored(model), mirrored(model).scores(x))
    for side in (x, x.flip(3)):
        outputs = mirrored(model).scores(side)
        gap = bound - mean if kind is Impersonate else mean - bound
        torch.testing.assert_close(objective.distances(outputs), mean)
        torch.testing.assert_close(objective.margin(outputs), gap)
        torch.testing.assert_close(objective.loss(outputs), mean)
        assert torch.equal(objective.reached(outputs), gap > 0)
    assert torch.equal(objective.correct, gap <= 0)


def test_attacks_follow_the_gradient_of_both_in_one_pass() -> None:
    model, x = plain(), images()
    both = mirrored(model)
    objective = Impersonate(twice(model.scores(images(6)[5:])), 1.0).objective(both, both.scores(x))
    handle = Handle(both, len(x))
    _, found = handle.gradient(x, objective.margin)
    moved = x.clone().requires_grad_()
    outputs = torch.cat([model.module(moved), model.module(moved.flip(3))], 1)
    (wanted,) = torch.autograd.grad(objective.margin(outputs).sum(), moved)
    torch.testing.assert_close(found, wanted)
    assert handle._meter.forwards.tolist() == handle._meter.backwards.tolist() == [1] * len(x)


def test_only_embeddings_are_mirrored() -> None:
    with pytest.raises(ModelError, match='only embeddings are mirrored; this model has the head "classes"'):
        mirrored(wrap_model(Weighed(), "classes"))
