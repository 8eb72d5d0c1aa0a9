"""A plugin of which nothing is ever run: models of every head, attacks of every kind, and what they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec, AttackSpec, DatasetSpec, MeasureSpec, ModelSpec, Parameters

HERE = "tests.plan.fakes"


def load_files(*, root: str, size: tuple[int, int] = (8, 8), crop: int = 0) -> Any:
    raise AssertionError("planning opens no data set")


def load_drawn(*, size: tuple[int, int] = (8, 8), count: int = 10) -> Any:
    raise AssertionError("planning opens no data set")


def load_shelved(*, root: str = "nowhere") -> Any:
    raise AssertionError("planning opens no data set")


def build(task: Any, *, width: int = 4, attributes: tuple[str, ...] | None = None) -> Any:
    raise AssertionError("planning builds no model")


def train(module: Any, dataset: Any, context: Any, *, epochs: int = 1, rate: float = 0.1) -> None:
    raise AssertionError("planning trains no model")


def build_plain(task: Any) -> Any:
    raise AssertionError("planning builds no model")


def pgd(
    model: Any,
    x: Any,
    objective: Any,
    threat: Any,
    *,
    rng: Any,
    steps: int = 40,
    step_size: float | None = None,
    decay: float = 1,
    start: Literal["random", "none"] = "random",
    sizes: list[int] | None = None,
    early_stop: bool = True,
) -> Any:
    raise AssertionError("planning runs no attack")


def plain(model: Any, x: Any, objective: Any, threat: Any, *, rng: Any) -> Any:
    raise AssertionError("planning runs no attack")


def demanding(model: Any, x: Any, objective: Any, threat: Any, *, rng: Any, victims: int) -> Any:
    raise AssertionError("planning runs no attack")


def measure(x_adv: Any, x: Any, *, window: int = 11) -> Any:
    raise AssertionError("planning measures nothing")


def analysis(results: Any) -> Any:
    raise AssertionError("planning analyses nothing")


def not_on_joint_losses(model: ModelSpec, parameters: Parameters) -> str | None:
    return "one loss over all attributes flips none of them" if "joint-loss" in model.traits else None


def _attack(name: str, run: Callable[..., Any], **more: Any) -> AttackSpec:
    return AttackSpec(name=name, summary=name, run=f"{HERE}:{run.__name__}", **more)


@hookimpl
def harness_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(name="files", summary="files", load=f"{HERE}:load_files"),
        DatasetSpec(name="drawn", summary="drawn", load=f"{HERE}:load_drawn"),
        DatasetSpec(name="shelved", summary="shelved", load=f"{HERE}:load_shelved"),
    ]


@hookimpl
def harness_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="linear",
            summary="linear",
            build=f"{HERE}:build",
            train=f"{HERE}:train",
            head="attributes",
            presets={"quick": {"epochs": 2}, "paper": {"epochs": 90, "width": 64}},
        ),
        ModelSpec(
            name="joint",
            summary="joint",
            build=f"{HERE}:build_plain",
            head="attributes",
            traits=frozenset({"joint-loss"}),
        ),
        ModelSpec(
            name="boxed", summary="boxed", build=f"{HERE}:build_plain", head="attributes", access="decisions"
        ),
        ModelSpec(name="classifier", summary="classifier", build=f"{HERE}:build_plain", head="classes"),
        ModelSpec(name="embedder", summary="embedder", build=f"{HERE}:build_plain", head="embedding"),
        ModelSpec(
            name="sketcher",
            summary="sketcher",
            build=f"{HERE}:build",
            head="embedding",
            traits_of=lambda parameters: frozenset({"wide"} if parameters["width"] > 4 else ()),
        ),
    ]


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    return [
        _attack("pgd", pgd, presets={"weak": {"steps": 5}, "strong": {"steps": 500, "step_size": 0.01}}),
        _attack("flipper", plain, heads=frozenset({"attributes"}), norms=("linf",), budget="minimal"),
        _attack("joint-averse", plain, budget="either", refuses=not_on_joint_losses),
        _attack("noise", plain, access="decisions"),
        _attack("demanding", demanding),
        _attack("intruding", plain, goals=frozenset({"impersonate"})),
        _attack("wide-only", plain, refuses=only_wide),
    ]


def only_wide(model: ModelSpec, parameters: Parameters) -> str | None:
    return None if "wide" in model.traits else "it is too narrow"


@hookimpl
def harness_measures() -> list[MeasureSpec]:
    return [
        MeasureSpec(name="likeness", summary="likeness", run=f"{HERE}:measure"),
        MeasureSpec(name="perceived", summary="perceived", run=f"{HERE}:measure", column="pass"),
    ]


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    return [AnalysisSpec(name="histogram", summary="histogram", run=f"{HERE}:analysis")]
