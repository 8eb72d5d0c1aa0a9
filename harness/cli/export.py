"""`harness export DIR --format FORMAT` writes the leaderboard, or raw scores, for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import counted, print_export
from harness.errors import ResultsError
from harness.export import FORMATS, SCORE_FORMATS


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "export",
        help="write the leaderboard as CSV, Markdown, LaTeX, HTML or JSON, or raw scores",
        description="Write a leaderboard in a format for other programs; or the scores of all comparisons "
        "of verifiers, as similarities, in files that bob or pyeer read.",
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder, such as results/celeba")
    formats = "|".join([*FORMATS, *SCORE_FORMATS])
    parser.add_argument("--format", required=True, metavar=formats, help="the format")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the file (standard output); of scores, the folder"
    )
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Write the leaderboard, or scores."""
    if given.format in SCORE_FORMATS:
        return _scores(given)
    from harness.export import export
    from harness.files import write_text

    text = export(Path(given.folder), given.format)
    if given.output is None:
        print_export(text, given.format)
    else:
        write_text(Path(given.output), text)
    return 0


def _scores(given: argparse.Namespace) -> int:
    from harness.export.scores import write_scores

    if given.output is None:
        raise ResultsError(f"--format {given.format} writes several files; name a folder with -o FOLDER")
    written = write_scores(Path(given.folder), given.format, Path(given.output))
    print(f"{counted(len(written), 'file')} in {given.output}")
    return 0
