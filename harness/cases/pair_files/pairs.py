"""Pairs of images to compare are read from files that people have, as sample ids of a data set."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.cases.pair_files.forms import COLUMNS, FilePair, Numbered, fail, kind, pairs_in
from harness.dataset import Dataset
from harness.errors import nearest
from harness.files import say

HINTED = 20_000
"""With more images than this, none is looked for whose name is near to an unknown one: it takes seconds."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs are N comparisons of two images each, by their sample ids."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    same: npt.NDArray[np.bool_]
    """(N,): whether both images show one person."""
    fold: npt.NDArray[np.int64] | None
    """(N,): the fold of each comparison; None where there are no folds."""

    def __len__(self) -> int:
        return len(self.a)


def read_pairs(path: str | Path, dataset: Dataset) -> Pairs:
    """Return the pairs of a file as sample ids of a data set.

    A file that names no folds has them where its rows alternate as LFW's do: so many genuine pairs, then so
    many impostor pairs, and this more than once. CALFW numbers the folds of genuine pairs only; its impostor
    pairs are dealt to the same folds in the order of the file, in equal shares.

    Pairs that the file repeats are kept, since others count them too; this is said.

    Raises:
        DatasetError: the file cannot be read, or a row is malformed, contradicts another one or the data set,
            or names what is not there; the message names the file and the row.
    """
    file = Path(path)
    return _resolved(file, pairs_in(file), dataset)


def as_csv(pairs: Pairs) -> str:
    """Return pairs as the text of a CSV that ``read_pairs`` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS if pairs.fold is not None else COLUMNS[:3])
    folds = [()] * len(pairs) if pairs.fold is None else [(int(fold),) for fold in pairs.fold]
    for a, b, same, fold in zip(pairs.a, pairs.b, pairs.same, folds, strict=True):
        writer.writerow((a, b, int(same), *fold))
    return text.getvalue()


def _resolved(file: Path, pairs: Sequence[FilePair], dataset: Dataset) -> Pairs:
    """Return pairs with the sample ids of a data set."""
    by_name: dict[str, list[str]] = {}
    if not all(isinstance(image, tuple) for pair in pairs for image in pair.images):
        for sample_id in dataset.ids:
            by_name.setdefault(sample_id.rpartition("/")[2], []).append(sample_id)
    sides: tuple[list[str], list[str]] = ([], [])
    faults: list[tuple[int, str]] = []
    for pair in pairs:
        for image, side in zip(pair.images, sides, strict=True):
            found = _found(image, dataset, by_name)
            if found is None:
                faults.append((pair.row, _missing(image, dataset, by_name) if not faults else ""))
            side.append(found or "")
    if faults:
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        fault, _, remedy = faults[0][1].partition("; ")
        fail(file, faults[0][0], f"{fault}{others}; {remedy}")
    _check(file, pairs, sides, dataset)
    folds = None if pairs[0].fold is None else np.array([pair.fold for pair in pairs], np.int64)
    return Pairs(tuple(sides[0]), tuple(sides[1]), np.array([pair.same for pair in pairs], np.bool_), folds)


def _found(name: str | Numbered, dataset: Dataset, by_name: dict[str, list[str]]) -> str | None:
    """Return the sample id that is meant: the name itself, or the only id that ends in it after a slash."""
    if isinstance(name, tuple):
        found = dataset.numbered(*name) if dataset.numbered is not None else None
        return found if found in dataset.row_of else None
    if name in dataset.row_of:
        return name
    plain = name.replace("\\", "/").removeprefix("./")
    candidates = by_name.get(plain.rpartition("/")[2], ())
    ends = [sample_id for sample_id in candidates if f"/{sample_id}".endswith(f"/{plain}")]
    return ends[0] if len(ends) == 1 else None


def _missing(image: str | Numbered, dataset: Dataset, by_name: dict[str, list[str]]) -> str:
    if isinstance(image, tuple):
        person, number = image
        if dataset.numbered is None:
            remedy = f"write a CSV of sample ids, {','.join(COLUMNS[:3])}"
            return f'names "{person} {number}", but {dataset.name} numbers no images of a person; {remedy}'
        names = {*dataset.identity_names, *(name.rpartition("/")[2] for name in dataset.identity_names)}
        if person in names:
            remedy = "add it, or remove the row"
            return f"names image {number} of {person}, which is not in {dataset.name}; {remedy}"
        hint = nearest(person, names)
        return f'names the person "{person}", who is not in {dataset.name}; {hint}'
    several = by_name.get(image.rpartition("/")[2], ())
    if len(several) > 1 and f"/{several[0]}".endswith(f"/{image}"):
        remedy = f"write the whole sample id, as {several[0]}"
        return f"names {image}, as {len(several)} images of {dataset.name} are named; {remedy}"
    hint = nearest(image, dataset.ids) if len(dataset) <= HINTED else f"an id there is {dataset.ids[0]}"
    return f'names "{image}", which is no image of {dataset.name}; {hint}'


def _check(
    file: Path, pairs: Sequence[FilePair], sides: tuple[Sequence[str], Sequence[str]], dataset: Dataset
) -> None:
    """Refuse pairs that contradict each other or the data set, and say which are repeated."""
    seen: dict[tuple[str, str], FilePair] = {}
    repeated = []
    for pair, a, b in zip(pairs, *sides, strict=True):
        if a == b:
            fail(file, pair.row, f"compares {a} with itself; name another image")
        before = seen.setdefault((min(a, b), max(a, b)), pair)
        if before.same != pair.same:
            fail(file, pair.row, f"is {kind(pair)}, and {kind(before)} in row {before.row}; correct one")
        if before is not pair:
            repeated.append((pair.row, before.row))
        if dataset.identities is not None:
            persons = [int(dataset.identities[dataset.row_of[image]]) for image in (a, b)]
            if (persons[0] == persons[1]) != pair.same:
                shown = "one person" if persons[0] == persons[1] else "two persons"
                said = f"is {kind(pair)}, but {a} and {b} show {shown} in {dataset.name}"
                fail(file, pair.row, f"{said}; correct one")
    if repeated:
        others = f", and {len(repeated) - 1} more" if len(repeated) > 1 else ""
        row, first = repeated[0]
        say(f"{file}: row {row} repeats row {first}{others}; each counts, as the file says")
