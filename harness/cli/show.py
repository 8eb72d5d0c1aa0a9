"""`harness show DIR` prints the leaderboard in the terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import add_json, counted, print_export


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "show", help="show the leaderboard in the terminal", description="Show a leaderboard."
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder, such as results/celeba")
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print the leaderboard."""
    if given.json:
        from harness.export import export

        print_export(export(Path(given.folder), "json"), "json")
    else:
        print_board(Path(given.folder))
        _print_state(Path(given.folder))
    return 0


def print_board(folder: Path) -> None:
    """Print the leaderboard of a results folder as a table."""
    from rich.console import Console

    from harness.export.terminal import table
    from harness.results import read_results

    results = read_results(folder)
    console = Console()
    # A pipe has no width of its own; people read files with more than 80 columns.
    width = console.width if console.is_terminal else max(console.width, 150)
    Console(width=width).print(table(results.leaderboard(), results.suite, width))


def _print_state(folder: Path) -> None:
    """Say how far a run has come that is not finished."""
    from harness.results import read_results, writers

    states = read_results(folder).cells()["status"]
    states = states[states != "skipped"]
    left, writing = int((states == "partial").sum()), writers(folder)
    done = f"{len(states) - left} of {counted(len(states), 'cell')} done"
    if writing:
        print(f"the run of process {', '.join(writing)} is under way: {done}")
    elif left:
        print(f"the run is not finished: {done}; run the suite again to continue")
