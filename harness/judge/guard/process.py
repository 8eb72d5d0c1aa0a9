"""The state of the process is kept while an attack runs, and put back: of PyTorch, Python and the system."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import overrides
from torch.autograd import forward_ad
from torch.backends import cudnn
from torch.utils import _python_dispatch as dispatch

from harness.errors import ContractError
from harness.judge.guard.streams import Streams
from harness.randomness import seed_torch


@dataclass(frozen=True)
class Setting:
    """A Setting of the process has a value that can be read and written."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    imports: bool = False
    """Whether libraries change it when they are imported, which is no fault of an attack."""


def _modes(stack: Callable[[], list[Any]], pop: Callable[[], Any], push: Callable[[Any], object]) -> Any:
    def write(wanted: list[Any]) -> None:
        while stack():
            pop()
        for mode in wanted:
            push(mode)

    return lambda: list(stack()), write


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None)
    if torch.get_default_device() != device:
        torch.set_default_device(device)


def _autocast() -> list[tuple[Any, ...]]:
    kinds = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    return [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]


def _set_autocast(states: list[tuple[Any, ...]]) -> None:
    for kind, enabled, dtype in states:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _set_deterministic(state: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def _cudnn() -> tuple[Any, ...]:
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic


def _set_cudnn(state: tuple[Any, ...]) -> None:
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic = state


def _tf32() -> tuple[Any, ...] | None:
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32
    except RuntimeError:  # PyTorch's new and old settings were mixed
        return None


def _set_tf32(state: tuple[Any, ...] | None) -> None:
    if state is not None:
        torch.set_float32_matmul_precision(state[0])
        torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32 = state[1], state[2]


def _saved_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(False)


def _pop_saved_hooks(wanted: Any) -> None:
    while _saved_hooks() not in (None, wanted):
        torch._C._autograd._pop_saved_tensors_default_hooks()


def _leave_dual_levels(wanted: int) -> None:
    while forward_ad._current_level > wanted:
        forward_ad.exit_dual_level()  # type: ignore[no-untyped-call]


def _leave_transforms(wanted: int) -> None:
    while torch._C._functorch.get_dynamic_layer_stack_depth() > wanted:
        torch._C._functorch.pop_dynamic_layer_stack()


def _flushes() -> bool:
    smallest = sys.float_info.min
    return smallest / 2 == 0


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _set_folder(folder: str) -> None:
    if folder:
        os.chdir(folder)


def _set_environment(wanted: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(wanted)


def _set_filters(wanted: list[Any]) -> None:
    warnings.filters[:] = wanted  # type: ignore[index]
    with warnings.catch_warnings():  # which tells Python, when it ends, that the filters are others
        pass


_SIGNALS = tuple(map(int, signal.valid_signals()))


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _signals() -> dict[int, Any]:
    # what ``signal.getsignal`` returns, without a search among its enumerations
    return {number: _signal.getsignal(number) for number in _SIGNALS} if _in_main_thread() else {}


def _set_signals(wanted: dict[int, Any]) -> None:
    for number, handler in wanted.items():
        if handler is not None and _signal.getsignal(number) is not handler:
            with suppress(OSError, ValueError):
                signal.signal(number, handler)


def _timer() -> bool:
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _set_timer(wanted: bool) -> None:
    if not wanted:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _collecting() -> tuple[Any, ...]:
    return gc.isenabled(), gc.get_threshold(), list(gc.callbacks)


def _set_collecting(wanted: tuple[Any, ...]) -> None:
    (gc.enable if wanted[0] else gc.disable)()
    gc.set_threshold(*wanted[1])
    gc.callbacks[:] = wanted[2]


SETTINGS = (
    Setting("default device", torch.get_default_device, _set_default_device),
    Setting(
        "function modes",
        *_modes(overrides._get_current_function_mode_stack, overrides._pop_mode, overrides._push_mode),
    ),
    Setting(
        "dispatch modes",
        *_modes(dispatch._get_current_dispatch_mode_stack, dispatch._pop_mode, dispatch._push_mode),
    ),
    Setting("grad mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
    Setting("inference mode", torch.is_inference_mode_enabled, lambda wanted: None),  # see ``kept``
    Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("transforms", torch._C._functorch.get_dynamic_layer_stack_depth, _leave_transforms),
    Setting("dual levels", lambda: forward_ad._current_level, _leave_dual_levels),
    Setting("hooks of saved tensors", _saved_hooks, _pop_saved_hooks),
    Setting("number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "deterministic algorithms",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        _set_deterministic,
    ),
    Setting("settings of cuDNN", _cudnn, _set_cudnn),
    Setting("precision of float32", _tf32, _set_tf32),
    Setting("autocast", _autocast, _set_autocast),
    Setting("autocast cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    Setting("anomaly mode", torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    Setting("denormal numbers", _flushes, torch.set_flush_denormal),
    Setting("NumPy's error handling", np.geterr, lambda wanted: np.seterr(**wanted)),
    Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("umask", _umask, os.umask),
    Setting("working directory", _folder, _set_folder),
    Setting("environment", lambda: dict(os.environ), _set_environment, imports=True),
    Setting("warning filters", lambda: list(warnings.filters), _set_filters, imports=True),
    Setting("signal handlers", _signals, _set_signals),
    Setting("timer", _timer, _set_timer),
    Setting("trace function", sys.gettrace, sys.settrace),
    Setting("profile function", sys.getprofile, sys.setprofile),
    Setting("garbage collector", _collecting, _set_collecting),
)


def put_back(before: dict[str, Any], imported: bool = False) -> list[str]:
    """Put back the settings that are others than before, and return their names.

    Args:
        imported: whether modules were imported meanwhile; what these may change is then left alone.
    """
    changed = []
    for setting in SETTINGS:
        if imported and setting.imports:
            continue
        if setting.read() != before[setting.name]:
            changed.append(setting.name)
            with suppress(OSError, RuntimeError, ValueError):  # such as a folder that is gone
                setting.write(before[setting.name])
    return changed


@contextmanager
def restored(changed: list[str]) -> Iterator[None]:
    """Put the settings of the process back that change inside, and add their names to a list."""
    before = {setting.name: setting.read() for setting in SETTINGS}
    known = len(sys.modules)
    try:
        yield
    finally:
        changed += put_back(before, imported=len(sys.modules) != known)


@contextmanager
def kept(changed: list[str]) -> Iterator[None]:
    """Put the process back as it was when what runs inside ends; add the names of what had changed.

    Raises:
        ContractError: what runs inside ended the program, or raised what is no ``Exception``.
    """
    with ExitStack() as stack:
        # Leaving inference mode from outside also undoes one that was entered inside and never left.
        stack.enter_context(torch.inference_mode(False))
        stack.callback(Streams().put_back, changed)
        stack.enter_context(restored(changed))
        try:
            with _no_exit():
                yield
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            code = f" {error.code}" if isinstance(error, SystemExit) else ""
            kind = f"{type(error).__name__}{code}"
            raise ContractError(f"the attack tried to end the program: {kind}") from error


@contextmanager
def _no_exit() -> Iterator[None]:
    """Let ``os._exit`` raise in this process; processes that are forked from it may end."""
    ends, own = os._exit, os.getpid()

    def refused(status: int) -> Any:
        if os.getpid() != own:
            ends(status)
        raise SystemExit(status)

    os._exit = refused
    try:
        yield
    finally:
        os._exit = ends


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators, so that attacks that use them can be repeated; restore them afterwards."""
    numpy_state = np.random.get_state()  # noqa: NPY002  (the global generator is what third parties use)
    python_state = random.getstate()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        seed_torch(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
