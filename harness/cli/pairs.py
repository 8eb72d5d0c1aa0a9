"""`harness pairs DATASET` writes comparisons of a data set as a CSV, which a verification suite can read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.arguments import add_set, assignments, open_named
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
    add_set(parser, "KEY=VALUE", "a parameter of the data set, as in a manifest: root=PATH, size=[112,112]")
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Draw the pairs and write them."""
    from harness.cases.datasets import draw
    from harness.cases.pair_files import as_csv, draw_pairs
    from harness.files import write_text

    counts = {name: _whole(name, getattr(given, name)) for name in ("genuine", "impostor", "folds", "seed")}
    choice, dataset = open_named(given.dataset, assignments(given.overrides), partition=given.partition)
    text = as_csv(draw_pairs(dataset, draw(choice, dataset, counts["seed"], None), **counts))
    if given.output is None:
        print(text, end="")
    else:
        write_text(Path(given.output), text)
    return 0


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ManifestError(f"--{name} {text}: write a whole number")
    return int(text)
