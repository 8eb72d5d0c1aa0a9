"""Several verbs share the arguments, and the ways to print, that are defined here."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.cli.process import is_unicode
from harness.errors import ManifestError

if TYPE_CHECKING:
    from harness.dataset import Dataset
    from harness.options import Options
    from harness.plan.datasets import DatasetChoice


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Add SUITE, --set, --limit and --out."""
    parser.add_argument("suite", metavar="SUITE", help="a manifest, such as suites/celeba.toml")
    add_set(
        parser,
        "KIND.NAME.KEY=VALUE",
        "change a manifest value, by use or id: dataset.celeba.root=PATH, attack.pgd.steps=10, seed=1",
    )
    parser.add_argument("--limit", metavar="N", help="at most N images per data set")
    parser.add_argument("--out", metavar="DIR", help="the results folder (results/<suite name>)")


def add_set(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    """Add --set, which may be given several times.

    Args:
        text: what it changes, with an example.
    """
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar=metavar, help=text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument("--device", metavar="NAME", help='"cpu", "cuda", "cuda:1" or "auto"')


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def options_of(given: argparse.Namespace) -> Options:
    """Return the options that flags and HARNESS_* variables give."""
    from harness.options import options

    return options(
        out=given.out,
        limit=given.limit,
        device=getattr(given, "device", None),
        judge=getattr(given, "judge", None),
        shard=getattr(given, "shard", None),
        overwrite=getattr(given, "overwrite", None),
        workers=getattr(given, "workers", None),
        executor=getattr(given, "executor", None),
        address=getattr(given, "address", None),
        overrides=assignments(given.overrides),
    )


def assignments(texts: list[str]) -> dict[str, Any]:
    """Return "key=value" texts as a mapping; values that are TOML are parsed.

    Raises:
        ManifestError: a text has no "=".
    """
    from harness.manifest import parse_value

    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ManifestError(f"--set {text}: write KEY=VALUE")
        pairs[key] = parse_value(value)
    return pairs


def open_named(name: str, values: Mapping[str, Any], **more: Any) -> tuple[DatasetChoice, Dataset]:
    """Open a data set of the catalogue outside of a suite.

    Args:
        name: a name of `harness ls datasets`.
        values: its parameters as in a manifest; its name may stand before a key, as in other verbs.
        more: further keys of a [[dataset]] table.

    Raises:
        HarnessError: a name or a value is wrong, or it cannot be opened.
    """
    from harness.cases.datasets import open_dataset
    from harness.catalog import catalog
    from harness.manifest import Suite, Table
    from harness.plan.datasets import datasets_of

    plain = {key.removeprefix("dataset.").removeprefix(f"{name}."): value for key, value in values.items()}
    table = Table("dataset", f'dataset "{name}"', {**more, **plain, "use": name})
    choice, *others = datasets_of(Suite(name, name, 0, (table,), (), ()), catalog(), {})
    if others:
        made = 1 + len(others)
        raise ManifestError(f"{table.place}: lists make {made} data sets of it; give one value each")
    return choice, open_dataset(choice)


def print_json(value: Any) -> None:
    """Print a value on standard output as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=not is_unicode(), default=str))


def print_export(text: str, format: str) -> None:
    """Print what an export made; JSON loses nothing where standard output cannot take every character."""
    if format == "json" and not is_unicode():
        text = json.dumps(json.loads(text), indent=2)
    print(text, end="" if text.endswith("\n") else "\n")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 cell" or "2 cells"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
