"""`harness status DIR` counts finished, running, failed and missing shards, while others write them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.arguments import add_json, counted, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from harness.store.survey import Survey

SHOWN = 40
"""The largest number of cells that are printed; --json has them all."""
STATES = ("finished", "running", "failed", "damaged", "missing")


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "status",
        help="count finished, running, failed and missing shards, and say who is at work",
        description="Say how far a results folder has come, while others write to it. Exit status 1: a shard "
        "or a cell failed, or a part is damaged.",
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder")
    parser.add_argument(
        "--check", action="store_true", help="compare every part with its checksum, however long it takes"
    )
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print the cells that are not done, who is at work, and a summary."""
    from harness.results import require_results
    from harness.store.survey import survey

    folder = Path(given.folder)
    require_results(folder)
    found = survey(folder, every=given.check)
    if given.json:
        print_json(found.as_dict())
    else:
        _print(found, folder)
    wrong = found.damaged or any(cell.status == "failed" or cell.failed for cell in found.cells)
    return 1 if wrong else 0


def _print(found: Survey, folder: Path) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(width=150)
    left = [cell for cell in found.cells if cell.status != "done"]
    if left:
        console.print(_table(found))
    if len(left) > SHOWN:
        console.print(f"… and {counted(len(left) - SHOWN, 'more cell')}; --json shows all")
    for line in lines(found, folder):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(found: Survey) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("dataset", "model", "attack", "threat", "status"):
        table.add_column(column, overflow="fold")
    for column in ("shards", *STATES):
        table.add_column(column, justify="right")
    for cell in [cell for cell in found.cells if cell.status != "done"][:SHOWN]:
        attack = cell.attack if cell.surrogate is None else f"{cell.attack} of {cell.surrogate}"
        names = (Text(name) for name in (cell.dataset, cell.model, attack, cell.threat, cell.status))
        counts = (str(getattr(cell, state) or "") for state in STATES)
        table.add_row(*names, "?" if cell.shards is None else str(cell.shards), *counts)
    return table


def lines(found: Survey, folder: Path) -> list[str]:
    """Return what stands below the table."""
    by_id = {cell.cell: cell for cell in found.cells}
    told = []
    for worker in found.workers:
        cell = by_id.get(worker.cell) if worker.cell else None  # cells that have not begun have no id either
        doing = worker.doing or "between two shards"
        if cell is not None:
            doing = f"shard {worker.shard} of {cell.model} x {cell.attack} {cell.threat}"
        since = f", for {duration(found.now - worker.began)}" if worker.began else ""
        told.append(f"process {worker.title}: {doing}{since}")
    told += [f"{name} is held by process {process}" for name, process in found.locks]
    told += [f"failed: {cell.model} x {cell.attack}: {cell.error}" for cell in found.cells if cell.error]
    told += found.damaged
    if found.damaged or found.count("failed"):
        told.append("`harness run` with --overwrite failed makes what failed or is damaged again")
    counts = ", ".join(f"{found.count(state)} {state}" for state in STATES if found.count(state))
    begun = f"; {counted(found.planned, 'cell')} not begun" if found.planned else ""
    compared = f"{found.compared} of {counted(found.parts, 'part')} compared with their checksums"
    told.append(f"{counted(len(found.cells), 'cell')}: shards {counts or 'none'}{begun}; {compared}")
    told.append(_time_left(found, folder))
    return told


def _time_left(found: Survey, folder: Path) -> str:
    if found.is_finished:
        return f"finished: `harness show {folder}`"
    left = found.seconds_left
    about = "" if left is None else f", about {duration(left)} left"
    if found.busy:
        return f"{counted(found.busy, 'process', 'processes')} at work{about}"
    if found.workers:
        return "no process is at a shard now" + about
    return f"nobody is at work{about} for one process; run the suite again to continue"


def duration(seconds: float) -> str:
    """Return a time in its two largest units, such as "2 h 5 min"."""
    whole = round(seconds)
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole} s"
