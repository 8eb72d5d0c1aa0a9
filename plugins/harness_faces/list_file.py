"""List files of CelebA have a row per image: its file name, and whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from harness.errors import DatasetError

_ROWS_AT_ONCE = 8192  # of a list file: about 1 MB of attributes, so that its tokens stay in the CPU's cache
_MOST_DIGITS = 9  # of a number in a list file: fits int32

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Table:
    """A Table is a list file: N rows of a file name and M whole numbers."""

    path: Path
    names: tuple[str, ...]  # the names of the M columns; empty if the file has no header
    ids: list[str]  # the file names, each of them once
    values: Numbers  # (N, M)
    first: int  # the number of the first row in a text editor: counted from 1, with the header

    def fail(self, row: int | np.intp, fault: str) -> NoReturn:
        """Raise DatasetError for the image in the given row, counted from 0 without the header."""
        raise DatasetError(f"{self.path}: row {self.first + row}: {self.ids[row]} {fault}")


def read_table(path: Path, *, counted: bool, width: int | None = None) -> Table:
    """Read a list file, with LF or CRLF and any number of blanks between columns.

    Args:
        path: the file.
        counted: whether its first row is the number of rows and its second row the names of the columns.
        width: the number M of columns after the file name; None means as many as there are names.

    Raises:
        DatasetError: the file cannot be read, or a row is malformed.
    """
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").rstrip()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}; restore the file") from error
    names: tuple[str, ...] = ()
    count = b""
    if counted:
        count, header, text = (*text.split(b"\n", 2), b"", b"")[:3]
        if not count.strip().isdigit():
            raise DatasetError(f'{path}: row 1 is "{_shown(count)}"; it must be the number of images')
        names = tuple(header.decode(errors="replace").split())
        for name in names:
            if names.count(name) > 1:
                raise DatasetError(f"{path}: row 2 names {name} twice; it must name each column once")
        if not names:
            raise DatasetError(f"{path}: row 2 is empty; it must name each column once")
    first = 3 if counted else 1
    table = Table(path, names, *_parse(text, len(names) if width is None else width, path, first), first)
    rows = len(table.ids)
    if counted and int(count) != rows:
        remedy = f"write {rows} there, or restore the file"
        raise DatasetError(f"{path}: row 1 says {int(count)} images, but {rows} are listed; {remedy}")
    if not rows:
        raise DatasetError(f"{path}: lists no images; restore the file")
    if len(set(table.ids)) < rows:
        seen: dict[str, int] = {}
        for row, sample_id in enumerate(table.ids):
            if seen.setdefault(sample_id, row) != row:
                table.fail(row, f"is listed in row {first + seen[sample_id]} already; remove one of the two")
    return table


def _parse(text: bytes, width: int, path: Path, first: int) -> tuple[list[str], Numbers]:
    """Return file names (N) and whole numbers (N, width) of the rows of ``text``, numbered from ``first``.

    It works on the positions of all tokens of many rows at once: the full attribute file has 8 million.
    """
    buffer = np.frombuffer(text + b"\n" if text else b"", dtype=np.uint8)
    ends_of_rows = np.flatnonzero(buffer == ord("\n"))
    ids: list[str] = []
    values = np.empty((len(ends_of_rows), width), dtype=np.int32)
    begin = 0
    for row in range(0, len(ends_of_rows), _ROWS_AT_ONCE):
        ends = ends_of_rows[row : row + _ROWS_AT_ONCE] - begin
        chunk = buffer[begin : begin + ends[-1] + 1]
        begin += len(chunk)
        ink = np.concatenate(([False], chunk > ord(" ")))  # False at a chunk's last byte, a line feed
        edges = np.flatnonzero(ink[1:] != ink[:-1])
        starts, stops = edges[0::2], edges[1::2]  # the bounds of each token
        tokens = np.diff(np.searchsorted(starts, ends), prepend=0)  # the number of tokens in each row
        for at in np.flatnonzero(tokens != width + 1):
            remedy = f"it must have {width + 1}: the file name and {width} value{'s' * (width != 1)}"
            raise DatasetError(f"{path}: row {first + row + at} has {tokens[at]} columns; {remedy}")
        starts, stops = starts.reshape(-1, width + 1), stops.reshape(-1, width + 1)
        numbers, malformed = _whole_numbers(chunk, starts[:, 1:], stops[:, 1:])
        for at, column in np.argwhere(malformed):
            token = _shown(chunk[starts[at, column + 1] : stops[at, column + 1]].tobytes())
            remedy = f"it must be a whole number of at most {_MOST_DIGITS} digits"
            raise DatasetError(f'{path}: row {first + row + at}: column {column + 2} is "{token}"; {remedy}')
        values[row : row + len(ends)] = numbers
        raw = chunk.tobytes()
        spans = zip(starts[:, 0].tolist(), stops[:, 0].tolist(), strict=True)
        ids += [raw[start:stop].decode(errors="replace") for start, stop in spans]
    return ids, values


def _whole_numbers(
    chunk: npt.NDArray[np.uint8], starts: npt.NDArray[np.intp], stops: npt.NDArray[np.intp]
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Parse the tokens between ``starts`` and ``stops``; return the numbers, and which are malformed."""
    negative = chunk[starts] == ord("-")
    at = starts + (negative | (chunk[starts] == ord("+")))
    digits = stops - at
    malformed = (digits < 1) | (digits > _MOST_DIGITS)
    numbers = np.zeros(starts.shape, dtype=np.int32)
    for place in range(min(_MOST_DIGITS, int(digits.max(initial=0)))):
        within = digits > place
        # uint8 wraps below "0", so that one comparison finds every character that is not a digit
        digit = chunk[np.minimum(at + place, len(chunk) - 1)] - np.uint8(ord("0"))
        malformed |= within & (digit > 9)
        numbers = np.where(within, numbers * 10 + digit, numbers)
    return np.where(negative, -numbers, numbers), malformed


def _shown(token: bytes) -> str:
    return token[:40].decode(errors="replace").strip()
