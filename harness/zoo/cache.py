"""The cache keeps what was trained or fitted, and the finished parts of a training that was killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from safetensors.torch import load_file, save_file

from harness.files import sweep, write_whole
from harness.parameters import digest_of, jsonable
from harness.training import Context, StateDict

Report = Callable[[float, str], None]


def cache_folder() -> Path:
    """Return the folder of what was learned: $HARNESS_CACHE, or one in the user's cache directory."""
    configured = os.environ.get("HARNESS_CACHE")
    return Path(configured) if configured else user_cache_path("face-robustness-harness")


def learning_context(known: Mapping[str, Any], seed: int, device: torch.device, report: Report) -> Context:
    """Return what a recipe is given; its finished parts are kept, whatever other parts are trained.

    Args:
        known: the identity of the whole. A part does not depend on which other parts are asked for, so the
            whole's "parameters" are no part of its identity.
    """
    parts = cache_folder() / "zoo" / "parts"
    sweep(parts)  # a state that a killed process was writing is as large as the one that it left
    whole = {key: value for key, value in known.items() if key != "parameters"}

    def file_of(part: Mapping[str, Any], suffix: str) -> Path:
        return parts / f"{digest_of({**whole, 'part': jsonable(part)})}{suffix}"

    def unit(part: Mapping[str, Any], make: Callable[[], StateDict]) -> StateDict:
        path = file_of(part, ".safetensors")
        if not path.is_file():
            made = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
            write_whole(path, lambda aside: save_file(made, aside))
        return load_file(path)

    def state(part: Mapping[str, Any]) -> Path:
        return file_of(part, ".state.safetensors")

    return Context(seed, device, report, unit, state)
