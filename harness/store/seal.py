"""A seal in a part's footer holds the checksum of the file's own bytes, and sums of its records.

The checksum is of all bytes, with zeros in its own place. It is found and compared without Parquet being
parsed, so that ten thousand parts are looked through in a second. A part that another program has written
again has other bytes; then the checksum of its records decides (``harness.store.stamp``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from harness.errors import ResultsError
from harness.store.parquet import read_parquet
from harness.store.stamp import checksum, stamp_of

_BYTES, _TALLY = b"harness.bytes", b"harness.tally"
_DIGITS = 64
_PLACE = re.compile(_BYTES + rb"\x18\x40([0-9a-f]{64})")
"""The value in the footer, which is thrift in its compact form: type, length, content."""
_SUMS = re.compile(_TALLY + rb"\x18(.)(\{[^{}]*\})", re.DOTALL)
_FOOTER = 1 << 16
_MAGIC = b"PAR1"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Seal:
    """A seal says what a part is, how many records it has, how many are errors, and how long they took."""

    cell: str | None
    shard: int | None
    """None, as the cell, where no version of the harness wrote the part."""
    cases: int
    failed: int
    took: float | None
    """Seconds from the shard's begin to its records; None where the part does not say."""


def sealed(table: pa.Table, cell: str, shard: int, took: float | None) -> pa.Table:
    """Return the records of a shard with an empty seal, which ``close_seal`` fills in the file."""
    failed = len(table) - table["error"].null_count
    seconds = None if took is None else round(took, 3)
    told = asdict(Seal(cell, shard, len(table), failed, seconds))
    text = json.dumps(told, separators=(",", ":"))
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({**known, _TALLY: text, _BYTES: b"0" * _DIGITS})


def close_seal(file: Path) -> None:
    """Write the checksum of a file's bytes into its footer, in place of the zeros that stand there."""
    with file.open("r+b") as opened:
        footer, start = _footer(opened)
        found = _PLACE.search(footer)
        assert found is not None, "this pyarrow writes the metadata of a file otherwise than in one piece"
        place = start + found.start(1)
        digest = _digest(opened, place)
        opened.seek(place)
        opened.write(digest.encode())


def seal_of(file: Path, *, whole: bool) -> tuple[Seal, bool]:
    """Return what a part's seal says, and whether its bytes were compared with it.

    Args:
        whole: compare all bytes; else the end of the file alone is looked at, which a cut-off file lacks.

    Raises:
        ResultsError: the part is damaged: it has no end, or its bytes and its records are not those that it
            was written with.
        FileNotFoundError: it is no longer there.
    """
    with file.open("rb", buffering=0) as raw:
        size = raw.seek(0, os.SEEK_END)
        opened: BinaryIO = raw
        if whole and size <= _CHUNK:  # one read is quicker than many
            raw.seek(0)
            opened = BytesIO(raw.read())
        try:
            footer, start = _footer(opened)
        except ValueError as error:
            raise ResultsError(f"{file} is damaged: {error}") from None
        sums = _SUMS.search(footer)
        if sums is not None and ord(sums[1]) == len(sums[2]):
            told = Seal(**json.loads(sums[2]))
            found = _PLACE.search(footer) if whole else None
            if found is None:
                return told, False
            place = start + found.start(1)
            opened.seek(place)
            if opened.read(_DIGITS).decode() == _digest(opened, place):
                return told, True
    return _read_seal(file, whole=whole)


def seal_of_shard(file: Path, cell: str, shard: int, *, whole: bool) -> tuple[Seal, bool]:
    """Return what ``seal_of`` returns of a part that must be one shard of one cell.

    Raises:
        ResultsError: it is damaged, or is another.
        FileNotFoundError: it is no longer there.
    """
    seal, compared = seal_of(file, whole=whole)
    if seal.cell is not None and (seal.cell, seal.shard) != (cell, shard):
        raise ResultsError(f"{file} is misplaced: it was written as shard {seal.shard} of cell {seal.cell}")
    return seal, compared


def _read_seal(file: Path, *, whole: bool) -> tuple[Seal, bool]:
    """Return what the records of a part say, where another program or an earlier version wrote it."""
    table = read_parquet(file, None if whole else {"error"})
    stamp = stamp_of(table.schema)
    if whole and stamp is not None and stamp.checksum != checksum(table):
        raise ResultsError(f"{file} is damaged: its records are not those of its checksum")
    errors = table["error"].null_count if "error" in table.column_names else len(table)
    cell, number = (None, None) if stamp is None else (stamp.cell, stamp.shard)
    return Seal(cell, number, len(table), len(table) - errors, None), whole and stamp is not None


def _footer(opened: BinaryIO) -> tuple[bytes, int]:
    """Return all of a Parquet file's footer, and where that begins.

    Raises:
        ValueError: the file has none.
    """
    size = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, size - _FOOTER))
    end = opened.read()
    length = int.from_bytes(end[-8:-4], "little") + 8
    if end[-4:] != _MAGIC or length > size:
        raise ValueError("it is no whole Parquet file")
    if length > len(end):
        opened.seek(size - length)
        end = opened.read()
    return end[-length:], size - length


def _digest(opened: BinaryIO, place: int) -> str:
    """Return the sha256 of a file's bytes, with zeros where its checksum stands."""
    digest = hashlib.sha256()
    opened.seek(0)
    left = place
    while left:
        piece = opened.read(min(left, _CHUNK))
        if not piece:
            break
        digest.update(piece)
        left -= len(piece)
    digest.update(b"0" * _DIGITS)
    opened.seek(place + _DIGITS)
    while piece := opened.read(_CHUNK):
        digest.update(piece)
    return digest.hexdigest()
