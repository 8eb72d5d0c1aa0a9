"""`harness pairs DATASET` writes comparisons of a data set as a CSV, which a verification suite can read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import assignments
from harness.errors import ManifestError


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "pairs",
        help="draw genuine and impostor pairs of a data set, as a CSV",
        description="Draw the comparisons of a verification suite, and write image_a,image_b,same[,fold].",
    )
    parser.add_argument("dataset", metavar="DATASET", help="a name of `harness ls datasets`")
    parser.add_argument("-o", "--output", metavar="FILE", help="the file (standard output)")
    parser.add_argument("--genuine", metavar="N", default="3000", help="genuine pairs in all folds (3000)")
    parser.add_argument("--impostor", metavar="N", default="3000", help="impostor pairs likewise (3000)")
    parser.add_argument(
        "--folds", metavar="K", default="10", help="the folds, which share no person (10); 1: no folds"
    )
    parser.add_argument("--partition", metavar="NAME", default="all", help="train, validation, test or all")
    parser.add_argument("--seed", metavar="N", default="0", help="decides which pairs are drawn (0)")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the data set, as in a manifest: root=PATH, size=[112,112]",
    )
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Draw the pairs and write them."""
    from harness.cases.datasets import draw, open_dataset
    from harness.cases.pair_files import as_csv, draw_pairs
    from harness.catalog import catalog
    from harness.files import write_text
    from harness.manifest import Suite, Table
    from harness.plan.datasets import datasets_of

    counts = {name: _whole(name, getattr(given, name)) for name in ("genuine", "impostor", "folds", "seed")}
    table = {"partition": given.partition, **_values(given), "use": given.dataset}
    suite = Suite("pairs", "pairs", 0, (Table("dataset", f'dataset "{given.dataset}"', table),), (), ())
    choice, *others = datasets_of(suite, catalog(), {})
    if others:
        made = 1 + len(others)
        raise ManifestError(f"{given.dataset}: lists make {made} data sets of it; give one value each")
    dataset = open_dataset(choice)
    text = as_csv(draw_pairs(dataset, draw(choice, dataset, counts["seed"], None), **counts))
    if given.output is None:
        print(text, end="")
    else:
        write_text(Path(given.output), text)
    return 0


def _values(given: argparse.Namespace) -> dict[str, Any]:
    """Return the values of --set; the name of the data set may stand before a key, as in other verbs."""
    return {
        key.removeprefix("dataset.").removeprefix(f"{given.dataset}."): value
        for key, value in assignments(given.overrides).items()
    }


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ManifestError(f"--{name} {text}: write a whole number")
    return int(text)
