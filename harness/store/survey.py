"""A survey says how far a results folder has come, while others write to it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import holder
from harness.store.claims import Worker, workers
from harness.store.parquet import part_files, part_name, read_cells
from harness.store.seal import Seal, seal_of_shard

PATIENCE = 0.6
"""Seconds in which bytes of parts are compared with their checksums, unless all are to be."""
_COLUMNS = ("cell", "dataset", "model", "attack", "surrogate", "threat", "goal", "status", "error")


@dataclass(frozen=True)
class CellState:
    """A cell's state counts its shards; each is finished, running, failed, damaged or missing."""

    cell: str
    dataset: str
    model: str
    attack: str
    surrogate: str | None
    threat: str
    goal: str
    status: str
    """"done", "failed", "running" or "partial"; "planned" where its shards are not known yet."""
    shards: int | None
    finished: int
    running: int
    failed: int
    damaged: int
    missing: int
    cases: int | None
    cases_done: int
    seconds: float
    """That the shards took whose parts say so."""
    cases_timed: int
    error: str | None

    @property
    def pace(self) -> float | None:
        """Return the seconds per case."""
        return self.seconds / self.cases_timed if self.cases_timed else None


@dataclass(frozen=True)
class Survey:
    """A survey says how far a folder has come."""

    cells: tuple[CellState, ...]
    workers: tuple[Worker, ...]
    locks: tuple[tuple[str, str], ...]
    """Names of lock files, and the process that holds each."""
    damaged: tuple[str, ...]
    """A line per part that is not what was written."""
    parts: int
    compared: int
    """Parts all bytes of which were compared with their checksum."""
    now: float

    def count(self, name: str) -> int:
        """Return the shards of all cells in one state."""
        return sum(getattr(cell, name) or 0 for cell in self.cells)

    @property
    def planned(self) -> int:
        """Return the cells whose shards are not known yet."""
        return sum(cell.status == "planned" for cell in self.cells)

    @property
    def is_finished(self) -> bool:
        """Say whether nothing is left to do."""
        return all(cell.status in ("done", "failed") for cell in self.cells)

    @property
    def busy(self) -> int:
        """Return how many processes are running a shard."""
        return sum(worker.cell is not None for worker in self.workers)

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds until all shards are there, at the pace so far; None where it is not known.

        A cell without finished shards is taken to be as quick as others of its model and attack, else of its
        attack, else as all. Without processes at work, it is the time that one would take.
        """
        paces, known = _paces(self.cells), [cell.cases for cell in self.cells if cell.cases]
        work = 0.0
        for cell in self.cells:
            cases = cell.cases or (sum(known) / len(known) if known else None)
            if cell.status in ("done", "failed"):
                continue
            names = ((cell.model, cell.attack), (cell.attack,), ())
            pace = cell.pace or next((paces[name] for name in names if name in paces), None)
            if cases is None or pace is None:
                return None
            expected = cases * pace / (cell.shards or 1)
            gone = (self.now - one.began for one in self.workers if one.cell == cell.cell)
            work += (cases - cell.cases_done) * pace - sum(min(spent, expected) for spent in gone)
        return max(work, 0.0) / max(self.busy, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for programs."""
        names = ("finished", "running", "failed", "damaged", "missing")
        return {
            "finished": self.is_finished,
            "shards": {name: self.count(name) for name in names},
            "cells_not_begun": self.planned,
            "seconds_left": self.seconds_left,
            "parts": self.parts,
            "parts_compared": self.compared,
            "damaged": list(self.damaged),
            "workers": [asdict(worker) | {"seconds": self.now - worker.began} for worker in self.workers],
            "locks": [{"file": file, "holder": process} for file, process in self.locks],
            "cells": [asdict(cell) for cell in self.cells],
        }


def survey(folder: Path, *, every: bool = False) -> Survey:
    """Look through a results folder.

    Args:
        every: compare all bytes of all parts with their checksums, however long it takes.

    Raises:
        ResultsError: its cells cannot be read.
    """
    table = read_cells(folder)
    names = [name for name in (*_COLUMNS, "shards", "cases") if name in table.column_names]
    at_work = workers(folder)  # before the parts: a shard that ends meanwhile is seen as finished
    damaged: list[str] = []
    cells, parts, compared = [], 0, 0
    deadline = time.monotonic() + PATIENCE
    for row in table.select(names).to_pylist():
        if row["status"] == "skipped":  # not by pyarrow, which imports pandas to compare with a text
            continue
        found: dict[int, Seal | None] = {}
        for shard, file in _parts(folder, row["cell"]):
            try:
                in_time = time.monotonic() < deadline
                found[shard], whole = seal_of_shard(file, row["cell"], shard, whole=every or in_time)
                compared += whole
            except FileNotFoundError:  # --overwrite has removed it
                continue
            except HarnessError as error:
                found[shard] = None
                damaged.append(str(error))
            parts += 1
        running = {worker.shard for worker in at_work if worker.cell == row["cell"]} - {*found, None}
        cells.append(_state(row, found, len(running) if row["cell"] else 0))
    locks = ((file.name, holder(file)) for file in sorted(folder.glob(".lock*")))
    held = tuple((name, process) for name, process in locks if process is not None)
    return Survey(tuple(cells), tuple(at_work), held, tuple(damaged), parts, compared, time.time())


def _parts(folder: Path, cell: str) -> Iterator[tuple[int, Path]]:
    """Yield the parts of a cell that are the harness's own."""
    if cell and Path(cell).name == cell:
        for shard, file in part_files(folder / "samples" / cell).items():
            if file.name == part_name(shard):
                yield shard, file


def _state(row: dict[str, Any], found: dict[int, Seal | None], running: int) -> CellState:
    whole = [seal for seal in found.values() if seal is not None]
    failed = sum(bool(seal.failed) for seal in whole)
    timed = [seal for seal in whole if seal.took is not None]
    damaged, shards = len(found) - len(whole), row.get("shards")
    missing = max(0, (shards or 0) - len(found) - running)
    if running:
        status = "running"
    elif shards is None:
        status = "failed" if row["status"] == "failed" else "planned"
    elif missing:
        status = "partial"
    else:
        status = "failed" if failed or damaged else "done"
    return CellState(
        **{name: row[name] for name in _COLUMNS if name not in ("status", "error")},
        status=status,
        shards=shards,
        finished=len(whole) - failed,
        running=running,
        failed=failed,
        damaged=damaged,
        missing=missing,
        cases=row.get("cases"),
        cases_done=sum(seal.cases for seal in whole),
        seconds=sum(seal.took or 0.0 for seal in timed),
        cases_timed=sum(seal.cases for seal in timed),
        error=row["error"],
    )


def _paces(cells: Sequence[CellState]) -> dict[tuple[str, ...], float]:
    """Return the seconds per case by model and attack, by attack, and of all."""
    seconds: Counter[tuple[str, ...]] = Counter()
    cases: Counter[tuple[str, ...]] = Counter()
    for cell in cells:
        for name in ((cell.model, cell.attack), (cell.attack,), ()):
            seconds[name] += cell.seconds  # type: ignore[assignment]
            cases[name] += cell.cases_timed
    return {name: seconds[name] / count for name, count in cases.items() if count}
