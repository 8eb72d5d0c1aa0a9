"""Outcomes hold cases as arrays: what the core metrics read of records, at a few bytes a case.

Strings are replaced by codes column by column, never row by row, so that boards over millions of records
stay cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Flags = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

OUTCOMES = ("sample_id", "target", "clean_correct", "success", "error")
"""The record columns that every case is made of."""

_TARGET_BITS = 32  # of a key, the lower half


@dataclass(frozen=True)
class Outcomes:
    """Attacked cases, as arrays of one length."""

    keys: Keys
    """Image code and target code in one number; equal for equal cases within one codebook."""
    covered: Flags
    """The case has an outcome: a record without error."""
    known: Flags
    """It is known whether the case was classified correctly before the attack; errors may be among them."""
    correct: Flags
    """The case was classified correctly before the attack; False where that is not known."""
    success: Flags
    """The attack succeeded; False where the case is not covered."""
    values: dict[str, Floats]
    """Other record columns; NaN where not measured."""

    @property
    def images(self) -> Keys:
        """Return the code of the image that each case is of."""
        return image_codes(self.keys)


@dataclass(frozen=True)
class Codebook:
    """Codes of sample ids and targets, in the order in which they were met; it grows as records are read."""

    samples: dict[str, int] = field(default_factory=dict)
    targets: dict[str | None, int] = field(default_factory=lambda: {None: 0})


def image_codes(keys: Keys) -> Keys:
    """Return the image's part of the keys."""
    return keys >> _TARGET_BITS


def target_codes(keys: Keys) -> Keys:
    """Return the target's part of the keys."""
    return keys & ((1 << _TARGET_BITS) - 1)


def from_table(table: pa.Table, codebook: Codebook, values: Sequence[str]) -> Outcomes:
    """Return the cases of a table of records, with the values of some columns; it may lack any of these."""
    n = table.num_rows
    samples = _encode(table.column("sample_id"), codebook.samples)
    targets = (
        _encode(table.column("target"), codebook.targets)
        if "target" in table.column_names
        else np.zeros(n, np.int64)
    )
    correct, success = numbers(table, "clean_correct"), numbers(table, "success")
    known = ~np.isnan(correct)
    covered = known & ~np.isnan(success)
    if "error" in table.column_names:
        covered &= table.column("error").is_null().to_numpy()
    return Outcomes(
        keys=(samples << _TARGET_BITS) | targets,
        covered=covered,
        known=known,
        correct=known & (correct > 0),
        success=covered & (success > 0),
        values={name: numbers(table, name) for name in values},
    )


def as_outcomes(records: pd.DataFrame | Outcomes, *values: str) -> Outcomes:
    """Return the cases of a frame of records, each row being a case of its own; cases as they are."""
    if isinstance(records, Outcomes):
        return records
    import pyarrow as pa

    held = [name for name in (*OUTCOMES, *values) if name in records.columns]
    return from_table(pa.Table.from_pandas(records[held], preserve_index=False), Codebook(), values)


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Return the cases of several cells, one after the other; all have the same columns of values."""
    if len(parts) == 1:
        return parts[0]
    fields = ("keys", "covered", "known", "correct", "success")
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in fields
    }
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    return Outcomes(**arrays, values=values)


def numbers(table: pa.Table, name: str) -> Floats:
    """Return a column of numbers or flags as float32, NaN where null or absent."""
    import pyarrow as pa

    if name not in table.column_names or pa.types.is_null(table.column(name).type):
        return np.full(table.num_rows, np.nan, np.float32)
    column: Floats = table.column(name).cast(pa.float32()).to_numpy().astype(np.float32, copy=False)
    return column


def _encode(column: pa.ChunkedArray, codes: dict[Any, int]) -> Keys:
    """Return the codes of a column of strings; new strings get the next ones."""
    import pyarrow as pa

    if not len(column):
        return np.zeros(0, np.int64)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # older pyarrow, for some types
        encoded = encoded.chunk(0)
    known = [codes.setdefault(text, len(codes)) for text in encoded.dictionary.to_pylist()]
    lookup = np.array([*known, codes.get(None, 0)], np.int64)  # the last one for null
    at = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    coded: Keys = lookup[at]
    return coded
