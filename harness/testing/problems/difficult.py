"""Difficult problems use models that are constant, return NaN, depend on train mode, or limit their calls."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import torch
from torch import Tensor, nn

from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Targeted, Untargeted
from harness.model import Model
from harness.testing.contract import ContractFailure
from harness.testing.problems.problem import Problem, generator

BRIGHT = 0.9
"""The least pixel value of images for which ``NanOnBright`` returns NaN; that of others is about 0.5."""


class Constant(nn.Module):
    """A Constant returns the same outputs (M,) for every image; the gradient at the pixels is 0."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs + 0 * x.flatten(1).sum(1, keepdim=True)


class NanOnBright(nn.Module):
    """NanOnBright returns NaN for images with a mean above 0.75, or for all, else a module's outputs."""

    def __init__(self, module: nn.Module, everywhere: bool) -> None:
        super().__init__()
        self.module = module
        self.everywhere = everywhere

    def forward(self, x: Tensor) -> Tensor:
        lost = (x.flatten(1).mean(1, keepdim=True) > 0.75) | self.everywhere
        outputs: Tensor = self.module(x)
        return torch.where(lost, torch.nan, outputs)


class WithDropout(nn.Module):
    """WithDropout puts batch normalisation and dropout, which depend on train mode, before a module."""

    def __init__(self, module: nn.Module, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.5)
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.module(self.dropout(self.norm(x)))
        return outputs


class CallLimit(nn.Module):
    """A CallLimit lets a module be called at most ``most`` times."""

    def __init__(self, module: nn.Module, most: int) -> None:
        super().__init__()
        self.module = module
        self.most = most
        # No number of the module changes: the guard would ask the module again and again whether it wrote it.
        self.numbers = count(1)

    def forward(self, x: Tensor) -> Tensor:
        if next(self.numbers) > self.most:
            raise ContractFailure(
                f"the attack called the model {self.most} times and did not stop; bound its loops, also for "
                "goals that cannot be reached"
            )
        outputs: Tensor = self.module(x)
        return outputs


def with_module(problem: Problem, module: nn.Module, name: str) -> Problem:
    """Return the problem with another module; its distances hold only if both have the same outputs."""
    return replace(problem, name=name, model=replace(problem.model, module=module))


def constant(problem: Problem) -> Problem:
    """Return the problem with a model whose outputs are those of the first image; no goal is reachable."""
    answer = problem.model.scores(problem.x[:1])[0]
    goal: Goal = problem.goal
    if isinstance(goal, Untargeted):
        goal = Untargeted(answer.argmax().expand(len(problem)))
    elif isinstance(goal, Impersonate | Evade):
        goal = replace(goal, anchors=goal.anchors[:1])  # its distance never changes
    problem = with_module(problem, Constant(answer), f"a constant model instead of {problem.name}")
    return replace(problem, goal=goal)


def with_nan(problem: Problem, everywhere: bool) -> tuple[Problem, Tensor]:
    """Return the problem with a model that returns NaN for some images or all, and which these are (B,).

    Every second image is made bright if only some are to be NaN.
    """
    lost = torch.ones(len(problem), dtype=torch.bool)
    x = problem.x
    if not everywhere:
        lost = torch.arange(len(problem)) % 2 == 1
        bright = BRIGHT + 0.1 * torch.rand(x.shape, generator=generator(5))
        x = torch.where(lost.view(-1, 1, 1, 1), torch.round(bright * 255) / 255, x)
    name = f"{problem.name} with outputs that are not finite"
    difficult = with_module(problem, NanOnBright(problem.model.module, everywhere), name)
    return replace(difficult, x=x), lost


def at_the_edges(problem: Problem) -> Problem:
    """Return the problem on images of which most components are 0 or 1 already."""
    x = (1.6 * torch.rand(problem.x.shape, generator=generator(6)) - 0.3).clamp(0, 1)
    x = torch.round(x * 255) / 255
    goal = problem.goal
    if isinstance(goal, Untargeted):
        goal = Untargeted(problem.model.scores(x).argmax(1))
    elif isinstance(goal, Impersonate | Evade):
        own = problem.model.scores(x)
        far = own + 2 * goal_threshold(goal, problem.model) / own.shape[1] ** 0.5
        goal = replace(goal, anchors=far if isinstance(goal, Impersonate) else own)
    return replace(problem, name=f"{problem.name} on images at the edge of [0, 1]", x=x, goal=goal)


def reached_already(problem: Problem) -> list[Problem]:
    """Return the problem with goals that its images have reached; none for flips, which never are."""
    goal = problem.goal
    goals: list[Goal] = []
    if isinstance(goal, Untargeted):
        classes = problem.model.scores(problem.x[:1]).shape[1]
        goals = [Untargeted((goal.labels + 1) % classes), Targeted(goal.labels)]
    elif isinstance(goal, Impersonate):
        goals = [Evade(goal.anchors, goal.threshold)]
    elif isinstance(goal, Evade):
        goals = [Impersonate(goal.anchors, goal.threshold)]
    elif not isinstance(goal, FlipAttribute):
        raise TypeError(f"no goals are known that {problem.name} has reached")
    return [replace(problem, name=f"{problem.name}, reached already", goal=goal) for goal in goals]


def goal_threshold(goal: Impersonate | Evade, model: Model) -> float:
    """Return the distance below which an embedding is accepted."""
    threshold = model.threshold if goal.threshold is None else goal.threshold
    assert threshold is not None
    return threshold
