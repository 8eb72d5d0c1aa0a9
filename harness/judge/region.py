"""An attack with a region of its own gets its mask here, for images of a given size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from harness.catalog import Entry
from harness.errors import AttackError
from harness.specs import AttackSpec
from harness.threat import Threat


def digest_of_region(
    entry: Entry[AttackSpec], values: Mapping[str, Any], threat: Threat, size: tuple[int, int]
) -> str | None:
    """Return a digest of the pixels that an attack may change; None: all of them, or its region has none."""
    try:
        mask = with_region(entry, values, threat, size).mask
    except Exception:  # whatever a plugin raises: its cases will say so
        return None
    if mask is None:
        return None
    told = f"{tuple(mask.shape)}".encode() + mask.cpu().numpy().tobytes()
    return hashlib.sha256(told).hexdigest()[:16]


def with_region(
    entry: Entry[AttackSpec], values: Mapping[str, Any], threat: Threat, size: tuple[int, int]
) -> Threat:
    """Return the threat with the attack's region for images of a size; a threat with a mask stays as it is.

    Raises:
        AttackError: the attack's ``region`` function returns no usable mask for this size (height, width).
    """
    if not entry.spec.region or threat.mask is not None:
        return threat
    mask = entry.call(entry.spec.region, *size, values=values)
    height, width = size
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool or mask.shape[-2:] != size:
        found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise AttackError(f"the region of {entry.qualified} is {found}; expected bool (…, {height}, {width})")
    if not mask.flatten(-2).any(-1).all():
        raise AttackError(f"the region of {entry.qualified} holds no pixel of {height}x{width} images")
    return replace(threat, mask=mask, region=entry.spec.name)
