"""`harness export DIR --format FORMAT` writes the leaderboard in a format for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import print_export
from harness.export import FORMATS


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "export",
        help="write the leaderboard as CSV, Markdown, LaTeX, HTML or JSON",
        description="Write a leaderboard in a format for other programs.",
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder, such as results/celeba")
    parser.add_argument("--format", required=True, metavar="|".join(FORMATS), help="the format")
    parser.add_argument("-o", "--output", metavar="FILE", help="the file (standard output)")
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Write the leaderboard."""
    from harness.export import export
    from harness.files import write_text

    text = export(Path(given.folder), given.format)
    if given.output is None:
        print_export(text, given.format)
    else:
        write_text(Path(given.output), text)
    return 0
