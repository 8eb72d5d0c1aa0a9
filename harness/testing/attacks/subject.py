"""Attack: the subject of the attack contract, run on problems as a suite runs it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.catalog import Entry, Plugin, catalog
from harness.errors import AttackError, ContractError, HarnessError
from harness.judge.region import attack_parameters, run_parameters, with_region
from harness.judge.trial import Trial, attempt
from harness.parameters import check
from harness.specs import AttackSpec, Compute
from harness.testing.contract import ContractFailure, Inapplicable, spoken
from harness.testing.problems.ball import ball_classes, ball_scores, embedded_ball
from harness.testing.problems.difficult import Impatient
from harness.testing.problems.linear import linear_classes, linear_scores
from harness.testing.problems.problem import Problem, eps_of
from harness.threat import GREY_LEVELS, Threat

SHAPE = (3, 16, 16)
HELD_OUT = slice(1, None, 2)
"""Of the images that one change is learned for, those that it is judged on."""
MOST_CALLS = 200_000
"""Of the model per run, of an attack that does not say how many it needs."""


class Refusal(ContractFailure):
    """The attack says, by a HarnessError, that it cannot do what was asked."""


@dataclass(frozen=True)
class Given(Entry[AttackSpec]):
    """A spec that nobody registered, and its function where the spec's ``run`` names none."""

    function: Callable[..., Any] | None = None

    def load(self, target: str) -> Any:
        """The function, or what the spec names."""
        return self.function if self.function and target == self.spec.run else super().load(target)


@dataclass(frozen=True, eq=False)
class Ran:
    """What an attack returned on a problem, and the judgement on it; of the images that were judged."""

    problem: Problem
    trial: Trial
    returned: Tensor  # (B, C, H, W) as the attack returned it
    afterwards: tuple[Any, ...]  # state of the global random generators when the attack returned

    @property
    def change(self) -> Tensor:
        """(B, C, H, W)"""
        return self.returned - self.problem.x.to(self.returned)


@dataclass(frozen=True, eq=False)
class AttackSubject:
    """An attack with its parameters."""

    entry: Entry[AttackSpec]
    parameters: Mapping[str, Any]
    """Resolved: those of ``run`` and of ``region``."""
    shape: tuple[int, int, int] = SHAPE
    """Of the images that it is tried on."""

    @classmethod
    def of(
        cls,
        attack: str | AttackSpec | Entry[AttackSpec],
        params: Mapping[str, Any] | None = None,
        *,
        function: Callable[..., Any] | None = None,
        shape: tuple[int, int, int] = SHAPE,
    ) -> AttackSubject:
        """An attack of the catalogue by name, or one that a spec describes.

        Args:
            params: as in a manifest; the first preset and the defaults hold for the others.
            function: what is run, where the spec's ``run`` cannot be imported.

        Raises:
            HarnessError: it is unknown, or a parameter is wrong.
        """
        if isinstance(attack, Entry):
            entry = attack
        elif isinstance(attack, str):
            entry = catalog().attacks[attack]
        else:
            entry = Given(attack, Plugin("given", "given", "0"), function)
        preset = next(iter(entry.spec.presets.values()), {})
        values = {**preset, **(params or {})}
        resolved = check(f"attack {entry.spec.name}", values, attack_parameters(entry), AttackError)
        return cls(entry, resolved, shape)

    @property
    def spec(self) -> AttackSpec:
        """What it says of itself."""
        return self.entry.spec

    @property
    def name(self) -> str:
        """As the catalogue shows it."""
        return self.spec.name

    @property
    def variants(self) -> Sequence[str]:
        """The heads that it attacks."""
        return sorted(self.spec.heads)

    @property
    def universal(self) -> bool:
        """Whether it learns one change for many images."""
        return "universal" in self.spec.traits

    @property
    def passes(self) -> tuple[float, float] | None:
        """Forward and backward passes per case, at most, by its own account."""
        return self.spec.passes(self.parameters) if self.spec.passes else None

    def problems(self, head: str) -> list[Problem]:
        """What it is tried on: a linear and a quadratic problem of each head, or what comes next to it."""
        if head == "attributes":
            return [linear_scores(self.shape), ball_scores(self.shape)]
        if head == "classes":
            return [linear_classes(self.shape), ball_classes(self.shape)]
        return [embedded_ball(self.shape, towards=towards) for towards in (True, False)]

    def threats(self, levels: int | None = GREY_LEVELS) -> Iterator[Threat]:
        """One of each kind that it can be run under, with its region where it has one."""
        for norm in self.spec.norms or (None,):
            if norm is None or self.spec.budget != "fixed":
                yield self.armed(Threat(norm, levels=levels))
            if norm is not None and self.spec.budget != "minimal":
                yield self.armed(Threat(norm, eps_of(norm, self.shape), levels=levels))

    def armed(self, threat: Threat) -> Threat:
        """The threat with the access that the attack declares and with its region."""
        threat = replace(threat, access=self.spec.access)
        return with_region(self.entry, self.parameters, threat, self.shape[1:])

    def run(self, problem: Problem, threat: Threat, *, seed: int = 0, compute: Compute = "float32") -> Ran:
        """Run it as a suite does.

        Raises:
            ContractFailure: it raised something, or broke what every trial checks.
            Refusal: it raised a HarnessError.
        """
        function = self.entry.load(self.spec.run)
        module = Impatient(problem.model.module, self._most_calls(len(problem)))
        seen: list[tuple[Any, tuple[Any, ...]]] = []

        def spied(*arguments: Any, **keywords: Any) -> Any:
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
                parameters=run_parameters(self.entry, self.parameters),
                compute=compute,
                fit=torch.arange(len(problem)) % 2 == 0 if self.universal else None,
            )
        except ContractFailure as failure:
            raise ContractFailure(f"{where}: {failure}") from failure
        except ContractError as breach:
            raise ContractFailure(f"{where}: {breach}") from breach
        except HarnessError as refusal:
            raise Refusal(
                f"{where}: refused: {refusal}; narrow what the spec declares, or give parameters that fit"
            ) from refusal
        except Exception as error:
            raise ContractFailure(f"{where}: the attack raised {spoken(error)}") from error
        ((returned, afterwards),) = seen
        if self.universal:  # what it learned on is not judged
            problem, returned = problem.part(HELD_OUT), returned[HELD_OUT]
        return Ran(problem, trial, returned, afterwards)

    def _most_calls(self, cases: int) -> int:
        if self.passes is None:
            return MOST_CALLS
        # Generous, for what it says is held to it by a check of its own.
        return int(10 * self.passes[0] + 100) * max(cases, 1)


def not_universal(subject: AttackSubject) -> None:
    """Skip attacks whose images depend on each other, as they say."""
    if subject.universal:
        raise Inapplicable("it learns one change for all its images")


def _global_state() -> tuple[Any, ...]:
    numpy_state = np.random.get_state()  # noqa: NPY002  (what an attack may have seeded)
    return torch.get_rng_state().tolist(), repr(numpy_state), random.getstate()
