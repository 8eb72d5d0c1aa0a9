"""Each attack of the Toolbox becomes a function that the harness can call, under its own name."""

from __future__ import annotations

import random
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.errors import AttackError
from harness.goals import ClassObjective, Objective
from harness.handle import AttackFunction, Handle
from harness.randomness import CaseRandom, seed_torch
from harness.threat import Threat
from harness_art.bridged import Bridged
from harness_art.estimator import estimator_of
from harness_art.problem import (
    Problem,
    SpentError,
    answers_in_classes,
    enrolled_start,
    negative_start,
    shares,
)
from harness_art.signature import signature_of
from harness_art.special_cases import (
    DRAWN_STARTS,
    STARTED,
    arguments_of,
    drawn_start,
    prepared,
    started,
    universal_change,
)
from harness_art.table import ATTACKS
from harness_art.toolbox_output import explained, quiet

ROWS = {row.name: row for row in ATTACKS}
SMALLEST_SQUARES = 10
"""The smallest side in pixels for SquareAttack in L2: five tiles per side, each of which is halved."""


def __getattr__(name: str) -> AttackFunction:
    if name not in ROWS:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return function_of(name)


@cache
def function_of(name: str) -> AttackFunction:
    """Return an attack of the Toolbox as a function of the harness, with the parameters of its class."""
    row = ROWS[name]
    attack = class_of(name)
    signature = signature_of(row, attack)

    def run(
        model: Handle, x: Tensor, objective: Objective, threat: Threat, *, rng: CaseRandom, **values: Any
    ) -> Tensor:
        with quiet():
            return Bridge(row, attack, model, x, objective, threat, rng, values).images()

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{row.summary[0].upper()}{row.summary[1:]} ({row.source})."
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    return run


def class_of(name: str) -> Any:
    """Return the class of the Toolbox."""
    from art.attacks import evasion

    prepared(name)
    return getattr(evasion, name)


