"""`harness verify DIR` judges the stored adversarials again, from the files alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import add_device, counted


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "verify",
        help="judge the stored adversarials again, from the files alone",
        description="Judge stored adversarials again and compare with the records; run no attack.",
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder of a suite with keep = true")
    add_device(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print how many records were compared, and each difference."""
    from harness.cli.memory import keep_freed_memory
    from harness.options import options
    from harness.session.verification import verify

    keep_freed_memory()
    report = verify(Path(given.folder), options(device=given.device).device or "auto")
    for line in report.differences[:20]:
        print(line)
    if len(report.differences) > 20:
        print(f"… and {len(report.differences) - 20} more")
    differ = f"{len(report.differences)} differ from their records"
    if len(report.differences) == 1:
        differ = "1 differs from its record"
    print(
        f"{counted(report.compared, 'adversarial')} judged again, {differ}"
        + (f"; {counted(report.without, 'record')} without a stored adversarial" if report.without else "")
    )
    return 1 if report.differences else 0
