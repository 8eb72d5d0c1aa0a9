"""`harness run SUITE`: plan, train what is missing, attack, judge, write the results; resumes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from harness.cli.arguments import add_device, add_suite, options_of


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "run",
        help="plan, train what is missing, attack, judge, write a leaderboard; resumes",
        description="Run a suite. Run again, it goes on where it was.",
    )
    add_suite(parser)
    add_device(parser)
    parser.add_argument("--shard", metavar="i/n", help="do every n-th shard, beginning with the i-th")
    parser.add_argument(
        "--overwrite", metavar="never|failed|all", help="finished shards to be done again (never)"
    )
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Run the suite and print its leaderboard."""
    from harness.cli.memory import keep_freed_memory
    from harness.cli.show import print_board
    from harness.session.session import run_suite

    keep_freed_memory()
    summary = run_suite(given.suite, options_of(given))
    print_board(summary.folder)
    done = f"{summary.cases_done} cases attacked" if summary.cases_done else "nothing was left to do"
    print(f"{done}; {summary.cells} cells, {summary.skipped} pairs skipped; results in {summary.folder}")
    for written in summary.analyses:
        if written.error:
            print(f"failed: {written.error}", file=sys.stderr)
    if any(not written.error for written in summary.analyses):
        count = sum(not written.error for written in summary.analyses)
        print(f"{count} analyses in {summary.folder / 'analyses'}")
    if summary.cells_open:
        print(f"{summary.cells_open} cells still lack shards of other processes")
    for row in summary.rows:
        if row["status"] == "failed":
            failed, cases = row.get("cases_failed"), row.get("cases")
            share = f"{failed} of {cases} cases: " if failed else ""
            print(
                f"failed: {row['model']} x {row['attack']} {row['threat']}: {share}{row['error']}",
                file=sys.stderr,
            )
    return 1 if summary.failed else 0
