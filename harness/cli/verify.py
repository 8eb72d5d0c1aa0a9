"""`harness verify DIR`: re-judge the stored adversarials from the files alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import add_device


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "verify",
        help="re-judge the stored adversarials from the files alone",
        description="Judge stored adversarials again and compare with the records; runs no attack.",
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder of a suite with keep = true")
    add_device(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print what was compared, and every record that does not hold."""
    from harness.cli.memory import keep_freed_memory
    from harness.options import options
    from harness.session.verification import verify

    keep_freed_memory()
    report = verify(Path(given.folder), options(device=given.device).device or "auto")
    for line in report.differences[:20]:
        print(line)
    if len(report.differences) > 20:
        print(f"… and {len(report.differences) - 20} more")
    print(
        f"{report.compared} adversarials judged again, {len(report.differences)} differ from their records"
        + (f"; {report.without} records keep no adversarial" if report.without else "")
    )
    return 1 if report.differences else 0
