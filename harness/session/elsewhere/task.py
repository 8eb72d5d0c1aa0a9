"""A task is one shard that some process runs from the results folder and the cache alone.

It is a few words: the folder, whose suite.json is the resolved suite, the position of the cell in its plan,
the cell's id, and the number of the shard. The process writes the records itself, and answers what it wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.catalog import catalog
from harness.errors import ModelError
from harness.files import digest_of_file
from harness.manifest import read_suite
from harness.plan import Cell, Plan, plan
from harness.results import read_description
from harness.session.device import device_of
from harness.session.executor import finish
from harness.shards.apart import Attackers, attackers
from harness.shards.preparation import Preparation, plan_again, prepared_again
from harness.shards.shard import Remote
from harness.store import Store


class Bench:
    """A bench keeps one model ready between the tasks that one process is given."""

    def __init__(self) -> None:
        self._made: tuple[Any, ...] = ()
        self._prepared: Preparation | None = None
        self._remote: Remote | None = None
        self._last: Any = None
        self._held = ExitStack()

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Run a shard, and return what was written; raise what running it raises.

        Raises:
            ModelError: this process makes another cell of the plan than the one that is asked for.
        """
        began, used = time.perf_counter(), time.process_time()
        limit_threads(task["threads"])
        folder = Path(task["folder"])
        prepared = self._preparation(folder, task["device"])
        cell = prepared.planned.cells[task["cell"]]
        self._one_model(prepared, cell)
        job = prepared.job(cell)
        if job.id != task["job"]:
            raise ModelError(
                f"{cell.model.label} x {cell.attack_label}: a worker makes cell {job.id} of it, and not "
                f"{task['job']}; code, data or weights of its machine are others"
            )
        store = Store(folder)
        with store.claims:
            ran = finish(job, task["shard"], store, lambda cases: None, self._remote)
        return {
            "part": str(store.part(job.id, task["shard"])),
            "ran": ran,
            "process": os.getpid(),
            "threads": torch.get_num_threads(),
            "seconds": time.perf_counter() - began,
            "processor": time.process_time() - used,
        }

    def _preparation(self, folder: Path, device: str) -> Preparation:
        """Return the preparation of a folder's suite, made again where the suite is another one."""
        asked = folder, device, digest_of_file(folder / "suite.json")
        if self._prepared is None or asked != self._made:
            self._held.close()
            described, place = read_description(folder), device_of(device)
            apart = self._held.enter_context(attackers(described.get("judge", "here")))
            make = plan_again if apart is None else partial(_plan_apart, apart)
            self._prepared = prepared_again(described["suite"], described.get("limit"), place, make)
            self._remote = None if apart is None else apart.remote
            if apart is not None:
                apart.brief(self._prepared.planned, described.get("limit"), place)
            self._made, self._last = asked, None
        return self._prepared

    def _one_model(self, prepared: Preparation, cell: Cell) -> None:
        """Forget the models of other cells: a worker has the memory for one, and a transfer for two."""
        wanted = cell.dataset, cell.model, cell.source and cell.source.model
        if self._last not in (None, wanted):
            prepared.forget()
        self._last = wanted


def _plan_apart(apart: Attackers, suite: Mapping[str, Any]) -> Plan:
    return plan(read_suite(suite), apart.catalog(catalog()), apart.resolve)


def limit_threads(count: int) -> None:
    """Let the libraries of this process compute in at most so many threads."""
    import cv2
    import pyarrow as pa

    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    pa.set_cpu_count(count)
