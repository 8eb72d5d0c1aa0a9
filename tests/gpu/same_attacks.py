"""Every built-in attack on a small network, on two devices: the same successes, at the same distances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

import harness
from harness.judge.outcome import Outcome
from harness.threat import L2, Linf, Minimal, Region, Threat
from tests.bridges import quick
from tests.gpu.networks import Small
from tests.gpu.report import Row

CLOSE = 0.01
"""The largest relative difference of two distances that count as the same."""
EPS = {"linf": 0.03, "l2": 0.6}
"""The budgets of the bridges' attacks: about every second image of the small network is fooled."""


@dataclass(frozen=True)
class Case:
    """A Case is an attack with its parameters, on one of the small networks."""

    attack: str
    network: str = "classes"
    threat: Threat | None = None
    given: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    most: int = 1000
    """The largest number of images."""

    @property
    def label(self) -> str:
        """Return the attack, and what is particular."""
        return f"{self.attack} {self.note}".strip()


def _window() -> Threat:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4:10, 4:12] = True
    return Region(mask)


def own_cases(steps: int) -> tuple[Case, ...]:
    """Return the attacks of this project, in all that they do differently, with about so many steps."""
    rows, iterative = "attributes", {"search": "iterative", "max_iterations": steps}
    few: dict[str, Any] = {"iterations": steps}
    pgd: dict[str, Any] = {"steps": max(steps // 2, 1)}
    walk = {"iterations": 2 * steps}
    mirrored = {"mirror": True, "loss": "squared-distance"}
    return (
        Case("ffa", rows),
        Case("ffa", rows, given={"root": "interpolate"}, note="interpolated"),
        Case("ffa", rows, given=iterative, note="iterative"),
        Case("ffa", rows, given={**iterative, "target": "held"}, note="held"),
        Case("ffa", "two logits", note="two logits"),
        Case("fgs"),
        Case("fgs", rows, given=iterative, note="iterative"),
        Case("pgd", threat=Linf(6 / 255), given=pgd, note="linf"),
        Case("pgd", rows, L2(0.4), {**pgd, "restarts": 2, "schedule": "cosine"}, "l2"),
        Case(
            "pgd",
            threat=L2(0.5),
            given={**pgd, "loss": "training", "early_stop": False},
            note="training loss",
        ),
        Case("pgd", "embedding", Linf(6 / 255), pgd, "embedding"),
        Case("cw-l2", given={"iterations": 2 * steps}),
        Case("cw-l2", rows, given={**few, "confidence": 0.2}, note="confidence"),
        Case("cw-l2", "embedding", given={**few, "polish": 0}, note="embedding"),
        Case("gradient-descent", threat=Minimal("l2"), given={"polish": 4}, note="l2 polished"),
        Case("gradient-descent", rows, Minimal("linf"), note="linf"),
        Case("component-gradient", "mixtures", Minimal("l2"), {"candidates": 2, **walk}, "mixtures"),
        Case("component-gradient", threat=Minimal("l2"), note="classes"),
        Case("eyeglasses", given=few),
        Case("eyeglasses", "embedding", given={**few, **mirrored}, note="mirror"),
        Case("square", given=few),
        Case("universal-patch", threat=_window(), given={**few, "mini_batch": 8}),
        Case("apgd", threat=Linf(6 / 255), given={**pgd, "loss": "targeted-dlr"}, note="linf"),
        Case("apgd", rows, L2(0.4), {**pgd, "loss": "margin"}, "l2"),
        Case("fab", threat=Minimal("linf"), given={**pgd, "targets": 2}, note="linf"),
        Case("fab", "embedding", Minimal("l2"), pgd, "l2"),
        Case("ddn", given=pgd),
        Case("ddn", rows, given={**pgd, "polish": 0}, note="no polish"),
        Case("fmn", "embedding", Minimal("linf"), pgd, "linf"),
        Case("square-attack", threat=Linf(6 / 255), given={"queries": steps}, note="linf"),
        Case("square-attack", rows, L2(0.4), {"queries": steps}, "l2"),
        Case("standard", threat=Linf(4 / 255), given={**pgd, "targets": 1, "queries": steps}),
        Case("eyeglasses-eot", given={"iterations": max(steps // 4, 1), "views": 2}),
        Case("noise", threat=Linf(0.1), note="linf"),
        Case("noise", threat=L2(3.0), note="l2"),
    )


def bridged_case(name: str) -> Case:
    """Return an attack of the bridges, with few steps.

    Raises:
        CatalogError: its library is not there.
    """
    norm = next(iter(quick.spec(name).norms), None)
    return Case(name, "classes", quick.threat(name, eps=EPS.get(norm or "")), quick.few(name), most=4)


@dataclass(frozen=True)
class Difference:
    """A Difference says in which cases two outcomes of one attack are not the same."""

    success: tuple[int, ...]
    """The cases in which only one of them succeeds."""
    distance: tuple[int, ...]
    """The cases in which both do, at distances that differ by more than one percent."""
    largest: float
    """The largest relative difference of two distances."""
    identical: int
    """The adversarials that are the same in every bit."""

    @property
    def cases(self) -> tuple[int, ...]:
        """Return all cases that are not the same."""
        return tuple(sorted((*self.success, *self.distance)))


def attacked(case: Case, small: Small, device: torch.device, *, double: bool = False) -> Outcome:
    """Run the attack on a device."""
    x, goal = small.x[: case.most], small.goal.part(slice(0, case.most))
    model = small.model(device, double=double)
    return harness.attack(case.attack, model, x.to(device), goal=goal, threat=case.threat, **case.given)


def difference(one: Outcome, other: Outcome, norm: str) -> Difference:
    """Compare two outcomes of the same cases."""
    here, there = one.success.tolist(), other.success.tolist()
    pairs = list(zip(one.distances[norm], other.distances[norm], strict=True))
    apart = [abs(a - b) / max(a, b, 1e-12) for a, b in pairs]
    both = [case for case in range(len(here)) if here[case] and there[case]]
    alike = (one.adversarials.cpu() == other.adversarials.cpu()).flatten(1).all(1)
    return Difference(
        tuple(case for case in range(len(here)) if here[case] != there[case]),
        tuple(case for case in both if apart[case] > CLOSE),
        max((apart[case] for case in both), default=0.0),
        int(alike.sum()),
    )


def compared(case: Case, small: Small, devices: tuple[torch.device, torch.device]) -> Row:
    """Run an attack on both devices, and in float64 too where the outcomes are not the same in float32."""
    one, other = (attacked(case, small, device) for device in devices)
    norm = (case.threat.norm if case.threat else None) or _norm_of(case)
    found = difference(one, other, norm)
    faults = [[text for text in (*outcome.faults, *outcome.errors) if text] for outcome in (one, other)]
    figures = {
        "success": f"{int(one.success.sum())}/{int(other.success.sum())} of {len(one.success)}",
        norm: f"{_mean(one, norm):.4f}/{_mean(other, norm):.4f}",
        "largest": round(found.largest, 5),
        "identical": found.identical,
        "attack_seconds": f"{one.seconds:.2f}/{other.seconds:.2f}",
    }
    part = "bridges" if "/" in case.attack else "attacks"
    note = f"{faults[0][0]} ({len(faults[0])} cases)" if faults[0] else ""
    # What another project's attack does wrong, it is to do wrong on every device.
    if faults[0] != faults[1] or (faults[0] and part == "attacks"):
        text = (
            f"not valid: {len(faults[0])} and {len(faults[1])} cases, such as {(*faults[0], *faults[1])[0]}"
        )
        return Row(part, case.label, "failed", text, figures)
    if not found.cases:
        return Row(part, case.label, "same", note, figures)
    again = difference(*(attacked(case, small, device, double=True) for device in devices), norm)
    figures["in_float64"] = {"success": again.success, "distance": again.distance}
    differs = f"cases {_listed(found.cases)} differ in float32"
    if not again.cases:
        return Row(part, case.label, "same", f"{differs}, none in float64", figures)
    return Row(part, case.label, "differs", f"{differs}, {_listed(again.cases)} in float64 too", figures)


def _norm_of(case: Case) -> str:
    return next(iter(harness.catalog().attacks[case.attack].spec.norms), "l2")


def _mean(outcome: Outcome, norm: str) -> float:
    """Return the mean distance of the successes."""
    distances = outcome.distances[norm][outcome.success.cpu().numpy()]
    return float(distances.mean()) if len(distances) else 0.0


def _listed(cases: tuple[int, ...]) -> str:
    return ", ".join(map(str, cases[:6])) + (", …" if len(cases) > 6 else "")
