"""Passes whose numbers count are made in true float32, in the same way each time and on each device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, TypeVar

import torch
from torch.backends import cudnn

Told = TypeVar("Told")
Precision = Literal["mixed", "float32"]
"""That of a training's passes: "mixed" computes them in bfloat16 where that is fast; weights are float32."""
_TRUE = ("none", "ieee")
"""The names of true float32; every other one (TF32, bfloat16) rounds the factors of products."""


def passes(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context of a training's passes through its network."""
    # Processors without AVX-512 emulate bfloat16, at many times the cost of float32.
    fast = device.type == "cuda" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "mixed" and fast)


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Compute in true float32, and in the same way each time; restore the settings afterwards.

    An autocast that is still on is switched off. Matrix products and convolutions round their factors neither
    to TF32, which torch allows for convolutions on GPUs by default, nor to bfloat16, whatever the process
    allows. cuDNN uses kernels that give the same result each time, and does not choose them by their speed.
    """
    steady = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        with torch.autocast(device.type, enabled=False), _true_products():
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = steady


@contextmanager
def _true_products() -> Iterator[None]:
    """Let no product of float32 round its factors."""
    if not _rounding():
        yield
        return
    _warned()
    older, newer = _by_older_names(), _entered()
    _set(("highest", False), {})
    try:
        yield
    finally:
        _set(older, newer)


def _rounding() -> bool:
    """Tell whether some product of float32 may round its factors."""
    if _parts():
        return any(part.fp32_precision not in _TRUE for part in _parts())
    return torch.get_float32_matmul_precision() != "highest" or cudnn.allow_tf32


@cache
def _parts() -> tuple[Any, ...]:
    """Return what has a precision of its own, each after what it inherits from; nothing before torch 2.9."""
    backends: Any = torch.backends
    if not hasattr(backends, "fp32_precision"):
        return ()
    gpu, cpu = backends.cudnn, backends.mkldnn
    return backends, gpu, backends.cuda.matmul, gpu.conv, gpu.rnn, cpu.matmul, cpu.conv, cpu.rnn


def _entered() -> dict[Any, str]:
    """Set every part to true float32, and return what each of them was; "none" is inherited."""
    were = {part: part.fp32_precision for part in _parts()}
    whole = were.get(torch.backends)
    for part, was in were.items():
        inherited = part.fp32_precision != was == whole  # what it would inherit is true by now
        were[part] = "none" if inherited else was
        part.fp32_precision = "ieee"
    return were


def _by_older_names() -> tuple[str, bool]:
    """Return the precision of products, and whether convolutions may use TF32, by the names before 2.9.

    Where newer names say something else, torch does not tell; these are then the values that disagree.
    """
    named = torch.backends.cuda.matmul
    products = _told(torch.get_float32_matmul_precision)
    if products is None:
        allowed = _told(lambda: named.allow_tf32)
        if allowed is None:
            allowed = named.fp32_precision != "tf32"
        products = "high" if allowed else "highest"
    convolutions = _told(lambda: cudnn.allow_tf32)
    return products, True if convolutions is None else convolutions


def _told(read: Callable[[], Told]) -> Told | None:
    try:
        return read()
    except RuntimeError:
        return None


def _set(older: tuple[str, bool], newer: dict[Any, str]) -> None:
    # The older names set the newer ones too, and so come first. Both must say the same, or models that read
    # the older ones fail.
    torch.set_float32_matmul_precision(older[0])
    cudnn.allow_tf32 = older[1]
    for part, precision in newer.items():
        part.fp32_precision = precision


@cache
def _warned() -> None:
    """Change nothing, so that torch says unheard that the older names will go: some versions say so once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _set(_by_older_names(), _entered())
