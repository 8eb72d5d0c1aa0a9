"""The store is a suite's results folder; files appear whole, and a shard that is there is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import ResultsError, UnwritableError
from harness.files import sweep, write_text, write_whole
from harness.store.claims import Claims, clear_claims
from harness.store.parquet import part_files, part_name
from harness.store.schema import CELL_SCHEMA, judge_of
from harness.store.seal import close_seal, seal_of_shard, sealed
from harness.store.stamp import Stamp, checksum_of_cell, stamp_of, stamped


class Store:
    """A store writes and reads the results folder of one suite."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claims = Claims(folder)

    def open(self) -> None:
        """Make the folder and clear what killed processes left half-written."""
        try:
            (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableError(f"{self.folder} cannot be written: {error.strerror}") from None
        sweep(self.folder)
        clear_claims(self.folder)

    @property
    def has_cells(self) -> bool:
        """Say whether a run has written its cells here."""
        return (self.folder / "cells.parquet").is_file()

    def part(self, cell: str, shard: int) -> Path:
        """Return the file of a shard."""
        return self.folder / "samples" / cell / part_name(shard)

    def finished(self, cell: str) -> set[int]:
        """Return the shards of a cell that are done."""
        found = part_files(self.folder / "samples" / cell)
        return {shard for shard, file in found.items() if file.name == part_name(shard)}

    def failed(self, cell: str) -> set[int]:
        """Return the finished shards of a cell in which a case is an error, or whose file is not its own."""
        return {shard for shard in self.finished(cell) if self._is_failed(cell, shard)}

    def _is_failed(self, cell: str, shard: int) -> bool:
        try:
            return bool(seal_of_shard(self.part(cell, shard), cell, shard, whole=True)[0].failed)
        except ResultsError:
            return True

    def write_part(self, cell: str, shard: int, table: pa.Table, took: float | None = None) -> None:
        """Keep the records of a shard, with its stamp and its seal.

        Args:
            took: seconds that the shard took.
        """
        whole = sealed(stamped(table, cell, shard), cell, shard, took)

        def fill(aside: Path) -> None:
            pq.write_table(whole, aside, compression="zstd")
            close_seal(aside)

        write_whole(self.part(cell, shard), fill)

    def discard(self, cell: str, shards: Iterable[int] | None = None) -> None:
        """Forget some shards of a cell, or all of them."""
        if shards is None:
            shutil.rmtree(self.folder / "samples" / cell, ignore_errors=True)
        for shard in shards or ():
            self.part(cell, shard).unlink(missing_ok=True)

    def tally(self, cell: str) -> dict[str, Any]:
        """Return the sums of a cell's finished shards, and their checksum: cases, errors, passes, seconds."""
        totals: dict[str, Any] = {"cases_done": 0, "cases_failed": 0, "shards_done": 0}
        totals |= {"forwards": 0, "backwards": 0, "seconds": 0.0, "error": None, "judge": None}
        stamps: dict[int, Stamp | None] = {}
        for shard in sorted(self.finished(cell)):
            table = self._columns(cell, shard, "error", "forwards", "backwards", "seconds")
            errors = table["error"].drop_null()
            stamps[shard] = stamp_of(table.schema)
            if totals["judge"] != "here":
                totals["judge"] = judge_of(table.schema)
            totals["shards_done"] += 1
            totals["cases_done"] += len(table)
            totals["cases_failed"] += len(errors)
            for column in ("forwards", "backwards", "seconds"):
                totals[column] += pc.sum(table[column]).as_py() or 0
            if len(errors) and totals["error"] is None:
                totals["error"] = errors[0].as_py()
        return totals | {"checksum": checksum_of_cell(stamps)}

    def _columns(self, cell: str, shard: int, *columns: str) -> pa.Table:
        part = self.part(cell, shard)
        try:
            return pq.read_table(part, columns=list(columns))
        except (OSError, pa.ArrowException) as error:
            raise ResultsError(f"{part} cannot be read: {error}; remove it and run again") from None

    def write_cells(self, cells: Sequence[Mapping[str, Any]]) -> None:
        """Write cells.parquet: the cells of the current plan, and what was skipped."""
        table = pa.Table.from_pylist([dict(cell) for cell in cells], schema=CELL_SCHEMA)
        write_whole(self.folder / "cells.parquet", lambda aside: pq.write_table(table, aside))

    def write_models(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Write models.json: what was made ready, what it answers, and the card of its weights."""
        text = json.dumps(models, indent=1, ensure_ascii=False) + "\n"
        write_text(self.folder / "models.json", text)

    def write_suite(self, description: Mapping[str, Any]) -> None:
        """Write suite.json: the resolved suite, versions, hardware, revision."""
        write_text(self.folder / "suite.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")
