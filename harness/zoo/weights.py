"""Weights are loaded from .safetensors, or from a .pt or .pth state dict of tensors; nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.errors import ModelError
from harness.model import Model
from harness.training import StateDict, one_line as one_line, read_weights


def load_state(model: Model, state: StateDict) -> None:
    model.module.load_state_dict(state)


def load_weights(module: nn.Module, path: Path, place: str) -> None:
    """Load .safetensors, or a .pt/.pth state dict; nothing is unpickled.

    Raises:
        ModelError: the file is missing, is something else, or does not fit the module.
    """
    state = read_weights(path, f"{place}: weights")
    put_weights(module, state, f"{place}: weights {path}")


def put_weights(module: nn.Module, state: Mapping[str, Tensor], place: str) -> None:
    """Put a state dict into a module.

    Args:
        place: begins the message of an error.

    Raises:
        ModelError: it does not fit the module.
    """
    _resize(module, state, place)
    own = module.state_dict()
    missing, extra = own.keys() - state.keys(), state.keys() - own.keys()
    odd = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    for what, names in (("lack", missing), ("also hold", extra), ("have another shape for", odd)):
        if names:
            raise ModelError(f"{place} {what} {sorted(names)[0]} ({len(names)} such)")
    module.load_state_dict(state)


def _resize(module: nn.Module, state: Mapping[str, Tensor], place: str) -> None:
    """Give a module shapes that only training could know, such as the number of support vectors."""
    resize = getattr(module, "resize", None)
    if not callable(resize):
        return
    try:
        resize({name: tuple(tensor.shape) for name, tensor in state.items()})
    except Exception as error:
        raise ModelError(f"{place} do not fit: {one_line(error)}") from error


def digest_of_module(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(octets_of(value))
    return digest.hexdigest()


def octets_of(value: object) -> bytes:
    """Return an entry of a state dict as bytes; quantised layers have tuples and types among theirs."""
    if isinstance(value, tuple | list):
        return b"".join(map(octets_of, value))
    if not isinstance(value, Tensor):
        return repr(value).encode()
    plain = value.detach().dequantize() if value.is_quantized else value.detach()
    octets: bytes = plain.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return octets
