"""`harness plan SUITE` shows the cells, the skipped pairs with reasons, and the cost; it runs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.cli.arguments import add_json, add_suite, counted, options_of, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from harness.session.forecast import Forecast

SHOWN = 60
"""The largest number of cells that are printed; --json has them all."""
COSTS = ("forwards", "backwards", "seconds")
"""What a cell costs, in the order of the columns."""


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "plan",
        help="show the cells, the skipped pairs with reasons, and the expected cost; run nothing",
        description="Show what a run would do, and run nothing.",
    )
    add_suite(parser)
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print the plan."""
    from harness.session.forecast import forecast
    from harness.session.provenance import local_installs
    from harness.session.session import make_plan, refuse_empty

    chosen = options_of(given)
    planned = make_plan(given.suite, chosen)
    expected, local = forecast(planned, chosen), local_installs(planned)
    if given.json:
        print_json({**expected.as_dict(), "local": local})
    else:
        _print(expected)
        for line in local:
            print(f"local install: {line}")
    refuse_empty(planned)
    return 0


def _print(expected: Forecast) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(width=150)
    console.print(_table(expected))
    if len(expected.cells) > SHOWN:
        console.print(f"… and {counted(len(expected.cells) - SHOWN, 'more cell')}; --json shows all")
    excluded = [item for item in expected.skipped if item["reason"].startswith("excluded by")]
    for item in expected.skipped:
        if item in excluded:
            continue
        console.print(
            f"skipped: {item['model']} x {item['attack']} {item['threat']} on {item['dataset']}: "
            f"{item['reason']}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if excluded:
        pairs = counted(len(excluded), "pair")
        console.print(f"{pairs} {excluded[0]['reason']}; --json names them", soft_wrap=True)
    for line in (*_said_of_models(expected), *expected.shortage, expected.summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _said_of_models(expected: Forecast) -> Iterator[str]:
    """Yield a line per flag of a model, and one per model that cannot be run."""
    from harness.export.columns import flag_text

    for model in expected.models:
        place = f"{model['model']} on {model['dataset']}"
        yield from (f"⚑ {place}: {flag_text(flag)}" for flag in model["flags"])
        if model["error"]:
            yield f"{place} cannot be run: {model['error']}"


def _table(expected: Forecast) -> Table:
    """Return the table of the first cells, with what they cost."""
    from rich.table import Table
    from rich.text import Text

    from harness.export.columns import dataset

    table = Table(box=None, pad_edge=False)
    named = ["model", "attack", "threat"]
    if len({cell["goal"] for cell in expected.cells}) > 1:
        named.append("goal")
    for column in ("dataset", *named):
        table.add_column(column, overflow="fold")
    for column in ("cases", *COSTS):
        table.add_column(column, justify="right", overflow="fold")
    for cell in expected.cells[:SHOWN]:
        names = (Text(dataset(cell)), *(Text(cell[column]) for column in named))
        costs = ("?" if cell[column] is None else f"{cell[column]:.0f}" for column in COSTS)
        table.add_row(*names, str(cell["cases"]), *costs)
    return table
