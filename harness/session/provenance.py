"""Provenance is what a results folder says of how it was made: versions, hardware, git revision."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from harness.catalog import Choice
from harness.options import Options
from harness.plan.cells import Plan
from harness.plan.resolved import resolved
from harness.session.device import hardware

_PACKAGES = ("face-robustness-harness", "torch", "numpy", "opencv-python-headless", "scikit-image", "pyarrow")


def describe(planned: Plan, options: Options, device: torch.device) -> dict[str, Any]:
    """Return what suite.json holds: the resolved suite, versions, hardware, git revision."""
    return {
        "schema": 1,
        "name": planned.suite.name,
        "seed": planned.suite.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": resolved(planned),
        "limit": options.limit,
        "judge": options.judge or planned.suite.judge,
        "stand_ins": {
            choice.label: choice.stand_in_for for choice in planned.datasets if choice.stand_in_for
        },
        "plugins": sorted(
            {
                entry_version(choice)
                for choice in (*planned.sources, *planned.datasets, *planned.models, *planned.attacks)
            }
        ),
        "versions": {"python": platform.python_version(), **versions()},
        "hardware": hardware(device),
        "revision": _revision(),
    }


def local_installs(planned: Plan) -> list[str]:
    """Return "plugin/name: version" of what a plan uses of plugins whose version does not tell their code."""
    choices: list[Choice[Any]] = [*planned.sources, *planned.datasets, *planned.models]
    choices += [*planned.attacks, *planned.measures]
    return sorted({entry_version(choice) for choice in choices if choice.entry.code})


def entry_version(choice: Any) -> str:
    """Return "plugin/name: distribution version revision" of a choice, and the code of a local install."""
    return f"{choice.entry.qualified}: {choice.entry.full_version}"


@cache
def versions() -> dict[str, str]:
    """Return the versions of the packages that records depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _revision() -> str | None:
    """Return the git revision of the working folder, with "+" after changes; None outside git."""
    try:
        here = Path.cwd()
        known = any((folder / ".git").exists() for folder in (here, *here.parents))
        if not known and "GIT_DIR" not in os.environ:  # git itself takes a while to say so
            return None
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
