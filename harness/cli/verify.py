"""`harness verify DIR` judges the stored adversarials again, from the files alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import add_device, add_json, print_json

_MOST = 20
"""Lines of a kind that are printed; --json lists all."""


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "verify",
        help="judge the stored adversarials again, from the files alone",
        description="Judge stored adversarials again, make the leaderboard and the other files again, and "
        "compare with what is there; run no attack. Exit status 1: something differs.",
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder of a suite with keep = true")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print each difference, what is missing, how many records were compared, and what that proves."""
    from harness.cli.memory import keep_freed_memory
    from harness.options import options
    from harness.session.verification import verify

    keep_freed_memory()
    report = verify(Path(given.folder), options(device=given.device).device or "auto")
    if given.json:
        print_json(report.as_dict())
    else:
        for lines in (report.of_files, report.of_records, [f"missing: {line}" for line in report.missing]):
            for line in lines[:_MOST]:
                print(line)
            if len(lines) > _MOST:
                print(f"… and {len(lines) - _MOST} more; --json lists all")
        print(report.summary)
        for title, points in (("proved", report.proved), ("not proved", report.unproved)):
            print(f"{title}:" if points else f"{title}: nothing")
            for point in points:
                print(f"- {point}")
    return 1 if report.differences else 0
