"""Suites attack triplets: a case is an image of a person, another one, and an image of someone else.

Triplets are drawn by identity and do not depend on the model, so that all models are asked the same.
"""

from __future__ import annotations

import numpy as np

from harness.cases.cases import Cases, Rows
from harness.cases.comparisons import Drawn, References, Verifier
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.goals import Triplet
from harness.plan.cells import Cell
from harness.randomness import derived_seed


def enumerate(
    cell: Cell, dataset: Dataset, rows: Rows, names: tuple[str, ...], verifier: Verifier | None = None
) -> Cases:
    """Return the triplets of each attacked person, of which one image is attacked.

    Image after image of the person, in the order in which they are drawn, is a positive; its anchor is the
    next one, and its negative the next image of others.
    """
    assert verifier is not None
    drawn = verifier.drawn
    found = [triplet for person in range(len(drawn.attacked.targets)) for triplet in _of(drawn, person)]
    if not found:
        raise DatasetError(f"{cell.dataset.label}: no attacked person has two images, so there is no triplet")
    keys = [
        "\x1f".join([dataset.ids[probe], cell.goal, name, dataset.ids[other], dataset.ids[negative]])
        for probe, other, negative, name in found
    ]
    if drawn.limit is not None and drawn.limit < len(found):
        first = np.argsort([derived_seed(drawn.seed, "case", key) for key in keys], kind="stable")
        chosen = sorted(first[: drawn.limit].tolist())
        found, keys = [found[at] for at in chosen], [keys[at] for at in chosen]
    probes, others, negatives, people = zip(*found, strict=True)
    count = len(found)
    return Cases(
        cell.goal,
        np.array(probes, np.intp),
        tuple(people),
        np.full(count, -1, np.int64),
        np.ones(count, np.int64),
        tuple(keys),
        np.array(others, np.intp),
        np.array(negatives, np.intp),
    )


def _of(drawn: Drawn, number: int) -> list[tuple[int, int, int, str]]:
    """Return the attacked image, what it is compared with, the negative, and the person, of each triplet."""
    person, role = drawn.attacked.targets[number], drawn.settings.triplet_attacks
    own = drawn.order(person, person.rows).tolist()
    others = drawn.order(person, drawn.others(drawn.attacked, person)).tolist()
    found = []
    for place in range(min(drawn.settings.triplets, len(own)) if len(own) > 1 and others else 0):
        positive, anchor = own[place], own[(place + 1) % len(own)]
        probe, other = {
            "positive": (positive, anchor),
            "anchor": (anchor, positive),
            "copy": (anchor, anchor),
        }[role]
        found.append((probe, other, others[place % len(others)], person.name))
    return found


def count(cell: Cell, dataset: Dataset, images: int, drawn: Drawn | None = None) -> int:
    """Count the triplets of each attacked person."""
    assert drawn is not None
    found = sum(len(_of(drawn, number)) for number in range(len(drawn.attacked.targets)))
    return found if drawn.limit is None else min(found, drawn.limit)


def as_goal(cases: Cases, references: References | None = None) -> Triplet:
    """Return the goal of being no nearer, by the margin, than the negative of each case."""
    assert references is not None
    assert references.negatives is not None
    return Triplet(
        references.anchors, references.negatives, references.threshold, references.moving, references.images
    )


def for_victim(cases: Cases, names: tuple[str, ...]) -> Cases:
    """Return all cases: every verifier can judge them."""
    return cases
