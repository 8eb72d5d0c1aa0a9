"""Options say how a suite is run: flags beat HARNESS_* variables, which beat the manifest."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from harness.errors import ManifestError, nearest
from harness.specs import Judge

Overwrite = Literal["never", "failed", "all"]
Where = Literal["machine", "ray"]


@dataclass(frozen=True)
class Options:
    """Options say how a suite is run; the manifest says what the suite is."""

    out: Path | None = None
    """The results folder; None means results/<suite name>."""
    limit: int | None = None
    """The largest number of images per data set; None means no limit."""
    device: str | None = None
    """"cpu", "cuda", "cuda:1" or "auto"; None means the device that the manifest names."""
    shard: tuple[int, int] = (1, 1)
    """(i, n): this process runs every n-th shard, beginning with the i-th."""
    overwrite: Overwrite = "never"
    """Which finished shards are run again: none, those with errors, or all."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Manifest values that replace those of the file, by paths such as "dataset.celeba.root"."""
    judge: Judge | None = None
    """Whether attacks run "here", in the process that judges, or "apart"; None means as the manifest says."""
    workers: int | None = None
    """How many shards are run at the same time, each in a process of its own; None means one, in this one."""
    executor: Where = "machine"
    """Where these processes are: on this machine, or on a Ray cluster."""
    address: str | None = None
    """That of the Ray cluster; None starts one on this machine."""


def options(
    *,
    out: str | Path | None = None,
    limit: int | str | None = None,
    device: str | None = None,
    judge: str | None = None,
    shard: str | None = None,
    overwrite: str | None = None,
    workers: int | str | None = None,
    executor: str | None = None,
    address: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Options:
    """Return the options that flags give, completed from HARNESS_OUT, HARNESS_LIMIT, HARNESS_DEVICE, …

    Raises:
        ManifestError: a value is wrong.
    """
    variables = os.environ if environment is None else environment

    def value(flag: Any, name: str) -> tuple[Any, str]:
        if flag is not None:
            return flag, f"--{name}"
        return variables.get(f"HARNESS_{name.upper()}") or None, f"HARNESS_{name.upper()}"

    chosen_out, place = value(out, "out")
    if chosen_out == "":
        raise ManifestError(f"{place} is empty; give the path of a folder")
    chosen_device, _ = value(device, "device")
    return Options(
        None if chosen_out is None else Path(chosen_out),
        _positive(*value(limit, "limit")),
        chosen_device,
        _share(*value(shard, "shard")),
        _word(*value(overwrite, "overwrite"), get_args(Overwrite)) or "never",
        dict(overrides or {}),
        _word(*value(judge, "judge"), get_args(Judge)),
        _positive(*value(workers, "workers")),
        _word(*value(executor, "executor"), get_args(Where)) or "machine",
        value(address, "address")[0],
    )


def cache_folder() -> Path:
    """Return the folder of what was learned: $HARNESS_CACHE, or one in the user's cache directory."""
    from platformdirs import user_cache_path  # here: most commands start without it

    configured = os.environ.get("HARNESS_CACHE")
    return Path(configured) if configured else user_cache_path("face-robustness-harness")


def _positive(value: Any, place: str) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"\d+", str(value)) or int(value) < 1:
        raise ManifestError(f"{place} {value} must be a whole number of at least 1")
    return int(value)


def _share(value: Any, place: str) -> tuple[int, int]:
    if value is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", str(value))
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ManifestError(f'{place} {value} must be i/n with 1 <= i <= n, such as "2/4"')
    return int(match[1]), int(match[2])


def _word(value: Any, place: str, valid: tuple[str, ...]) -> Any:
    if value is not None and value not in valid:
        raise ManifestError(f"{place} {value} is unknown; {nearest(str(value), valid)}")
    return value
