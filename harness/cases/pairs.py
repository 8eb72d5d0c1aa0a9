"""Cases of embeddings are pairs: a probe, which is attacked, and the reference that it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from harness.cases.cases import Cases
from harness.cases.comparisons import Drawn, Verifier
from harness.cases.comparisons.drawn import Rows, Split
from harness.dataset import Dataset
from harness.plan.cells import Cell
from harness.randomness import derived_seed


def pairs_of(cell: Cell, dataset: Dataset, verifier: Verifier, *, same: bool) -> Cases:
    """Return the cases of a cell: images of the person (``same``), or of others, with each reference.

    Where a limit is set, the cases are those that come first by digest, so that they are part of more.
    """
    drawn = verifier.drawn
    found = [
        (int(probe), int(reference), drawn.people[int(reference)])
        for probe, reference in _pairs(verifier, same=same)
    ]
    keys = [
        f"{dataset.ids[probe]}\x1f{cell.goal}\x1f{target}\x1f{dataset.ids[reference]}"
        for probe, reference, target in found
    ]
    if drawn.limit is not None and drawn.limit < len(found):
        first = np.argsort([derived_seed(drawn.seed, "case", key) for key in keys], kind="stable")
        chosen = sorted(first[: drawn.limit].tolist())
        found, keys = [found[at] for at in chosen], [keys[at] for at in chosen]
    count = len(found)
    return Cases(
        cell.goal,
        np.array([probe for probe, _, _ in found], np.intp),
        tuple(target for _, _, target in found),
        np.full(count, -1, np.int64),
        np.full(count, same, np.int64),
        tuple(keys),
        np.array([reference for _, reference, _ in found], np.intp),
    )


def _pairs(verifier: Verifier, *, same: bool) -> Iterator[tuple[int, int]]:
    """Yield the probe and the reference of each case, person by person."""
    drawn, split, settings = verifier.drawn, verifier.drawn.attacked, verifier.drawn.settings
    if split.listed is not None:
        own = split.listed.part(split.listed.same == same)
        for at in np.argsort(own.references, kind="stable"):
            yield own.probes[at], own.references[at]
        return
    for person in drawn.attacked.targets:
        if same:
            probes = verifier.genuine(split, person, settings.genuine)
        else:
            probes = verifier.intruders(split, person, settings.intruders)
        yield from ((probe, ref) for ref, probe in product(verifier.references(split, person), probes))


def count_pairs(drawn: Drawn, *, same: bool) -> int:
    """Return how many cases a cell will have, whatever the model."""
    split, settings = drawn.attacked, drawn.settings
    if split.listed is not None:
        count = int(np.count_nonzero(split.listed.same == same))
    else:
        count = sum(_probes(drawn, split, person.rows, same=same) for person in split.targets)
        count *= settings.references
    return count if drawn.limit is None else min(count, drawn.limit)


def _probes(drawn: Drawn, split: Split, rows: Rows, *, same: bool) -> int:
    """Return how many probes a reference of a person with these images is attacked with."""
    if same:
        return min(drawn.settings.genuine, len(rows) - drawn.settings.references)
    return min(drawn.settings.intruders, len(split.pool) - len(rows))
