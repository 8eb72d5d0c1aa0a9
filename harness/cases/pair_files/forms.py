"""The forms of files of pairs are told apart and read here: those of LFW, RFW, CALFW and CPLFW, and CSV.

- LFW's ``pairs.txt``: a header "folds pairs", and rows of 3 columns (a person and the numbers of two of his
  images) or 4 (a person and a number, twice); RFW's have the rows alone.
- CALFW and CPLFW: two rows a pair, each a file and a number: 0 for two persons, and else 1 or the fold.
- CSV: the columns image_a, image_b, same and, if there are folds, fold.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NoReturn

from harness.errors import DatasetError, nearest

COLUMNS = ("image_a", "image_b", "same", "fold")
"""The columns of a CSV of pairs; the last may be left out."""
_SAME = {"1": True, "true": True, "0": False, "false": False}
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)

Numbered = tuple[str, int]
"""A person and the number of one of his images."""
Lines = Sequence[tuple[int, str]]
"""The rows that are not blank, with their numbers in a text editor."""


@dataclass(frozen=True)
class FilePair:
    """A FilePair is a pair as a file has it, and the row where it begins."""

    row: int
    images: tuple[str | Numbered, str | Numbered]
    same: bool
    fold: int | None = None


def pairs_in(file: Path) -> list[FilePair]:
    """Return the pairs of a file, at least one.

    Raises:
        DatasetError: the file cannot be read, or a row is malformed, or contradicts another one.
    """
    lines = _lines(file)
    if not lines:
        raise DatasetError(f"{file}: holds no pairs; write image_a,image_b,same and a row for each pair")
    if "," in lines[0][1]:
        found = list(_of_csv(file, lines))
    elif len(_cells(lines[0][1])) == 2 and not _is_header(lines[0][1]):
        found = _of_two_rows(file, lines)
    else:
        found = _of_numbers(file, lines)
    if not found:
        raise DatasetError(f"{file}: holds a header and no pairs; add a row for each pair")
    return found


def fail(file: Path, row: int, fault: str) -> NoReturn:
    """Raise DatasetError for a row; the fault begins with a verb."""
    raise DatasetError(f"{file}: row {row} {fault}")


def _lines(file: Path) -> Lines:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read: {error.strerror}; name a file of pairs") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as some spreadsheets save text
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{file}: row {row} is not UTF-8; save the file as UTF-8") from None
    # splitlines would also end rows at characters that names may hold
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, row) for number, row in enumerate(rows, 1) if row.strip()]


def _cells(line: str) -> list[str]:
    """Return the columns of a row: names may hold blanks where tabs separate them."""
    return [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split()) if cell.strip()]


def _is_header(line: str) -> bool:
    cells = _cells(line)
    return len(cells) <= 2 and all(map(_NUMBER.fullmatch, cells))


def _of_csv(file: Path, lines: Lines) -> Iterator[FilePair]:
    """Yield the pairs of a CSV, with a header in any order or with none."""
    reader = csv.reader((line for _, line in lines), strict=True, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for (number, _), cells in zip(lines, reader, strict=False):
            rows.append((number, [cell.strip() for cell in cells]))
            if reader.line_num != len(rows):
                fail(file, number, "has a quoted name that goes on in the next; write each pair in one row")
    except csv.Error as error:
        fail(file, lines[len(rows)][0], f"is no row of a CSV: {error}; write {','.join(COLUMNS[:3])}")
    columns, body = _header(file, *rows[0]), rows[1:]
    if columns is None:
        columns, body = COLUMNS[: max(3, len(rows[0][1]))], rows
    for number, cells in body:
        if len(cells) != len(columns):
            fail(file, number, f"has {len(cells)} columns; it must have {len(columns)}: {','.join(columns)}")
        values = dict(zip(columns, cells, strict=True))
        same = _SAME.get(values["same"].casefold())
        if same is None:
            remedy = f"it must be 1 or 0, in the columns {','.join(columns)}"
            fail(file, number, f'has same = "{values["same"]}"; {remedy}')
        fold = values.get("fold")
        if fold is not None and not _NUMBER.fullmatch(fold):
            fail(file, number, f'has fold = "{fold}"; it must be a whole number')
        images = values["image_a"], values["image_b"]
        yield FilePair(number, images, same, None if fold is None else int(fold))


def _header(file: Path, number: int, cells: list[str]) -> tuple[str, ...] | None:
    """Return the columns that the first row of a CSV names, or None where it is a pair already."""
    names = tuple(cell.casefold() for cell in cells)
    if not set(names) & set(COLUMNS):
        if len(cells) in (3, 4):
            return None
        fail(file, number, f"has {len(cells)} columns; write {','.join(COLUMNS[:3])} or {','.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS:
            fail(file, number, f'has the unknown column "{name}"; {nearest(name, COLUMNS)}')
        if names.count(name) > 1:
            fail(file, number, f"names {name} twice; name each column once")
    for name in COLUMNS[:3]:
        if name not in names:
            fail(file, number, f"has no column {name}; write {','.join(COLUMNS[:3])}")
    return names


def _of_two_rows(file: Path, lines: Lines) -> list[FilePair]:
    """Return the pairs of CALFW and CPLFW."""
    rows = []
    for number, line in lines:
        cells = _cells(line)
        if len(cells) != 2 or not _NUMBER.fullmatch(cells[1]):
            fail(file, number, f'is "{line.strip()[:60]}"; it must be a file and 0, 1 or the fold')
        rows.append((number, cells[0], int(cells[1])))
    pairs = []
    for (row, a, flag), (next_row, b, other) in zip(rows[::2], rows[1::2], strict=False):
        if flag != other:
            remedy = "the two rows of a pair must say the same"
            fail(file, row, f"says {flag}, and row {next_row} {other}; {remedy}")
        pairs.append(FilePair(row, (a, b), flag > 0, flag))
    if len(rows) % 2:
        fail(file, rows[-1][0], "has no second image; a pair is two rows")
    folds = sorted({pair.fold or 0 for pair in pairs if pair.same})
    if not folds or folds[-1] < 2:  # 1 says "the same person" only
        return [FilePair(pair.row, pair.images, pair.same) for pair in pairs]
    impostors = [pair for pair in pairs if not pair.same]
    dealt = {pair.row: folds[place * len(folds) // len(impostors)] for place, pair in enumerate(impostors)}
    return [FilePair(pair.row, pair.images, pair.same, dealt.get(pair.row, pair.fold)) for pair in pairs]


def _of_numbers(file: Path, lines: Lines) -> list[FilePair]:
    """Return the pairs of LFW, with or without a header."""
    header = lines[0] if _is_header(lines[0][1]) else None
    pairs = [_numbered(file, number, line) for number, line in lines[header is not None :]]
    if header is None:
        return _with_folds(pairs, _alternating([pair.same for pair in pairs]))
    number, line = header
    *first, size = map(int, _cells(line))
    folds = first[0] if first else 1
    rows = 2 * folds * size
    said = f"row {number} says {folds} x {size} genuine and {size} impostor pairs"
    odd = next((pair for at, pair in enumerate(pairs) if size and pair.same != (at // size % 2 == 0)), None)
    if len(pairs) != rows:
        where = f"; the order is broken from row {odd.row} on" if odd else ""
        raise DatasetError(f"{file}: {said}, so {rows} rows, but {len(pairs)} follow{where}; correct one")
    folds_of = [pairs[start : start + 2 * size] for start in range(0, rows, 2 * size or 1)]
    if odd is not None and any(sum(pair.same for pair in fold) != size for fold in folds_of):
        fail(file, odd.row, f"is {kind(odd)}, but {said}, in this order; correct one")
    return _with_folds(pairs, size * 2 if folds > 1 else None)


def _numbered(file: Path, number: int, line: str) -> FilePair:
    cells = _cells(line)
    if len(cells) not in (3, 4):
        remedy = "write NAME, number, number for one person, or NAME, number, NAME, number for two"
        fail(file, number, f"has {len(cells)} columns; {remedy}")
    at = (1, 2) if len(cells) == 3 else (1, 3)
    for place in at:
        if not _NUMBER.fullmatch(cells[place]):
            remedy = "it must be the number of an image"
            fail(file, number, f'has "{cells[place]}" in column {place + 1}; {remedy}')
    first, second = (int(cells[place]) for place in at)
    other = cells[0] if len(cells) == 3 else cells[2]
    if len(cells) == 4 and other == cells[0]:
        remedy = f"write {other} {first} {second} if it is one person"
        fail(file, number, f"has four columns, for two persons, but both are {other}; {remedy}")
    return FilePair(number, ((cells[0], first), (other, second)), len(cells) == 3)


def _alternating(same: Sequence[bool]) -> int | None:
    """Return the size of the folds that rows make by their order, or None where they make none."""
    runs = [(kind, len(list(run))) for kind, run in groupby(same)]
    genuine, impostor = ({length for kind, length in runs if kind is wanted} for wanted in (True, False))
    if not runs[0][0] or len(runs) < 4 or len(runs) % 2 or len(genuine) != 1 or len(impostor) != 1:
        return None
    return genuine.pop() + impostor.pop()


def _with_folds(pairs: list[FilePair], size: int | None) -> list[FilePair]:
    if size is None:
        return pairs
    return [FilePair(pair.row, pair.images, pair.same, at // size + 1) for at, pair in enumerate(pairs)]


def kind(pair: FilePair) -> str:
    """Return what a pair is called."""
    return "a genuine pair" if pair.same else "an impostor pair"
