"""`harness plan SUITE` shows the cells, the skipped pairs with reasons, and the cost; it runs nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from harness.cli.arguments import add_json, add_suite, counted, options_of, print_json

if TYPE_CHECKING:
    from harness.session.forecast import Forecast

SHOWN = 60
"""The largest number of cells that are printed; --json has them all."""


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
    from rich.table import Table
    from rich.text import Text

    from harness.export.columns import dataset, flag_text

    console = Console()
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(width=150)
    table = Table(box=None, pad_edge=False)
    named = ["model", "attack", "threat"]
    if len({cell["goal"] for cell in expected.cells}) > 1:
        named.append("goal")
    for column, justify in (
        ("dataset", "left"),
        *((column, "left") for column in named),
        ("cases", "right"),
        ("forwards", "right"),
        ("backwards", "right"),
        ("seconds", "right"),
    ):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for cell in expected.cells[:SHOWN]:
        names = (Text(dataset(cell)), *(Text(cell[column]) for column in named))
        costs = (cell[column] for column in ("forwards", "backwards", "seconds"))
        table.add_row(*names, str(cell["cases"]), *("?" if cost is None else f"{cost:.0f}" for cost in costs))
    console.print(table)
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
    for model in expected.models:
        place = f"{model['model']} on {model['dataset']}"
        said = [f"⚑ {place}: {flag_text(flag)}" for flag in model["flags"]]
        said += [f"{place} cannot be run: {model['error']}"] if model["error"] else []
        for line in said:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in expected.shortage:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(expected.summary, markup=False, highlight=False, soft_wrap=True)
