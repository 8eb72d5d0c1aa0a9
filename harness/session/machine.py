"""What a machine has for a run, and what of it will be used; `harness doctor` prints it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from harness.catalog import catalog
from harness.errors import HarnessError
from harness.files import locks_work
from harness.options import cache_folder
from harness.session.device import device_of
from harness.session.provenance import versions

_GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """A finding is one line on the machine."""

    subject: str
    text: str
    fault: bool = False
    """Whether a run will suffer from it."""


def findings(device: str) -> Iterator[Finding]:
    """Yield what there is, beginning with what a run computes on.

    Args:
        device: the name of that which a run is to use, such as "auto".
    """
    yield from _devices(device)
    yield from _processors()
    yield from _memory()
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("versions", ", ".join(f"{name} {told}" for name, told in versions().items()))
    ray = "can be imported" if find_spec("ray") else "not installed: --executor ray needs the extra [ray]"
    yield Finding("ray", ray)
    yield from _plugins()
    yield _folder("cache", cache_folder(), "$HARNESS_CACHE names another folder")
    yield _folder("results", Path("results"), "--out names another folder")
    yield from _roots()


def _devices(wanted: str) -> Iterator[Finding]:
    try:
        chosen = device_of(wanted)
    except HarnessError as error:
        yield Finding("device", str(error), fault=True)
    else:
        yield Finding("device", f'a run uses {chosen} ("{wanted}")')
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        coarse = "has bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bfloat16"
        told = f"{card.name}, {card.total_memory / _GIB:.1f} GiB, {coarse}"
        yield Finding(f"cuda:{number}", told)
    if torch.cuda.device_count() > 1:
        yield Finding("workers", f"--workers {torch.cuda.device_count()} uses every GPU; else one is used")
    if not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds none"
        yield Finding("gpu", f"none: {why}")


def _processors() -> Iterator[Finding]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quick = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    threads = torch.get_num_threads()
    speed = "quick" if quick else "slow"
    said = f"{os.cpu_count()} processors, of which this process may use {allowed}; bfloat16 is {speed}"
    yield Finding("cpu", said)
    set_by = f" (OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']})" if "OMP_NUM_THREADS" in os.environ else ""
    share = max(1, threads // max(allowed, 1))
    used = f"a run computes in {threads}{set_by}; with --workers {allowed}, in {share} each"
    if threads > allowed:
        yield Finding("threads", f"{used}: more than there are processors; set OMP_NUM_THREADS", fault=True)
    else:
        yield Finding("threads", used)


def _memory() -> Iterator[Finding]:
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return
    limit = _limit()
    told = f"{whole / _GIB:.1f} GiB"
    if limit is not None and limit < whole:
        told += f", of which this process may use {limit / _GIB:.1f} GiB"
    yield Finding("memory", told)


def _limit() -> int | None:
    """Return the bytes that a container lets its processes use; None without a limit."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(file).read_text())
        except (OSError, ValueError):  # "max"
            continue
    return None


def _plugins() -> Iterator[Finding]:
    known = catalog()
    counts = {"models": known.models, "attacks": known.attacks, "datasets": known.datasets}
    yield Finding("plugins", ", ".join(f"{len(section)} {name}" for name, section in counts.items()))
    for broken in known.broken:
        yield Finding("plugins", f"{broken.plugin.name} could not be loaded: {broken.reason}", fault=True)


def _folder(subject: str, folder: Path, remedy: str) -> Finding:
    """Say whether files can be written to a folder, how many, and whether the file system has locks."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free / _GIB
    if not os.access(there, os.W_OK):
        return Finding(subject, f"{folder} cannot be written; {remedy}", fault=True)
    told = f"{folder}, {free:.1f} GiB free"
    if subject == "cache" and folder.is_dir():
        held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        told += f", holds {held / _GIB:.2f} GiB"
    probe = there / f".doctor-{os.getpid()}"
    try:
        probe.touch()
        locks = locks_work(probe)
    except OSError as error:
        return Finding(subject, f"{folder} cannot be written: {error.strerror}; {remedy}", fault=True)
    finally:
        probe.unlink(missing_ok=True)
    if not locks:
        return Finding(subject, f"{told}; no locks: let one process write there", fault=True)
    return Finding(subject, told, fault=free < 1)


def _roots() -> Iterator[Finding]:
    """Say of each variable with the name of a data set's folder where it leads."""
    names = {f"{entry.spec.name.upper().replace('-', '_')}_ROOT" for entry in catalog().datasets.values()}
    found = sorted(name for name in {*names, *os.environ} if name.endswith("_ROOT") and os.environ.get(name))
    for name in found:
        place = os.environ[name]
        if name in names:
            missing = not Path(place).is_dir()
            yield Finding("data", f"${name} = {place}{', which is no folder' * missing}", fault=missing)
    if not {*found} & names:
        yield Finding("data", "no $…_ROOT is set: suites take their stand-ins where they name some")


def as_dict(found: list[Finding]) -> list[dict[str, Any]]:
    """Return findings for programs."""
    return [{"subject": one.subject, "text": one.text, "fault": one.fault} for one in found]
