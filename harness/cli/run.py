"""`harness run SUITE` plans, trains what is missing, attacks, judges and writes results; it resumes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from harness.cli.arguments import add_device, add_suite, counted, options_of


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "run",
        help="train what is missing, attack, judge and write a leaderboard; finished work is kept",
        description="Run a suite. If a run was interrupted, the same command continues it.",
    )
    add_suite(parser)
    add_device(parser)
    parser.add_argument(
        "--judge",
        metavar="here|apart",
        help="where attacks run: here, or apart, in processes that cannot reach the judge (here)",
    )
    parser.add_argument(
        "--workers", metavar="N", help="run N shards at the same time, each in a process of its own (1)"
    )
    parser.add_argument(
        "--executor", metavar="machine|ray", help="where these processes are: here, or on a Ray cluster"
    )
    parser.add_argument("--address", metavar="HOST:PORT", help="that of the Ray cluster, or auto")
    parser.add_argument("--shard", metavar="i/n", help="run every n-th shard, beginning with the i-th")
    parser.add_argument(
        "--overwrite", metavar="never|failed|all", help="which finished shards to run again (never)"
    )
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Run the suite and print its leaderboard."""
    from harness.cli.memory import keep_freed_memory
    from harness.cli.show import print_board
    from harness.session.finished import run_unless_finished

    keep_freed_memory()
    summary = run_unless_finished(given.suite, options_of(given))
    print_board(summary.folder)
    done = "no case was attacked" if summary.cells_failed else "nothing was left to do"
    if summary.cases_done:
        done = f"{counted(summary.cases_done, 'case')} attacked"
    failed = f", {summary.cells_failed} failed" if summary.cells_failed else ""
    skipped = f"{counted(summary.skipped, 'pair')} skipped"
    print(f"{done}; {counted(summary.cells, 'cell')}{failed}, {skipped}; results in {summary.folder}")
    for line in summary.shortage:
        print(line)
    for written in summary.analyses:
        if written.error:
            print(f"failed: {written.error}", file=sys.stderr)
    if any(not written.error for written in summary.analyses):
        count = sum(not written.error for written in summary.analyses)
        print(f"{counted(count, 'analysis', 'analyses')} in {summary.folder / 'analyses'}")
    if summary.cells_open:
        print(f"shards of other processes are still missing in {counted(summary.cells_open, 'cell')}")
    if summary.cells_judged_here:
        print(
            f"{counted(summary.cells_judged_here, 'cell')} had been judged in a process in which attacks "
            "ran; --overwrite all runs them again"
        )
    for row in summary.rows:
        if row["status"] == "failed":
            cases_failed, cases = row.get("cases_failed"), row.get("cases")
            share = f"{cases_failed} of {cases} cases: " if cases_failed else ""
            print(
                f"failed: {row['model']} x {row['attack']} {row['threat']}: {share}{row['error']}",
                file=sys.stderr,
            )
    return 1 if summary.failed else 0
