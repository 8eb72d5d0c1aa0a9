"""`harness ls KIND` lists models, attacks, … and the distributions that provide them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.arguments import add_json, print_json
from harness.errors import HarnessError, nearest

if TYPE_CHECKING:
    from harness.catalog import Entry

SUITES = "suites"


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "ls",
        help="list models, attacks, datasets, … and the packages that provide them",
        description="List what the installed plugins provide, or the suites in suites/.",
    )
    parser.add_argument(
        "kind", metavar="KIND", help="models, attacks, datasets, measures, metrics, analyses or suites"
    )
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print the list; plugins that could not be loaded follow with the reason."""
    from harness.catalog import KINDS, catalog

    kind = given.kind if given.kind in (*KINDS, SUITES) else f"{given.kind}s"
    if kind not in (*KINDS, SUITES):
        raise HarnessError(f'kind "{given.kind}" is unknown; {nearest(given.kind, (*KINDS, SUITES))}')
    if kind == SUITES:
        rows = _suites()
        broken: list[dict[str, str]] = []
        local: list[dict[str, str]] = []
    else:
        known = catalog()
        rows = [
            {
                "name": name,
                "plugin": entry.plugin.name,
                "distribution": entry.plugin.distribution,
                "version": entry.plugin.version,
                "summary": entry.spec.summary,
            }
            for name, entry in known.section(kind).items()
        ]
        broken = [
            {
                "plugin": failed.plugin.name,
                "distribution": failed.plugin.distribution,
                "version": failed.plugin.version,
                "reason": failed.reason,
            }
            for failed in known.broken
        ]
        local = _local(known.section(kind).values())
    if given.json:
        print_json({kind: rows, "broken": broken, "local": local})
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        origin = row.get("path") or f"{row['distribution']} {row['version']}"
        print(f"{row['name']:<{width}}  {row['summary']}  [{origin}]")
    if not rows:
        print(f"no {kind}")
    for failed in broken:
        print(
            f"not loaded: plugin {failed['plugin']} of {failed['distribution']} {failed['version']}: "
            f"{failed['reason']}"
        )
    for plugin in local:
        print(
            f"local install: plugin {plugin['plugin']} of {plugin['distribution']} {plugin['version']} in "
            f"{plugin['place']}, code {plugin['code']}: what it made is kept under that digest"
        )
    return 0


def _local(entries: Iterable[Entry[Any]]) -> list[dict[str, str]]:
    """Return the plugins whose code may change while their version stays, with a digest of it."""
    return [
        {
            "plugin": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "place": plugin.local.place,
            "code": plugin.local.digest,
        }
        for plugin in dict.fromkeys(entry.plugin for entry in entries)
        if plugin.local is not None
    ]


def _suites() -> list[dict[str, str]]:
    from harness.manifest import read_suite

    rows = []
    for path in sorted(Path("suites").glob("*.toml")):
        try:
            suite = read_suite(path)
        except HarnessError as error:
            rows.append({"name": path.stem, "summary": str(error), "path": str(path)})
        else:
            rows.append({"name": suite.name, "summary": suite.description, "path": str(path)})
    return rows
