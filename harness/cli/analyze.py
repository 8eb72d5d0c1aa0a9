"""`harness analyze DIR [ANALYSIS…]` makes tables and figures from the records alone, without attacks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.cli.arguments import add_json, print_json


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "analyze",
        help="make tables and figures again, from the records alone",
        description="Write analyses/NAME.parquet and .svg for the analyses of the suite, or for those named.",
    )
    parser.add_argument("folder", metavar="DIR", help="a results folder")
    parser.add_argument("names", metavar="ANALYSIS", nargs="*", help="names of `harness ls analyses`")
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Write the analyses and print the paths of their files."""
    from harness.analysis.analysis import write

    folder = Path(given.folder)
    written = write(folder, _choices(folder, given.names))
    if given.json:
        print_json(
            [
                {"analysis": one.label, "files": [str(file) for file in one.files], "error": one.error}
                for one in written
            ]
        )
    else:
        for one in written:
            if not one.error:
                print(f"{one.label}: {', '.join(str(file) for file in one.files)}")
        if not written:
            print(f"the suite of {folder} has no [[analysis]]; name one of `harness ls analyses`")
    for one in written:
        if one.error:
            print(f"failed: {one.error}", file=sys.stderr)
    return 1 if any(one.error for one in written) else 0


def _choices(folder: Path, names: list[str]) -> list[Any]:
    """Return the analyses of the suite that wrote the folder, or the named ones."""
    from harness.catalog import catalog
    from harness.errors import ResultsError
    from harness.manifest import read_suite
    from harness.plan.planner import analyses_of
    from harness.results import read_results

    document = read_results(folder).suite.get("suite")
    if not isinstance(document, dict):
        raise ResultsError(f"{folder / 'suite.json'} holds no resolved suite")
    suite = read_suite(document)
    asked = list(analyses_of(suite, catalog()))
    if not names:
        return asked
    by_label = {choice.label: choice for choice in asked}
    others = [{"use": name} for name in dict.fromkeys(names) if name not in by_label]
    more = analyses_of(read_suite({**document, "analysis": others}), catalog())
    return [*(by_label[name] for name in dict.fromkeys(names) if name in by_label), *more]
