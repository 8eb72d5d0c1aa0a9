"""`harness check PLUGIN` runs the contract kit on the attacks, models, … of a plugin."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.cli.arguments import add_json, add_set, assignments, open_named, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from harness.testing import Case, Result
    from harness.testing.contract import Status

SIGNS: dict[Status, str] = {"passed": "✓", "failed": "✗", "skipped": "–"}
STYLES: dict[Status, str] = {"passed": "green", "failed": "bold red", "skipped": "dim"}


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "check",
        help="check that the attacks, models, … of a plugin keep the contract",
        description="Run the contract kit on the attacks, models, … of a plugin; see docs/contract-kit.md.",
        epilog="exit status: 0 all checks passed, 1 some failed, 2 the request was wrong.",
    )
    parser.add_argument(
        "plugin", metavar="PLUGIN", help="the entry point of a plugin, or PLUGIN/NAME of one entry in it"
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these attacks, models, …")
    for flag, text in (("--only", "only this check"), ("--skip", "all but this check")):
        parser.add_argument(
            flag, action="append", default=[], metavar="CHECK", help=f"{text}; may be given several times"
        )
    add_set(parser, "NAME.KEY=VALUE", "a parameter of an attack, a model, …: pgd.steps=10")
    parser.add_argument(
        "--data",
        metavar="DATASET",
        help="images whose truth is known, on which models with weights are examined; --set works on it",
    )
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Run the checks; return 1 if one fails."""
    import torch

    from harness.catalog import catalog
    from harness.testing import plugin_checks

    overrides = assignments(given.overrides)
    data = None
    if given.data is not None:
        own = {key: overrides.pop(key) for key in [*overrides] if key.startswith(f"{given.data}.")}
        _, data = open_named(given.data, own)
    cases = plugin_checks(
        catalog(),
        given.plugin,
        given.names,
        only=given.only,
        skip=given.skip,
        overrides=overrides,
        data=data,
    )
    # Batches are so small that threads would only wait for each other.
    torch.set_num_threads(1)
    results = _run(cases, shown=not given.json)
    counts = Counter(result.status for result in results)
    if given.json:
        print_json({"results": [asdict(result) for result in results], **{s: counts[s] for s in SIGNS}})
    else:
        print(
            ", ".join(
                f"{counts[status]} {status}" for status in SIGNS if counts[status] or status == "passed"
            )
        )
    return 1 if counts["failed"] else 0


def _run(cases: list[Case], shown: bool) -> list[Result]:
    from rich.console import Console

    from harness.session.progress import Reporter
    from harness.testing.findings import findings, results_of

    console = Console(highlight=False, markup=False, soft_wrap=True)
    results: list[Result] = []
    with Reporter() as reporter:
        advance = reporter.attacking("checks", len(cases))
        for subject, of_subject in groupby(cases, key=lambda case: case.subject.name):
            if shown:
                console.print(subject, style="bold")
            own: list[Result] = []
            for found in results_of(list(of_subject)):
                advance(len(found))
                own += found
                if shown:
                    _print(console, found)
            for finding in findings(own) if shown else ():
                if finding.hidden:
                    waiting = f"  {SIGNS['skipped']} repair {finding.check} first, on which these depend: "
                    console.print(waiting + ", ".join(finding.hidden), style="dim")
            results += own
    return results


def _print(console: Console, results: list[Result]) -> None:
    """Print a line per check; of a failure, the heads on which it failed and the reason of the first."""
    from rich.text import Text

    from harness.testing.findings import findings

    check = results[0].check
    for finding in findings(results):
        heads = ", ".join(filter(None, finding.variants))
        line = f"{check:<18} {f'{heads}: ' if heads else ''}{finding.line}"
        console.print(Text(f"  {SIGNS['failed']} ", STYLES["failed"]) + Text(line))
        return
    rest = [result for result in results if not result.cause]  # what depends on another check is told below
    if not rest:
        return
    worst: Status = "passed" if any(result.status == "passed" for result in rest) else "skipped"
    sign = Text(f"  {SIGNS[worst]} ", STYLES[worst])
    reason = rest[0].line if worst == "skipped" else ""
    console.print(sign + Text(f"{check:<18} {reason}" if reason else check, "dim" if reason else ""))
