"""Fits are what derived data sets learn from others before they have images; learned once, kept in the cache.

An identity is a digest of all that a fit depends on: the fitting function and its parameters, the plugin's
version, the seed and the source. Data sets that differ in other things share it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from harness.dataset import Dataset
from harness.errors import DatasetError, HarnessError
from harness.options import cache_folder
from harness.parameters import digest_of, keyword_parameters
from harness.plan.datasets import DatasetChoice
from harness.randomness import seed_torch
from harness.training import StateDict
from harness.zoo.cache import Report, known, learned, learning_context


def known_fit(choice: DatasetChoice, source: Dataset | None, seed: int) -> StateDict | None:
    """Return what was fitted before, else None."""
    found = known(_folder(_identity(choice, source, seed)))
    return found.weights if found else None


def obtain_fit(
    choice: DatasetChoice,
    source: Dataset | None,
    seed: int,
    device: torch.device,
    report: Report = lambda *_: None,
) -> StateDict:
    """Return what a data set's ``fit`` learns, from the cache or by running it.

    Raises:
        DatasetError: it cannot be learned from this source.
    """
    identity = _identity(choice, source, seed)
    return learned(
        _folder(identity),
        f"{choice.label} is being fitted elsewhere",
        lambda: _learn(choice, source, identity, seed, device, report),
    ).weights


def _learn(
    choice: DatasetChoice,
    source: Dataset | None,
    identity: dict[str, Any],
    seed: int,
    device: torch.device,
    report: Report,
) -> tuple[StateDict, dict[str, Any]]:
    context = learning_context(identity, seed, device, report)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        seed_torch(seed)
        try:
            given = [context] if source is None else [source, context]
            made = choice.entry.call(choice.entry.spec.fit or "", *given, values=choice.parameters)
        except HarnessError as error:
            raise DatasetError(f"{choice.place}: {error}") from error
        except Exception as error:
            raise DatasetError(f"{choice.place}: fitting failed: {type(error).__name__}: {error}") from error
    for name, tensor in made.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise DatasetError(f"{choice.place}: fitting failed: {name} is not finite")
    card = {
        "name": choice.label,
        "identity": identity,
        "seconds": round(time.perf_counter() - start, 1),
        "device": str(device),
        "torch": torch.__version__,
    }
    return made, card


def _identity(choice: DatasetChoice, source: Dataset | None, seed: int) -> dict[str, Any]:
    taken = keyword_parameters(choice.entry.load(choice.entry.spec.fit or ""))
    _, version, parameters = choice.entry.identity({name: choice.parameters[name] for name in taken})
    return {
        "fit": f"{choice.entry.plugin.name}/{choice.entry.spec.fit}",
        "version": version,
        "parameters": parameters,
        "seed": seed,
        "source": None if source is None else source.fingerprint,
    }


def _folder(identity: dict[str, Any]) -> Path:
    return cache_folder() / "fits" / digest_of(identity)
