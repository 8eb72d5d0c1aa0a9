"""Every attack of the bridges, with so few steps that it is over in a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

import harness
from harness.parameters import keyword_parameters
from harness.specs import AttackSpec
from harness.threat import Threat

FEW: dict[str, Any] = {
    "max_iter": 3,
    "steps": 5,
    "nb_random_init": 1,
    "num_random_init": 1,
    "init_size": 20,
    "max_eval": 60,
    "init_eval": 10,
    "num_trial": 5,
    "sample_size": 4,
    "binary_search_steps": 2,
    "nb_steps": 3,
    "copies": 4,
    "query_limit": 100,
    "k": 5,
    "nb_restarts": 1,
    "max_halving": 2,
    "max_doubling": 2,
    "repeats": 5,
    "directions": 20,
    "initial_gradient_eval_steps": 5,
    "max_gradient_eval_steps": 20,
}
OWN: dict[str, dict[str, Any]] = {
    "art/SpatialTransformation": {
        "max_translation": 30.0,
        "num_translations": 3,
        "max_rotation": 20.0,
        "num_rotations": 3,
    },
    "art/SimBA": {"max_iter": 30},
    "art/GeoDA": {"max_iter": 300, "sub_dim": 4},
    "art/PixelAttack": {"th": 1, "max_iter": 1},
    "art/ThresholdAttack": {"max_iter": 1},
    "art/VirtualAdversarialMethod": {"max_iter": 1},
    "art/CarliniL0Method": {"max_iter": 2, "binary_search_steps": 1},
    "art/CarliniLInfMethod": {"max_iter": 2, "largest_const": 0.1, "const_factor": 10.0},
    "art/UniversalPerturbation": {"max_iter": 1, "attacker": "fgsm"},
    "art/Wasserstein": {
        "regularization": 100.0,
        "kernel_size": 3,
        "conjugate_sinkhorn_max_iter": 20,
        "projected_sinkhorn_max_iter": 20,
    },
    "art/ZooAttack": {
        "max_iter": 2,
        "binary_search_steps": 1,
        "nb_parallel": 16,
        "use_resize": False,
        "use_importance": False,
    },
    "foolbox/HopSkipJumpAttack": {"steps": 2},
}

NAMES = tuple(
    name if "/" in name else f"{entry.plugin.name}/{name}"
    for name, entry in harness.catalog().attacks.items()
    if entry.plugin.name in ("art", "foolbox")
)


def function(name: str) -> Callable[..., Tensor]:
    """The attack's function."""
    entry = harness.catalog().attacks[name]
    return entry.load(entry.spec.run)  # type: ignore[no-any-return]


def spec(name: str) -> AttackSpec:
    """The attack's spec."""
    return harness.catalog().attacks[name].spec


def few(name: str) -> dict[str, Any]:
    """All its parameters, with few steps."""
    parameters = keyword_parameters(function(name), AttackSpec.given)
    chosen = {**FEW, **OWN.get(name, {})}
    return {key: chosen.get(key, parameter.default) for key, parameter in parameters.items()}


def threat(name: str, norm: str | None = None, eps: float | None = None, **more: Any) -> Threat:
    """A generous budget in the attack's norm, where it keeps to one; or eps."""
    described = spec(name)
    norm = norm or next(iter(described.norms), None)
    if norm is None or described.budget == "minimal":
        return Threat(norm, None, **more)
    generous = 0.25 if norm == "linf" else 2.5
    return Threat(norm, generous if eps is None else eps, **more)
