"""`harness doctor` says what the machine has, and what of it a run will use."""

from __future__ import annotations

import argparse
from typing import Any

from harness.cli.arguments import add_device, add_json, print_json


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "doctor",
        help="say what the machine has, and what of it a run will use",
        description="Say what the machine has: devices, memory, threads, versions, folders, data. "
        "Exit status 1: a run will suffer from something.",
    )
    add_device(parser)
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print a line per finding; those that a run will suffer from are marked."""
    from harness.options import options
    from harness.session.machine import as_dict, findings

    found = list(findings(options(device=given.device).device or "auto"))
    if given.json:
        print_json(as_dict(found))
    else:
        width = max(len(one.subject) for one in found)
        for one in found:
            print(f"{'!' if one.fault else ' '} {one.subject:<{width}}  {one.text}")
    return 1 if any(one.fault for one in found) else 0
