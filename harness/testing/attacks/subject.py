"""An AttackSubject is an attack that the contract checks; it runs on problems as it runs in a suite."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.catalog import Entry, catalog
from harness.errors import AttackError, ContractError, HarnessError
from harness.judge.region import with_region
from harness.judge.trial import Trial, attempt
from harness.parameters import check
from harness.randomness import seed_torch
from harness.specs import AttackSpec, Compute
from harness.testing.contract import ContractFailure, Inapplicable, entry_of, one_line
from harness.testing.problems.difficult import CallLimit, constant
from harness.testing.problems.linear import linear_classes, linear_scores
from harness.testing.problems.problem import Problem, eps_of
from harness.testing.problems.quadratic import quadratic_classes, quadratic_embedding, quadratic_scores
from harness.testing.problems.rugged import rugged
from harness.threat import GREY_LEVELS, Threat

SHAPE = (3, 16, 16)
HELD_OUT = slice(1, None, 2)
"""The images on which a universal attack is judged; it learns on the others."""
REMEDIES = {
    "the attack returned": "return floating-point images (B, C, H, W) of the shape of x",
    "its input": "work on x.clone()",
    "train mode": "call neither train() nor eval()",
    "weights or buffers": "change no tensor of the module in place",
    "hooks": "remove each hook that you register, and replace no function of the module",
    "asked for gradients": 'declare access = "gradients" in the spec, or use scores only',
    "no decisions": "ask model.reaches(x)",
}
"""What to do about rules that every trial checks, by a part of the line that tells the fault."""
OTHER_STATE = 20_011
"""A seed of the global generators that no trial uses."""
MOST_CALLS = 50_000
"""The largest number of calls of the model in a run, for attacks whose spec forecasts none."""


class Refusal(ContractFailure):
    """The attack raised a HarnessError because it cannot do what was asked."""


@dataclass(frozen=True, eq=False)
class ProblemRun:
    """A ProblemRun holds what an attack returned on a problem, for the images that were judged."""

    problem: Problem
    trial: Trial
    returned: Tensor  # (B, C, H, W) as the attack returned it
    afterwards: tuple[Any, ...]  # the state of the global random generators when the attack returned

    @property
    def change(self) -> Tensor:
        """Return the change (B, C, H, W) of the images."""
        return self.returned - self.problem.x.to(self.returned)


@dataclass(frozen=True, eq=False)
class AttackSubject:
    """An AttackSubject is an attack with its parameters."""

    entry: Entry[AttackSpec]
    parameters: Mapping[str, Any]
    """The resolved parameters of ``run`` and of ``region``."""
    shape: tuple[int, int, int] = SHAPE
    """The channels, height and width of the problems' images."""
    _problems: dict[str, tuple[Problem, ...]] = field(default_factory=dict, init=False, repr=False)
    _runs: dict[Any, ProblemRun] = field(default_factory=dict, init=False, repr=False)
    """What ``once`` has run."""

    @classmethod
    def of(
        cls,
        attack: str | AttackSpec | Entry[AttackSpec],
        params: Mapping[str, Any] | None = None,
        *,
        function: Callable[..., Any] | None = None,
        shape: tuple[int, int, int] = SHAPE,
    ) -> AttackSubject:
        """Return an attack of the catalogue by name, or one that a spec describes.

        Args:
            params: parameters as in a manifest; the others have the values of the first preset, or defaults.
            function: the function that is run, if the spec's ``run`` cannot be imported.

        Raises:
            HarnessError: the attack is unknown, or a parameter is wrong.
        """
        entry = entry_of(attack, catalog().attacks, "run", function)
        preset = next(iter(entry.spec.presets.values()), {})
        values = {**preset, **(params or {})}
        resolved = check(f"attack {entry.spec.name}", values, entry.parameters(), AttackError)
        return cls(entry, resolved, shape)

    @property
    def spec(self) -> AttackSpec:
        """Return the spec of the attack."""
        return self.entry.spec

    @property
    def name(self) -> str:
        """Return the name in the catalogue."""
        return self.spec.name

    @property
    def variants(self) -> Sequence[str]:
        """Return the heads that it attacks."""
        return sorted(self.spec.heads)

    @property
    def universal(self) -> bool:
        """Tell whether it learns one change for many images."""
        return "universal" in self.spec.traits

    @property
    def passes(self) -> tuple[float, float] | None:
        """Return the largest numbers of forward and backward passes per case that its spec forecasts."""
        return self.spec.forecast(self.parameters)

    def problems(self, head: str) -> tuple[Problem, ...]:
        """Return a linear and a quadratic problem of a head; for embeddings, impersonation and evasion.

        They are the same objects at each call, and no other subject has them.
        """
        if head not in self._problems:
            self._problems[head] = deepcopy(_made(self.shape, head))
        return self._problems[head]

    def unreachable(self, head: str) -> Problem:
        """Return the first problem with a model whose outputs are constant, the same object at each call."""
        key = f"{head}, constant"
        if key not in self._problems:
            self._problems[key] = (constant(self.problems(head)[0]),)
        return self._problems[key][0]

    def rugged(self, head: str) -> Problem:
        """Return a problem on which start and scale of each step decide where an attack ends."""
        return rugged(self.shape, head)

    def threats(self, levels: int | None = GREY_LEVELS) -> Iterator[Threat]:
        """Yield one threat of each kind that it can be run under, with its region if it has one."""
        for norm in self.spec.norms or (None,):
            if norm is None or self.spec.budget != "fixed":
                yield self.restricted(Threat(norm, levels=levels))
            if norm is not None and self.spec.budget != "minimal":
                yield self.restricted(Threat(norm, eps_of(norm, self.shape), levels=levels))

    def restricted(self, threat: Threat) -> Threat:
        """Return the threat with the access that the attack declares and with its region."""
        threat = replace(threat, access=self.spec.access)
        return with_region(self.entry, self.parameters, threat, self.shape[1:])

    def once(self, problem: Problem, threat: Threat) -> ProblemRun:
        """Run the attack, or return its earlier run on this problem, if several checks ask for the same."""
        mask = None if threat.mask is None else (threat.mask.shape, threat.mask.numpy().tobytes())
        key = problem, replace(threat, mask=None), mask  # a problem is equal to itself only
        if key not in self._runs:
            self._runs[key] = self.run(problem, threat)
        return self._runs[key]

    def run(
        self,
        problem: Problem,
        threat: Threat,
        *,
        seed: int = 0,
        compute: Compute = "float32",
        unsettled: bool = False,
    ) -> ProblemRun:
        """Run the attack as a suite does.

        Args:
            unsettled: the global random generators are in another state than a suite leaves them in.

        Raises:
            ContractFailure: it raised an exception, or broke a rule that every trial checks.
            Refusal: it raised a HarnessError.
        """
        function = self.entry.load(self.spec.run)
        module = CallLimit(problem.model.module, self._most_calls(len(problem)))
        seen: list[tuple[Any, tuple[Any, ...]]] = []

        def spied(*arguments: Any, **keywords: Any) -> Any:
            if unsettled:
                _unsettle()
            returned = function(*arguments, **keywords)
            kept = returned.detach().clone() if isinstance(returned, Tensor) else returned
            seen.append((kept, _global_state()))
            return returned

        where = f"on {problem.name}, {threat.label}"
        try:
            trial = attempt(
                replace(problem.model, module=module),
                spied,
                problem.x,
                problem.goal,
                threat,
                seed=seed,
                keys=problem.keys,
                parameters=self.entry.arguments(self.spec.run, self.parameters),
                following=self.spec.following(self.parameters),
                compute=compute,
                fit=torch.arange(len(problem)) % 2 == 0 if self.universal else None,
            )
        except Exception as error:
            raise _failure(where, error) from error
        ((returned, afterwards),) = seen
        if self.universal:  # the images that it learned on are not judged
            problem, returned = problem.part(HELD_OUT), returned[HELD_OUT]
        return ProblemRun(problem, trial, returned, afterwards)

    def _most_calls(self, cases: int) -> int:
        if self.passes is None:
            return MOST_CALLS
        # This limit is generous, because the check ``passes`` compares the forecast exactly.
        return int(10 * self.passes[0] + 100) * max(cases, 1)