class Bridge:
    """A Bridge is one call of an attack: it groups the cases, sets the arguments and returns the images."""

    def __init__(
        self,
        row: Bridged,
        attack: Any,
        model: Handle,
        x: Tensor,
        objective: Objective,
        threat: Threat,
        rng: CaseRandom,
        values: dict[str, Any],
    ) -> None:
        self.row, self.attack, self.model, self.x = row, attack, model, x
        self.objective, self.threat, self.rng = objective, threat, rng
        self.fit: Tensor | None = values.pop("fit", None)
        self.values = values
        self.in_classes = answers_in_classes(
            objective,
            leaves=row.labels != "reached",
            reaches=row.targets or row.labels in ("targets", "reached"),
        )
        self.norm = threat.norm or next(iter(row.norms), None)
        self._check()

    def images(self) -> Tensor:
        """Attack all cases (B, C, H, W) except those whose original already reaches the goal."""
        x_adv = self.x.clone()
        cases = torch.arange(len(self.x), device=self.x.device)
        if not len(cases):
            return x_adv
        if self.row.universal:
            with torch.no_grad():
                classes = self._shown(cases[:1], self.x[:1]).shape[1] if self.in_classes else 2
            for share in shares(self.objective, cases, alone=False, together=False):
                x_adv[share] = self._universal(share, classes)
            return x_adv
        with torch.no_grad():
            if self.in_classes:
                outputs = self._shown(cases, self.x)
                there, classes = self.objective.reached(outputs), outputs.shape[1]
            else:
                there, classes = self.model.focus(self.objective).reaches(self.x), 2
        left = torch.nonzero(~there.to(cases.device)).flatten()
        for share in shares(self.objective, left, alone=self.row.alone, together=self.in_classes):
            x_adv[share] = self._changed(share, classes)
        return x_adv

    def _shown(self, cases: Tensor, x: Tensor) -> Tensor:
        return self.model.take(cases)(x)

    def _changed(self, share: Tensor, classes: int) -> Tensor:
        """Return the images (S, C, H, W) of the cases of one call."""
        estimator, labels = self._posed(share, classes)
        x = self.x[share].cpu().numpy()
        told: dict[str, Any] = {} if labels is None else {"y": labels}
        mask = self._mask(share)
        if mask is not None:
            told["mask"] = mask
        try:
            with explained(self.row.name):
                start = self._start(share, estimator, labels, mask)
                if start is None and self.row.name in DRAWN_STARTS:
                    return self.x[share]
                attack = self._made(estimator, len(share))
                with started(self.row.name, x, start) as more:
                    found = attack.generate(x.copy(), **told, **more)
        except SpentError:
            return self.x[share]
        images = torch.from_numpy(np.asarray(found, np.float32)).to(self.x.device).reshape(x.shape)
        if mask is None:
            return images
        # pixels outside went through sums that change their last bit
        return torch.where(torch.from_numpy(mask).to(images) > 0, images, self.x[share])

    def _start(self, share: Tensor, estimator: Any, labels: Any, mask: Any) -> Any:
        """Return an image (1, C, H, W) that reaches the goal of one case, for attacks that start there."""
        if self.row.name not in STARTED:
            return None
        x = self.x[share]
        case = self.model.take(share), self.objective.take(share), x, self.threat.take(share)
        start = enrolled_start(*case)
        if start is None and self.row.name in DRAWN_STARTS:
            drawn = drawn_start(
                estimator, x.cpu().numpy(), labels, self._targeted, self.values, self.rng.take(share), mask
            )
            if drawn is not None:
                return drawn
            start = negative_start(*case)
        return None if start is None else start.cpu().numpy()

    def _universal(self, share: Tensor, classes: int) -> Tensor:
        """Return the images (S, C, H, W) of cases with one goal, with the change that was learnt on some."""
        learnt = share if self.fit is None else share[self.fit.to(share.device)[share]]
        if not len(learnt):
            return self.x[share]
        estimator, labels = self._posed(learnt, classes)
        with explained(self.row.name):
            attack = self._made(estimator, 1)
            attack.generate(self.x[learnt].cpu().numpy(), y=labels)
        return (self.x[share] + universal_change(attack).to(self.x)).clamp(0, 1)

    def _posed(self, share: Tensor, classes: int) -> tuple[Any, Any]:
        """Return the estimator of some cases, and their labels, one-hot (S, K), or None."""
        row = self.row
        spare = max(0, row.classes - classes)
        problem = Problem(
            self.model.take(share),
            self.objective.take(share),
            self.x[share],
            access=row.access,
            in_classes=self.in_classes,
            probabilities=row.answers == "probabilities",
            spare=spare,
            patience=self.values["max_iter"] if row.name == "GeoDA" else None,
        )
        classes += spare
        seed = int(self.rng.take(share[:1].cpu()).integers(2**31 - 1))
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (the generator that the Toolbox uses)
        seed_torch(seed)
        estimator = estimator_of(problem, tuple(self.x.shape[1:]), classes, self.x.device)
        return estimator, self._labels(share, classes)

    def _labels(self, share: Tensor, classes: int) -> Any:
        told = self.row.labels
        if self.in_classes:
            assert isinstance(self.objective, ClassObjective)
            if told == "never" or (told == "targets" and not self.objective.towards):
                return None
            labels = self.objective.classes[share]
        elif told == "never":
            return None
        else:
            labels = torch.full_like(share, int(told in ("targets", "reached")))
        return F.one_hot(labels, classes).float().cpu().numpy()

    @property
    def _targeted(self) -> bool:
        return self.in_classes and isinstance(self.objective, ClassObjective) and self.objective.towards

    def _made(self, estimator: Any, cases: int) -> Any:
        """Make the attack, or raise one line about the parameter that the Toolbox refuses."""
        arguments = partial(
            arguments_of, self.row, self.attack, estimator, self._targeted, self.norm, self.threat.eps
        )
        try:
            return self.attack(estimator, **arguments(self.values, cases))
        except (ValueError, TypeError, AssertionError) as error:
            defaults = {
                name: parameter.default
                for name, parameter in signature_of(self.row, self.attack).parameters.items()
            }
            for name, value in self.values.items():
                try:
                    self.attack(estimator, **arguments({**self.values, name: defaults[name]}, cases))
                except (ValueError, TypeError, AssertionError):
                    continue
                raise AttackError(f"art/{self.row.name} refuses {name} = {value}: {error}") from None
            raise AttackError(f"art/{self.row.name} refuses its parameters: {error}") from None

    def _mask(self, share: Tensor) -> Any:
        """Return float32 (S, C, H, W), 1 where pixels may change, or None."""
        if self.threat.mask is None:
            return None
        mask = self.threat.take(share).mask
        assert mask is not None
        return mask.to(self.x).expand(self.x[share].shape).cpu().numpy()

    def _check(self) -> None:
        row, threat = self.row, self.threat
        if threat.mask is not None and threat.places:
            raise AttackError(f"art/{row.name}: choose one of the {threat.places} places of the mask first")
        if threat.mask is not None and not row.masks:
            able = ", ".join(each.name for each in ATTACKS if each.masks)
            raise AttackError(f"art/{row.name} cannot restrict its changes to a region; these can: {able}")
        small = min(self.x.shape[2:]) < SMALLEST_SQUARES
        if row.name == "SquareAttack" and self.norm == "l2" and small:
            raise AttackError(
                f"art/{row.name} in L2 needs images of at least {SMALLEST_SQUARES} pixels a side"
            )
        if row.norms and row.budget == "fixed" and (threat.norm is None or threat.eps is None):
            raise AttackError(f"art/{row.name} needs a budget, such as harness.threats.Linf(8/255)")
