"""Difficult modules: they answer nothing useful, notice how they are treated, or lose patience."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Targeted, Untargeted
from harness.model import Model
from harness.testing.contract import ContractFailure
from harness.testing.problems.problem import Problem, generator

BRIGHT = 0.9
"""Of images to which ``NanOnBright`` has no answer; others are about 0.5, and no small change leads there."""


class Constant(nn.Module):
    """The same outputs (M,) for every image; the pixels stand in the graph, and weigh nothing."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs + 0 * x.flatten(1).sum(1, keepdim=True)


class NanOnBright(nn.Module):
    """Another module's outputs; not a number where an image's mean is above 0.75, or for all images."""

    def __init__(self, module: nn.Module, everywhere: bool) -> None:
        super().__init__()
        self.module = module
        self.everywhere = everywhere

    def forward(self, x: Tensor) -> Tensor:
        lost = (x.flatten(1).mean(1, keepdim=True) > 0.75) | self.everywhere
        outputs: Tensor = self.module(x)
        return torch.where(lost, torch.nan, outputs)


class Sensitive(nn.Module):
    """Another module behind batch normalisation and dropout, which answer otherwise in train mode."""

    def __init__(self, module: nn.Module, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.5)
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.module(self.dropout(self.norm(x)))
        return outputs


class Impatient(nn.Module):
    """Another module that is asked so many times, and no more."""

    def __init__(self, module: nn.Module, most: int) -> None:
        super().__init__()
        self.module = module
        self.most = most
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        if self.asked > self.most:
            raise ContractFailure(
                f"the attack asked the model {self.most} times and did not stop; bound its loops, also where "
                "the goal cannot be reached"
            )
        outputs: Tensor = self.module(x)
        return outputs


def with_module(problem: Problem, module: nn.Module, name: str) -> Problem:
    """The problem with another module; its distances then mean nothing, unless that answers alike."""
    return replace(problem, name=name, model=replace(problem.model, module=module))


def constant(problem: Problem) -> Problem:
    """The problem with a model that answers as to the first image: no goal can be reached."""
    answer = problem.model.scores(problem.x[:1])[0]
    goal: Goal = problem.goal
    if isinstance(goal, Untargeted):
        goal = Untargeted(answer.argmax().expand(len(problem)))
    elif isinstance(goal, Impersonate | Evade):
        goal = replace(goal, anchors=goal.anchors[:1])  # neither nearer nor farther, ever
    problem = with_module(problem, Constant(answer), f"a constant model instead of {problem.name}")
    return replace(problem, goal=goal)


def with_nan(problem: Problem, everywhere: bool) -> tuple[Problem, Tensor]:
    """The problem with a model that cannot answer for some images or all, and which those are (B,).

    Where it can answer for some, every second image is made bright.
    """
    lost = torch.ones(len(problem), dtype=torch.bool)
    x = problem.x
    if not everywhere:
        lost = torch.arange(len(problem)) % 2 == 1
        bright = BRIGHT + 0.1 * torch.rand(x.shape, generator=generator(5))
        x = torch.where(lost.view(-1, 1, 1, 1), torch.round(bright * 255) / 255, x)
    name = f"{problem.name} with answers that are not finite"
    difficult = with_module(problem, NanOnBright(problem.model.module, everywhere), name)
    return replace(difficult, x=x), lost


def at_the_edges(problem: Problem) -> Problem:
    """The problem on images of which most components are 0 or 1 already."""
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
    """The problem with goals that its images have reached; none where that cannot be."""
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
    """Below which distance an embedding is accepted."""
    threshold = model.threshold if goal.threshold is None else goal.threshold
    assert threshold is not None
    return threshold
