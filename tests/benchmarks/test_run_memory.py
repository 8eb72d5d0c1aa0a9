"""Peak memory of a run does not grow with its batches, whichever attack of this project is run."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.catalog import catalog
from harness.session import executor
from tests.installing import install

PLUGIN = Path(__file__).parents[1] / "cli" / "plugin"
ATTACKS = {
    "pgd": 'eps = "8/255"\nsteps = 2',
    "fgs": 'eps = "8/255"',
    "ffa": "",
    "cw-l2": "iterations = 2\nsearches = 1",
    "gradient-descent": 'norm = "l2"\niterations = 2',
    "noise": 'eps = "8/255"\ndraws = 2',
    "eyeglasses": "iterations = 2\nrestarts = 1\nface = [0.1, 0.1, 0.9, 0.9]",
    "square": "iterations = 2\nrestarts = 1\nface = [0.1, 0.1, 0.9, 0.9]",
}
BATCH = 4
MEGABYTES = 60.0
"""The most that a thousand batches may take beyond ten: the records of a shard, lists of cases, fragments."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of batches that are compared, and the attacks that are run."""

    few: int
    many: int
    attacks: tuple[str, ...]


FULL = Sizes(few=10, many=1000, attacks=tuple(ATTACKS))
TINY = Sizes(few=1, many=2, attacks=("pgd",))


@pytest.fixture
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install(tmp_path / "site", "tiny-faces", "1.2", {"tiny": "tiny_faces"})
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for folder in (PLUGIN, tmp_path / "site"):
        monkeypatch.syspath_prepend(folder)
    catalog.cache_clear()
    yield
    catalog.cache_clear()


def _peak(reset: bool = False) -> float:
    """Return the largest size that this process has had, in MB, since the last time that it was reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _run(attack: str, batches: int, sizes: Sizes, out: Path) -> int:
    suite = {
        "schema": 1,
        "name": "memory",
        "batch_size": BATCH,
        "dataset": [{"use": "tiny", "count": 3 * BATCH * sizes.many, "partition": "test"}],
        "model": [{"use": "linear"}],
        "attack": [{"use": attack, "attributes": ["Bright"], **tomllib.loads(ATTACKS[attack])}],
    }
    done = harness.run(suite, out=out, limit=BATCH * batches).cells()
    assert set(done["status"]) == {"done"}, done["error"].tolist()
    return int(done["cases_done"].sum())


@pytest.mark.usefixtures("_plugin")
def test_peak_memory_of_many_batches(
    report: Any, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked, begun = executor.records, []

    def records(*given: Any, **more: Any) -> Any:
        if not begun:  # drawing the images took more than attacking them will
            begun.append(_peak(reset=True))
        return attacked(*given, **more)

    monkeypatch.setattr(executor, "records", records)
    for attack in sizes.attacks:
        peaks = []
        for batches in (sizes.few, sizes.few, sizes.many):  # the first one loads what is loaded once
            begun.clear()
            out = tmp_path / f"{attack}-{len(peaks)}"
            assert _run(attack, batches, sizes, out) == BATCH * batches
            peaks.append(_peak())
        name = f"{attack}: peak memory of {sizes.many:,} batches beyond that of {sizes.few}"
        report(name, max(0.0, peaks[2] - peaks[1]), "MB", at_most=MEGABYTES)
