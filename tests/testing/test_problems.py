"""The known distances of the kit's problems, against a general solver that knows none of the closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from harness.goals import Untargeted
from harness.testing.attacks.strength import largest_margin
from harness.testing.attacks.subject import AttackSubject
from harness.testing.problems.linear import FAR, linear_classes, linear_scores
from harness.testing.problems.problem import Problem
from harness.testing.problems.quadratic import quadratic_classes, quadratic_embedding, quadratic_scores
from harness.threat import Threat

SMALL = (1, 5, 5)
MAKERS: dict[str, Callable[[tuple[int, int, int]], Problem]] = {
    "linear scores": linear_scores,
    "linear scores, one way": lambda shape: linear_scores(shape, attributes=1, one_way=True),
    "linear scores, far": lambda shape: linear_scores(shape, FAR, attributes=1),
    "linear classes": linear_classes,
    "balls": quadratic_scores,
    "ball classes": quadratic_classes,
    "impersonation": lambda shape: quadratic_embedding(shape, towards=True),
    "evasion": lambda shape: quadratic_embedding(shape, towards=False),
}


Margin = Callable[[Tensor], Tensor]


def margins_of(problem: Problem, case: int) -> list[Margin]:
    """The margins of one case in float64, of images (C·H·W,): a class may be left for each other one."""
    module = problem.model.module.double()
    part = problem.part(slice(case, case + 1))
    objective = part.goal.objective(problem.model, problem.model.scores(part.x.double()))

    def outputs(x: Tensor) -> Tensor:
        return module(x.view(part.x.shape))

    if not isinstance(part.goal, Untargeted):
        return [lambda x: objective.margin(outputs(x))[0]]
    own = int(part.goal.labels)
    others = set(range(problem.model.scores(part.x.double()).shape[1])) - {own}
    return [lambda x, other=other: outputs(x)[0, other] - outputs(x)[0, own] for other in others]


def solved(problem: Problem, case: int, norm: str) -> float:
    """The smallest distance that a general solver finds."""
    return min(nearest(problem, case, norm, margin) for margin in margins_of(problem, case))


def nearest(problem: Problem, case: int, norm: str, margin: Margin) -> float:
    """The smallest distance at which a margin is 0 that SLSQP finds from several starts."""
    start = problem.x[case].double().flatten().numpy()

    def reach(z: np.ndarray) -> float:
        return float(margin(torch.from_numpy(start + z[: len(start)])).detach())

    def slope(z: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(start + z[: len(start)]).requires_grad_()
        (found,) = torch.autograd.grad(margin(x), x)
        return np.pad(found.numpy(), (0, len(z) - len(start)))

    reached = {"type": "ineq", "fun": reach, "jac": slope}
    found = []
    for seed in range(4):
        first = 0.05 * np.random.default_rng(seed).standard_normal(len(start))
        box = [(-value, 1 - value) for value in start]
        if norm == "l2":
            options = {"x0": first, "constraints": [reached], "bounds": box, "jac": lambda z: 2 * z}
            answer = minimize(lambda z: float(z @ z), method="SLSQP", **options)
            size = float(np.linalg.norm(answer.x))
        else:  # the last variable bounds all others
            ones = np.ones((len(start), 1))
            rows = np.block([[-np.eye(len(start)), ones], [np.eye(len(start)), ones]])
            bound = {"type": "ineq", "fun": lambda z, rows=rows: rows @ z, "jac": lambda z, rows=rows: rows}
            options = {"x0": np.append(first, 0.2), "constraints": [reached, bound], "bounds": [*box, (0, 1)]}
            answer = minimize(lambda z: float(z[-1]), method="SLSQP", **options)
            size = float(np.abs(answer.x[:-1]).max())
        if reach(answer.x) > -1e-6:
            found.append(size)
    return min(found, default=np.inf)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_general_solver_finds_the_same_distance(make: Callable[..., Problem], norm: str) -> None:
    problem = make(SMALL)
    known = problem.distance(norm)
    for case in (0, 1, 2, 5):
        assert solved(problem, case, norm) == pytest.approx(float(known[case]), rel=1e-3)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 28), (3, 32, 24)])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_problems_can_be_made_for_any_images(
    make: Callable[..., Problem], shape: tuple[int, int, int]
) -> None:
    problem = make(shape)
    assert problem.x.shape == (8, *shape)
    assert torch.equal(torch.round(problem.x * 255) / 255, problem.x)
    clean = problem.model.scores(problem.x)
    assert not problem.goal.objective(problem.model, clean).reached(clean).any()
    usual = problem.linf[[0, -1]] * 255
    assert 50 < usual[0] < usual[1] if problem.linf[0] > 0.1 else 1.5 < usual[0] < 8 < usual[1]


@pytest.mark.parametrize("make", [linear_scores, linear_classes])
def test_the_largest_margin_of_a_region_is_that_of_its_best_corner(make: Callable[..., Problem]) -> None:
    problem = make((1, 2, 3))
    mask = torch.tensor([[True, True, False], [False, True, True]])
    corners = torch.cartesian_prod(*4 * [torch.tensor([0.0, 1.0])])  # (16, 4)
    images = problem.x[:, None].repeat(1, 16, 1, 1, 1)
    images[..., mask] = corners[:, None]
    clean = problem.model.scores(problem.x)
    objective = problem.goal.objective(problem.model, clean)
    margins = [objective.margin(problem.model.scores(images[:, corner])) for corner in range(16)]
    best = torch.stack(margins).amax(0)
    torch.testing.assert_close(largest_margin(problem, Threat(mask=mask)), best)
    # of several places the best, one by one
    places = torch.stack([mask, ~mask])
    either = largest_margin(problem, Threat(mask=~mask)).maximum(best)
    torch.testing.assert_close(largest_margin(problem, Threat(mask=places)), either)


def test_a_linear_and_a_quadratic_problem_for_every_head() -> None:
    subject = AttackSubject.of("pgd")
    for head in ("attributes", "classes", "embedding"):
        problems = subject.problems(head)
        assert {problem.model.head for problem in problems} == {head}
        assert len({problem.name for problem in problems}) == 2
