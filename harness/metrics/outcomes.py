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
NUMBERS = ("valid", "surrogate_success", "l2", "linf", "pass", "forwards", "backwards", "seconds")
COLUMNS = (*OUTCOMES, *NUMBERS)
"""The record columns that cases are made of."""

_TARGET_BITS = 32  # of a key, the lower half


@dataclass(frozen=True)
class Outcomes:
    """Attacked cases, as arrays of one length."""

    keys: Keys
    """Image code and target code in one number; equal for equal cases within one codebook."""
    covered: Flags
    """Has an outcome: a record without error."""
    known: Flags
    """Whether it was right before the attack is known, be the attack in error or not."""
    correct: Flags
    """Right before the attack; False where not known."""
    success: Flags
    """The attack succeeded; False where not covered."""
    values: dict[str, Floats]
    """The columns of NUMBERS; NaN where not measured."""

    @property
    def images(self) -> Keys:
        """The code of the image that each case is of."""
        return image_codes(self.keys)


@dataclass(frozen=True)
class Codebook:
    """Codes of sample ids and targets, in the order in which they were met; grows as records are read."""

    samples: dict[str, int] = field(default_factory=dict)
    targets: dict[str | None, int] = field(default_factory=lambda: {None: 0})


def image_codes(keys: Keys) -> Keys:
    """The image's part of the keys."""
    return keys >> _TARGET_BITS


def target_codes(keys: Keys) -> Keys:
    """The target's part of the keys."""
    return keys & ((1 << _TARGET_BITS) - 1)


def from_table(table: pa.Table, codebook: Codebook) -> Outcomes:
    """The cases of a table of records; columns that it lacks are not measured."""
    n = table.num_rows
    samples = _encode(table.column("sample_id"), codebook.samples)
    targets = (
        _encode(table.column("target"), codebook.targets)
        if "target" in table.column_names
        else np.zeros(n, np.int64)
    )
    values = {name: numbers(table, name) for name in ("clean_correct", "success", *NUMBERS)}
    correct, success = values.pop("clean_correct"), values.pop("success")
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
        values=values,
    )


def as_outcomes(records: pd.DataFrame | Outcomes) -> Outcomes:
    """The cases of a frame of records, each row being a case of its own; cases as they are."""
    if isinstance(records, Outcomes):
        return records
    import pyarrow as pa

    held = [name for name in COLUMNS if name in records.columns]
    return from_table(pa.Table.from_pandas(records[held], preserve_index=False), Codebook())


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """The cases of several cells, one after the other."""
    if len(parts) == 1:
        return parts[0]
    fields = ("keys", "covered", "known", "correct", "success")
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in fields
    }
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in NUMBERS}
    return Outcomes(**arrays, values=values)


def _encode(column: pa.ChunkedArray, codes: dict[Any, int]) -> Keys:
    """The codes of a column of strings, new strings getting the next ones."""
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


def numbers(table: pa.Table, name: str) -> Floats:
    """A column of numbers or flags as float32, NaN where null or absent."""
    import pyarrow as pa

    if name not in table.column_names or pa.types.is_null(table.column(name).type):
        return np.full(table.num_rows, np.nan, np.float32)
    column: Floats = table.column(name).cast(pa.float32()).to_numpy().astype(np.float32, copy=False)
    return column
