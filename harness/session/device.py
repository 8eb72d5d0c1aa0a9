"""A run's device is found by name here, and described for suite.json."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from harness.errors import ManifestError


def device_of(name: str) -> torch.device:
    """Return a device by name; "auto" is the first GPU, else the CPU.

    Raises:
        ManifestError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ManifestError(f'device "{name}" cannot be used: {str(error).splitlines()[0]}') from None
    if device.type == "meta":
        raise ManifestError(f'device "{name}" holds no numbers; name "cpu", "cuda" or "auto"')
    return device


def hardware(device: torch.device) -> dict[str, Any]:
    """Return a description of the machine that a run used."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }
