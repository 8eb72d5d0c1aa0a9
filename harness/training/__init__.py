"""A model's ``build`` function receives a ``Task``, and its ``train`` function a ``Context``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """A Task says what a model is built for: the size of the images, and the attributes and classes."""

    shape: tuple[int, int, int]
    """The channels, height and width of every image."""
    attribute_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset) -> Task:
        """Return the task of a data set."""
        return cls(dataset.shape, dataset.attribute_names, dataset.class_names)


@dataclass(frozen=True)
class Context:
    """A Context gives a training recipe its seed, its device, and places to report and to keep its work."""

    seed: int
    """The seed of the training; torch's global generators were seeded with it before ``build``."""
    device: torch.device
    report: Callable[[float, str], None]
    """Report the share that is done, in [0, 1], and a short text; it is cheap, so call it at every step."""
    unit: Callable[[Mapping[str, Any], Callable[[], StateDict]], StateDict]
    """Train a part of the model once: ``unit({"attribute": name}, make)`` returns the cached weights of the
    part, or calls ``make()`` and caches its result. Finished parts are kept if the process is killed. The
    identity must hold every parameter that changes the part; data set, seed, model and versions are added."""
    state: Callable[[Mapping[str, Any]], Path] | None = None
    """Return the file in the cache where a recipe may keep the state of an unfinished part. Its identity is
    that of ``unit`` without the parameters that say when training stops. The file outlives this process: the
    recipe writes it whole, checks what it finds there, and removes it once the part is cached."""


def read_weights(path: Path, what: str) -> StateDict:
    """Return the tensors of a .safetensors file, or of a .pt or .pth state dict; nothing is unpickled.

    Args:
        what: begins the message of an error, and ends with the word for the file, such as "weights".

    Raises:
        ModelError: the file is missing, or is something else.
    """
    if not path.is_file():
        raise ModelError(f"{what} {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise ModelError(f"{what} {path} are no readable weights: {one_line(error)}") from error
    except Exception as error:  # torch's unpickler has errors of its own kinds
        raise ModelError(f"{what} {path} are refused: {one_line(error)}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{what} {path} hold no state dict of tensors")
    return dict(state)


def one_line(error: BaseException) -> str:
    """Return an exception in one line of at most about 160 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
