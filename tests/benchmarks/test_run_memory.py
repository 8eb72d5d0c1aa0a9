"""Peak memory does not grow with the batches, whichever attack of this project is run.

Steps are looked at in tests/attacks/test_memory.py: no graph and no copy outlives the step that made it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.catalog import catalog
from harness.goals import Impersonate, Untargeted
from harness.session import executor
from tests.installing import install

PLUGIN = Path(__file__).parents[1] / "cli" / "plugin"
FACE = "face = [0.1, 0.1, 0.9, 0.9]"
ATTACKS = {
    "pgd": 'eps = "8/255"\nsteps = 2',
    "apgd": 'eps = "8/255"\nsteps = 2',
    "fab": "steps = 2\nrestarts = 1",
    "square-attack": 'eps = "8/255"\nqueries = 2',
    "standard": 'eps = "8/255"\nsteps = 2\nqueries = 2',
    "ddn": "steps = 2",
    "fmn": 'norm = "linf"\nsteps = 2',
    "fgs": 'eps = "8/255"',
    "ffa": "",
    "cw-l2": "iterations = 2\nsearches = 1",
    "gradient-descent": 'norm = "l2"\niterations = 2',
    "noise": 'eps = "8/255"\ndraws = 2',
    "eyeglasses": f"iterations = 2\nrestarts = 1\n{FACE}",
    "square": f"iterations = 2\nrestarts = 1\n{FACE}",
    "eyeglasses-eot": f"iterations = 2\nrestarts = 1\nviews = 2\n{FACE}",
    "square-eot": f"iterations = 2\nrestarts = 1\nviews = 2\n{FACE}",
    "random-eyeglasses": f"draws = 2\n{FACE}",
    "universal-patch": f"iterations = 2\n{FACE}",
}
"""Those that attributes can be attacked by, with what a suite gives them."""
OTHERS: dict[str, dict[str, Any]] = {"component-gradient": {"iterations": 2}, "distal": {"iterations": 2}}
"""Those of other heads, with their parameters."""
AT_ONCE, COPIES = {"universal-patch"}, 8
"""Attacks that get all images at once, and how many copies of these they and the judge may hold."""
PIXELS = 3 * 24 * 20
BATCH = 4
MEGABYTES = 60.0
"""The most that a thousand batches may take beyond ten: the records of a shard, lists of cases, fragments."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of batches that are compared, and the attacks that are run."""

    few: int
    many: int
    attacks: tuple[str, ...]
    others: tuple[str, ...]


FULL = Sizes(few=10, many=1000, attacks=tuple(ATTACKS), others=tuple(OTHERS))
TINY = Sizes(few=1, many=2, attacks=("pgd", "universal-patch"), others=("distal",))


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
            judged = _run(attack, batches, sizes, out)  # without those that are learned on
            assert 0 < judged < BATCH * batches if attack in AT_ONCE else judged == BATCH * batches
            peaks.append(_peak())
        held = COPIES * 4 * PIXELS * BATCH * sizes.many / 2**20 if attack in AT_ONCE else 0.0
        name = f"{attack}: peak memory of {sizes.many:,} batches beyond that of {sizes.few}"
        report(name, max(0.0, peaks[2] - peaks[1]), "MB", at_most=MEGABYTES + held)


class Prototypes(nn.Module):
    """Minus the distances to four images, as an embedding (B, 4), or the nearest of each of two classes."""

    def __init__(self, embeds: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embeds = embeds
        self.kept = nn.Parameter(torch.rand(4, PIXELS), requires_grad=False)
        self.component_classes = torch.tensor([0, 0, 1, 1])

    def components(self, x: Tensor) -> Tensor:
        return -torch.cdist(x.flatten(1), self.kept)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.components(x)
        return scores if self.embeds else scores.view(-1, 2, 2).amax(2)


def test_every_attack_is_measured() -> None:
    ours = {name for name, entry in catalog().attacks.items() if entry.plugin.name == "attacks"}
    assert ours == {*ATTACKS, *OTHERS}


def test_peak_memory_of_many_batches_of_other_heads(report: Any, sizes: Sizes) -> None:
    draws = torch.Generator().manual_seed(1)
    for attack in sizes.others:
        embeds = attack == "distal"
        model = harness.wrap_model(Prototypes(embeds).eval(), "embedding" if embeds else "classes")
        far = Impersonate(torch.full((1, 4), 1e3), threshold=1.0)
        goal = far if embeds else Untargeted(torch.zeros(BATCH, dtype=torch.long))
        peaks = []
        for batches in (sizes.few, sizes.few, sizes.many):
            _peak(reset=True)
            for _ in range(batches):
                x = torch.rand(BATCH, 3, 24, 20, generator=draws)
                harness.attack(attack, model, x, goal=goal, **OTHERS[attack])
            peaks.append(_peak())
        name = f"{attack}: peak memory of {sizes.many:,} batches beyond that of {sizes.few}"
        report(name, max(0.0, peaks[2] - peaks[1]), "MB", at_most=MEGABYTES)
