"""A stamp in a part's metadata says which cell and shard its records are of, and holds their checksum.

The checksum is of the records, not of the file's bytes: another version of pyarrow, another compression or
other row groups give the same one. It shows files that were mixed up or edited. It cannot show an edit by
somebody who computes it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_CELL, _SHARD, _CHECKSUM = b"harness.cell", b"harness.shard", b"harness.checksum"
_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


@dataclass(frozen=True)
class Stamp:
    """A stamp says what a part is."""

    cell: str
    shard: int
    checksum: str
    """As 64 hexadecimal digits."""


def stamped(table: pa.Table, cell: str, shard: int) -> pa.Table:
    """Return the records of a shard with its stamp, which is written to the file with them."""
    stamp = {_CELL: cell, _SHARD: str(shard), _CHECKSUM: checksum(table)}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **stamp})


def stamp_of(schema: pa.Schema) -> Stamp | None:
    """Return the stamp of a part that was read; None of one without, as versions before this one wrote."""
    found = schema.metadata or {}
    try:
        cell, shard, digest = (found[name].decode() for name in (_CELL, _SHARD, _CHECKSUM))
        return Stamp(cell, int(shard), digest)
    except (KeyError, ValueError):
        return None


def checksum(table: pa.Table) -> str:
    """Return the checksum of all columns of a table, in their order, and of all rows, in theirs."""
    digest = hashlib.sha256(b"records 1")
    for name in table.column_names:
        _text(digest, name)
        _column(digest, _whole(table.column(name)))
    return digest.hexdigest()


def checksum_of_cell(stamps: Mapping[int, Stamp | None]) -> str | None:
    """Return one checksum of the shards of a cell; None where there is none, or one without a stamp."""
    known = {shard: stamp.checksum for shard, stamp in stamps.items() if stamp is not None}
    if not stamps or len(known) < len(stamps):
        return None
    lines = "\n".join(f"{shard} {known[shard]}" for shard in sorted(known))
    return hashlib.sha256(lines.encode()).hexdigest()


def _column(digest: Any, values: pa.Array) -> None:
    """Add the values of a column, in a form that does not depend on how they lie in memory."""
    kind = values.type
    held = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else np.ones(0, np.bool_)
    _numbers(digest, held)
    if pa.types.is_boolean(kind):
        _numbers(digest, values.fill_null(False).to_numpy(zero_copy_only=False))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        _numbers(digest, values.fill_null(0).to_numpy(zero_copy_only=False))
    elif kind in _TEXTS:
        _bytes(digest, values)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _numbers(digest, pc.list_value_length(values).fill_null(0).cast(pa.int64()).to_numpy())
        _column(digest, values.flatten())
    else:  # of no column that the harness writes
        _text(digest, repr(values.to_pylist()))


def _bytes(digest: Any, values: pa.Array) -> None:
    """Add a column of bytes or texts: how long each is, and all of them one after the other."""
    raw = values.cast(pa.large_binary()).fill_null(b"")
    _numbers(digest, pc.binary_length(raw).cast(pa.int64()).to_numpy())
    _, offsets, content = raw.buffers()
    if content is not None and len(raw):
        ends = np.frombuffer(offsets, np.int64, len(raw) + 1, 8 * raw.offset)
        digest.update(memoryview(content)[ends[0] : ends[-1]])


def _numbers(digest: Any, values: Any) -> None:
    """Add an array of numbers: its type, its length and its bytes, the lowest first."""
    lowest_first = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    _text(digest, f"{lowest_first.dtype.str} {lowest_first.size}")
    digest.update(lowest_first.tobytes())


def _text(digest: Any, text: str) -> None:
    encoded = text.encode()
    digest.update(len(encoded).to_bytes(8, "little") + encoded)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.num_chunks == 1:
        return column.chunk(0)
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
