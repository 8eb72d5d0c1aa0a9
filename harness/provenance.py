"""Provenance: what a results folder says of how it came about."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from harness.dataset_choice import DatasetChoice
from harness.options import Options
from harness.parameters import jsonable
from harness.plan import Plan

_PACKAGES = ("face-robustness-harness", "torch", "numpy", "opencv-python-headless", "scikit-image", "pyarrow")


def describe(planned: Plan, options: Options, device: torch.device) -> dict[str, Any]:
    """suite.json: the resolved suite, versions, hardware, git revision."""
    return {
        "schema": 1,
        "name": planned.suite.name,
        "seed": planned.suite.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": resolved(planned),
        "limit": options.limit,
        "stand_ins": {
            choice.label: choice.stand_in_for for choice in planned.datasets if choice.stand_in_for
        },
        "plugins": sorted(
            {
                entry_version(choice)
                for choice in (*planned.sources, *planned.datasets, *planned.models, *planned.attacks)
            }
        ),
        "versions": {"python": platform.python_version(), **_versions()},
        "hardware": hardware(device),
        "revision": _revision(),
    }


def resolved(planned: Plan) -> dict[str, Any]:
    """The suite as a manifest in which nothing is left to be resolved; planning it gives the same cells."""
    suite = planned.suite
    return {
        "schema": 1,
        "name": suite.name,
        "description": suite.description,
        "seed": suite.seed,
        "keep": suite.keep,
        "compute": suite.compute,
        "batch_size": suite.batch_size,
        "shard_size": suite.shard_size,
        "device": suite.device,
        "source": [_table(choice, source=_label(choice.source)) for choice in planned.sources],
        "dataset": [
            _table(
                choice,
                partition=choice.partition,
                sample=choice.sample,
                source=_label(choice.source),
            )
            for choice in planned.datasets
        ],
        "model": [_table(choice, weights=choice.weights) for choice in planned.models],
        "attack": [
            _table(
                choice,
                norm=choice.threat.norm,
                eps=choice.threat.eps,
                attributes=jsonable(choice.attributes),
                compute=choice.compute,
                keep=choice.keep,
                fit=choice.fit,
            )
            for choice in planned.attacks
        ],
        "transfer": [
            dict(zip(("dataset", "surrogate", "victim", "attack"), names, strict=True))
            for names in dict.fromkeys(
                (cell.dataset.label, cell.source.model.label, cell.model.label, cell.attack.label)
                for cell in planned.cells
                if cell.source
            )
        ],
        "measure": [
            _table(choice, id=choice.column, at_least=choice.at_least, at_most=choice.at_most)
            for choice in planned.measures
        ],
        "analysis": [_table(choice) for choice in planned.analyses],
        "exclude": [
            {"dataset": item.dataset.label, "model": item.model.label, "attack": item.attack.label}
            for item in planned.skipped
            if item.reason.startswith("excluded")
        ],
    }


def _label(source: DatasetChoice | None) -> str | None:
    return None if source is None else source.label


def entry_version(choice: Any) -> str:
    """ "plugin/name: distribution version revision" of a choice."""
    return f"{choice.entry.qualified}: {choice.entry.version}"


def hardware(device: torch.device) -> dict[str, Any]:
    """The machine that a run used."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }


def _table(choice: Any, **own: Any) -> dict[str, Any]:
    """One resolved table. What is None is left out, unless the default preset would then fill it in."""
    filled: Mapping[str, Any] = next(iter(getattr(choice.entry.spec, "presets", {}).values()), {})
    table = {"use": choice.entry.qualified, "id": getattr(choice, "label", None), **own}
    table |= jsonable(choice.parameters)
    return {key: value for key, value in table.items() if value is not None or key in filled}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _revision() -> str | None:
    """The git revision of the working folder, with "+" where something is changed; None outside git."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")
