"""A finished run is known again by all that it depends on, so that the same command has nothing to compute.

A run that finishes all of its cells leaves ``.finished`` in the results folder. It says what was asked for,
with what code, on which data and weights, and what the folder held. Where all of this is as it was, the run
is not gone through again; no model is loaded for that, and no torch. Whatever else is found, such as a
damaged ``.finished``, only means that the run is gone through: it finds for itself what is left to do.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import Written
from harness.catalog import catalog
from harness.catalog.installs import files_beside
from harness.errors import HarnessError, UnwritableError
from harness.files import digest_of_file, said_nothing, write_text
from harness.manifest import Suite, read_suite
from harness.options import Options, cache_folder
from harness.parameters import check, digest_of, jsonable

if TYPE_CHECKING:
    from harness.cases.datasets import OpenedDataset
    from harness.plan import Plan
    from harness.plan.datasets import DatasetChoice
    from harness.plan.models import ModelChoice

FILE = ".finished"
_TOLD = ("cells", "skipped", "shortage")
"""What of a summary the next run says again."""


@dataclass
class Summary:
    """A summary tells what a run did."""

    folder: Path
    cells: int = 0
    skipped: int = 0
    cases_done: int = 0
    """Cases attacked by this run, not by earlier ones."""
    cells_failed: int = 0
    cells_open: int = 0
    """Cells of which other processes' shards are still missing."""
    cells_judged_here: int = 0
    """Of a suite that is judged apart: cells with shards that an earlier run judged where attacks ran."""
    shortage: list[str] = field(default_factory=list)
    """Lines on data sets that have fewer persons than a preset asks for."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Those of cells.parquet; none where the run was finished before."""
    analyses: list[Written] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Return whether a cell or an analysis failed."""
        return bool(self.cells_failed) or any(written.error for written in self.analyses)


def run_unless_finished(suite: str | Path | Mapping[str, Any], options: Options) -> Summary:
    """Run a suite, or return the summary of a run that is finished and unchanged; see ``harness.run``."""
    found = earlier(suite, options)
    if found is None:
        from harness.session.session import run_suite  # here: it imports torch

        found = run_suite(suite, options)
    return found


def earlier(suite: str | Path | Mapping[str, Any], options: Options) -> Summary | None:
    """Return the summary of the finished run that this one would repeat; None where there is none."""
    if not _is_plain(options):
        return None
    read = read_suite(suite, overrides=options.overrides)
    folder = options.out or Path("results") / read.name
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if told.pop("digest") != digest_of(told):
            return None
        now = {"asked": _asked(read, options), "code": _code(), "folder": _held(folder)}
        if any(told[key] != value for key, value in now.items()):
            return None
        if told["files"] != [[place, path, _digest(place, path)] for place, path, _ in told["files"]]:
            return None
        if not all(_is_unchanged(*data) for data in told["data"]):
            return None
        analyses = [Written(label) for label in told["analyses"]]
        return Summary(folder, **{key: told[key] for key in _TOLD}, analyses=analyses)
    except (Exception, SystemExit):  # a data set's own errors, too: the run itself says what is wrong
        return None


def begin(folder: Path) -> str:
    """Forget an earlier run, since the folder is going to change, and return a digest of the code.

    Raises:
        UnwritableError: the system refuses.
    """
    try:
        (folder / FILE).unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableError(f"{folder} cannot be written: {error.strerror}") from error
    return _code()


def remember(
    summary: Summary,
    planned: Plan,
    options: Options,
    opened: Mapping[DatasetChoice, OpenedDataset],
    weights: Mapping[tuple[DatasetChoice, ModelChoice], str],
    code: str,
) -> None:
    """Leave what ``earlier`` asks for, if the run is finished and all that it depends on can be told.

    It cannot for models that bring weights of their own, for derived data sets, where the code changed on the
    way, and for a run that told the user something.

    Args:
        weights: the digests with which the cells were run.
        code: what ``begin`` returned.
    """
    left = summary.failed or summary.cells_open or summary.cells_judged_here
    derived = any(choice.source or choice.entry.spec.fit for choice in planned.datasets)
    if left or derived or not _is_plain(options) or not said_nothing():
        return
    try:
        files = list(_files(planned, opened, weights))
        if any(digest is None for *_, digest in files) or code != _code():
            return
        told: dict[str, Any] = {
            "asked": _asked(planned.suite, options),
            "code": code,
            "folder": _held(summary.folder),
            "files": files,
            "data": [
                [choice.entry.qualified, jsonable(choice.parameters), opened[choice].dataset.fingerprint]
                for choice in planned.datasets
            ],
            "analyses": [written.label for written in summary.analyses],
            **{key: getattr(summary, key) for key in _TOLD},
        }
        write_text(summary.folder / FILE, json.dumps({**told, "digest": digest_of(told)}))
    except (OSError, HarnessError):  # the results are written; they are only not known again
        return


def _is_plain(options: Options) -> bool:
    """Say whether a run does all that is left, and nothing again."""
    return options.shard == (1, 1) and options.overwrite == "never"


def _asked(suite: Suite, options: Options) -> str:
    """Return a digest of the manifest, without its name, and of the options, without the results folder."""
    told: dict[str, Any] = {}
    for name in (one.name for one in fields(Suite) if one.name != "place"):
        value = getattr(suite, name)
        if isinstance(value, tuple):  # the order of keys is that in which their lists are crossed
            value = [[list(table.values), table.values, table.unset] for table in value]
        told[name] = value
    chosen = {name: value for name, value in asdict(options).items() if name != "out"}
    return digest_of(jsonable([told, chosen]))


def _code() -> str:
    """Return a digest of the code: the harness's and all plugins' files, and what else is installed.

    Files go by size and time of change; a plugin whose code is no release goes by the digest that cells have.
    """
    known = catalog()
    told: list[Any] = [platform.python_version(), _installed()]
    for plugin in (*known.plugins, *(broken.plugin for broken in known.broken)):
        files = [[str(file), *_stamp(file)] for file in files_beside(plugin.module)]
        local = plugin.local.digest if plugin.local else ""
        told.append([plugin.name, plugin.distribution, plugin.version, local, files])
    return digest_of(told)


def _installed() -> list[str]:
    """Return the distributions on the path, with their versions."""
    names: set[str] = set()
    for folder in filter(os.path.isdir, sys.path):
        names.update(name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info")))
    return sorted(names)


def _held(folder: Path) -> str:
    """Return a digest of the files of a results folder: names, sizes and times of change; no hidden ones."""
    told = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(name for name in names if not name.startswith(".")):
            file = Path(place, name)
            told.append([file.relative_to(folder).as_posix(), *_stamp(file)])
    return digest_of(told)


def _stamp(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns


def _files(
    planned: Plan,
    opened: Mapping[DatasetChoice, OpenedDataset],
    weights: Mapping[tuple[DatasetChoice, ModelChoice], str],
) -> Iterator[tuple[str, str, str | None]]:
    """Yield the files of weights, cards and pairs, of the cache or not, with digests; None: it has none."""
    from harness.zoo import folder_of  # here: it imports torch

    for (dataset, model), digest in weights.items():
        if model.weights is not None:
            yield "", model.weights, digest
        elif model.entry.spec.train is None:
            yield "", model.label, None
        else:
            there = folder_of(model, opened[dataset].dataset, planned.suite.seed).relative_to(cache_folder())
            yield "cache", str(there / "weights.safetensors"), digest
            yield "cache", str(there / "card.json"), _digest("cache", str(there / "card.json"))
    for choice in planned.datasets:
        if choice.comparisons is not None and choice.comparisons.file is not None:
            yield "", choice.comparisons.file, _digest("", choice.comparisons.file)


def _digest(place: str, path: str) -> str:
    return digest_of_file(cache_folder() / path if place == "cache" else Path(path))


def _is_unchanged(name: str, parameters: Mapping[str, Any], fingerprint: str) -> bool:
    """Say whether a data set, opened again, has the same fingerprint; no image is read."""
    entry = catalog().datasets[name]
    values = check(name, parameters, entry.parameters(), HarnessError)
    found: str = entry.call(entry.spec.load, values=values).fingerprint
    return found + entry.code == fingerprint
