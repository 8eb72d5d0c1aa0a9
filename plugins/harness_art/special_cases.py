"""Some attacks of the Toolbox need more than the table says; each of these special cases is handled here."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import AttackError
from harness.randomness import CaseRandom
from harness_art.bridged import Bridged
from harness_art.toolbox_output import NumpyOfGeoDA, NumpyOfSignOPT

DRAWN_STARTS = ("HopSkipJump", "BoundaryAttack")
"""These attacks would choose their starting image with a generator that cannot be seeded."""
STARTED = (*DRAWN_STARTS, "SignOPTAttack")
"""These attacks start from an image, or a direction, that reaches the goal. GeoDA does, too, but leaves it at
once along the normal of the boundary, on which no impersonation lies."""
STEP = 1 / 3
"""The default step as a share of eps: the Toolbox's own defaults are eps = 0.3 and eps_step = 0.1."""
GREY_LEVELS = 255


_NUMPY = {
    "GeoDA": ("art.attacks.evasion.geometric_decision_based_attack", NumpyOfGeoDA),
    "SignOPTAttack": ("art.attacks.evasion.sign_opt", NumpyOfSignOPT),
}
"""The modules of attacks that get another numpy."""


def prepared(name: str) -> None:
    """Prepare the Toolbox before an attack is made."""
    if name in _NUMPY:
        place, replacement = _NUMPY[name]
        module = importlib.import_module(place)
        if not isinstance(module.__dict__["np"], replacement):
            module.__dict__["np"] = replacement()


@contextmanager
def started(name: str, x: Any, start: Any) -> Iterator[dict[str, Any]]:
    """Let an attack start from an image (1, C, H, W), or as usual if that is None; yield what to tell it."""
    if start is None:
        yield {}
    elif name in DRAWN_STARTS:
        yield {"x_adv_init": start}
    else:
        directions = importlib.import_module(_NUMPY[name][0]).__dict__["np"].random.first
        directions.append((start - x)[0])
        try:
            yield {}
        finally:
            directions.clear()


def arguments_of(
    row: Bridged,
    attack: Any,
    estimator: Any,
    targeted: bool,
    norm: str | None,
    eps: float | None,
    values: Mapping[str, Any],
    cases: int,
) -> dict[str, Any]:
    """Return the arguments of the Toolbox's class, beside the estimator.

    Args:
        values: the parameters of the manifest.
        cases: the number of cases in this call.
    """
    known = inspect.signature(attack).parameters
    theirs = {ours: name for name, ours in row.renamed.items()}
    given: dict[str, Any] = {theirs.get(name, name): value for name, value in values.items()}
    if "verbose" in known:
        given["verbose"] = False
    if "targeted" in known:
        given["targeted"] = targeted
    if "batch_size" in known and not row.alone:
        given["batch_size"] = cases
    if row.norms and "norm" in known:
        given["norm"] = {"linf": np.inf, "l2": 2}[norm or row.norms[0]]
    if row.norms and "eps" in known:
        given["eps"] = eps
    if "eps_step" in given and given["eps_step"] is None and eps is not None:
        given["eps_step"] = eps * STEP
    given |= row.constants
    if row.name == "AutoAttack":
        given |= _ensemble(estimator, given)
        given["targeted"] = given.pop("every_target")
    elif row.name == "ShadowAttack":
        given["batch_size"] = given.pop("copies")
    elif row.name == "UniversalPerturbation":
        given["attacker_params"] = _inner(given["attacker"], norm, eps)
    elif row.name == "TargetedUniversalPerturbation":
        given["attacker_params"] = {**_inner("fgsm", norm, eps), "targeted": True}
    elif row.name == "ThresholdAttack":
        given["th"] = None if eps is None else max(1, int(eps * GREY_LEVELS + 1e-6))
    if given.get("es") == 0 and importlib.util.find_spec("cma") is None:
        raise AttackError(f"art/{row.name}: es = 0 needs the package cma: pip install cma; or use es = 1")
    return given


def _ensemble(estimator: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return AutoAttack's own attacks, without progress bars and with the given number of steps."""
    from art.attacks.evasion import AutoProjectedGradientDescent, DeepFool, SquareAttack

    names = given.pop("attacks")
    steps, restarts = given.pop("max_iter"), given.pop("nb_restarts")
    if names is None:
        names = ["apgd-ce", "apgd-dlr", "deepfool", "square"]
        if estimator.nb_classes < 3:
            names.remove("apgd-dlr")
    if "apgd-dlr" in names and estimator.nb_classes < 3:
        raise AttackError("art/AutoAttack: apgd-dlr needs at least three classes; leave it out of attacks")
    if not names:
        raise AttackError("art/AutoAttack: attacks = [] is empty; leave it out to mean all")
    common = {"norm": given["norm"], "eps": given["eps"]}
    adaptive = {**common, "eps_step": given["eps_step"], "max_iter": steps or 100, "nb_random_init": restarts}
    made = []
    for name in names:
        if name == "deepfool":
            made.append(
                DeepFool(
                    estimator,
                    max_iter=steps or 100,
                    epsilon=1e-3,
                    batch_size=given["batch_size"],
                    verbose=False,
                )
            )
        elif name == "square":
            made.append(
                SquareAttack(estimator, **common, max_iter=steps or 5000, nb_restarts=restarts, verbose=False)
            )
        else:
            loss = "cross_entropy" if name == "apgd-ce" else "difference_logits_ratio"
            made.append(
                AutoProjectedGradientDescent(
                    estimator, **adaptive, loss_type=loss, batch_size=given["batch_size"], verbose=False
                )
            )
    return {"attacks": made}


def _inner(attacker: str, norm: str | None, eps: float | None) -> dict[str, Any]:
    """Return the parameters of the attack on single images inside a universal attack."""
    if attacker == "fgsm":
        return {"norm": np.inf if norm == "linf" else 2, "eps": eps}
    silent: dict[str, Any] = {"verbose": False}
    if attacker in ("bim", "pgd") and eps is not None:
        silent |= {"eps": eps, "eps_step": eps * STEP}
    if attacker == "pgd":
        silent["norm"] = np.inf if norm == "linf" else 2
    return silent


def universal_change(attack: Any) -> Tensor:
    """Return the change (1, C, H, W) that a universal attack has learnt."""
    return torch.from_numpy(np.asarray(attack.noise, np.float32))


def drawn_start(
    estimator: Any,
    x: Any,
    labels: Any,
    targeted: bool,
    values: Mapping[str, Any],
    rng: CaseRandom,
    mask: Any,
) -> Any:
    """Return a random image (1, C, H, W) that reaches the goal, found as in the Toolbox; None without one."""
    wanted = labels.argmax(1)[0]
    for _ in range(values["init_size"]):
        image = rng.uniform(x.shape[1:]).numpy()
        if mask is not None:
            image = image * mask + x * (1 - mask)
        decided = estimator.predict(image).argmax(1)[0]
        if (decided == wanted) == targeted:
            return image
    return None