@cache
def _made(shape: tuple[int, int, int], head: str) -> tuple[Problem, ...]:
    if head == "attributes":
        return linear_scores(shape), quadratic_scores(shape)
    if head == "classes":
        return linear_classes(shape), quadratic_classes(shape)
    return tuple(quadratic_embedding(shape, towards=towards) for towards in (True, False))


def _failure(where: str, error: Exception) -> HarnessError:
    """Return what an error of a run means: a broken rule, a refusal, or a fault of the attack."""
    if isinstance(error, ContractFailure):
        return ContractFailure(f"{where}: {error}")
    if isinstance(error, ContractError):
        return ContractFailure(f"{where}: {_with_remedy(str(error))}")
    if isinstance(error, HarnessError):
        return Refusal(f"{where}: refused: {error}; let the spec declare less, or give parameters that fit")
    return ContractFailure(
        f"{where}: the attack raised {one_line(error)}; let the spec declare only the heads, norms and "
        "access that it is for"
    )


def _with_remedy(breach: str) -> str:
    """Return a rule that was broken with what to do, if it does not say so itself."""
    if ";" in breach:
        return breach
    for fault, remedy in REMEDIES.items():
        if fault in breach:
            return f"{breach}; {remedy}"
    return f"{breach}; change nothing but the images that you return"


def require_not_universal(subject: AttackSubject) -> None:
    """Skip universal attacks, whose images depend on each other."""
    if subject.universal:
        raise Inapplicable("it learns one change for all images")


def _unsettle() -> None:
    seed_torch(OTHER_STATE)
    np.random.seed(OTHER_STATE)  # noqa: NPY002  (an attack may draw from it)
    random.seed(OTHER_STATE)


def _global_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002  (an attack may have seeded it)
    words, more = state[1], state[2:]
    return torch.get_rng_state().numpy().tobytes(), (words.tobytes(), *more), random.getstate()
