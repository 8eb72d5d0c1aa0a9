"""Outcomes: cases as arrays, what the core metrics read of records at a few bytes a case.

Strings are replaced by codes column by column, never row by row, so that boards over millions of records
stay cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
CLOSEST = {"l2": np.fmin, "linf": np.fmin, "pass": np.fmax}
"""How the adversarial nearest to its image is told among several; PASS is a similarity."""

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


@dataclass(frozen=True)
class Worst:
    """What all attacks together did, one entry per distinct case, by ascending key.

    Whether a case was right before the attack does not depend on the attack; should cells disagree, one that
    says wrong is believed, so that disagreement never counts as robust.
    """

    keys: Keys
    known: Flags
    correct: Flags
    """Right before the attack; True where not known."""
    success: Flags
    unresolved: Flags
    """Some attack on it has no outcome."""
    values: dict[str, Floats]
    """Of CLOSEST, those of the nearest successful adversarial."""


def worst_of(cases: Outcomes) -> Worst:
    """The distinct cases of one cell."""
    keys, at = np.unique(cases.keys, return_inverse=True)
    values = {}
    for name, nearer in CLOSEST.items():
        values[name] = np.full(keys.size, np.nan, np.float32)
        nearer.at(values[name], at[cases.success], cases.values[name][cases.success])
    correct = np.ones(keys.size, np.bool_)
    correct[at[cases.known & ~cases.correct]] = False
    flags = {}
    for name, rows in (("known", cases.known), ("success", cases.success), ("unresolved", ~cases.covered)):
        flags[name] = np.zeros(keys.size, np.bool_)
        flags[name][at[rows]] = True
    return Worst(keys=keys, correct=correct, values=values, **flags)


def worse(one: Worst, other: Worst) -> Worst:
    """The pointwise worst case of two, over the union of their cases."""
    if not np.array_equal(one.keys, other.keys):
        keys = np.union1d(one.keys, other.keys)
        one, other = _spread(one, keys), _spread(other, keys)
    return Worst(
        keys=one.keys,
        known=one.known | other.known,
        correct=one.correct & other.correct,
        success=one.success | other.success,
        unresolved=one.unresolved | other.unresolved,
        values={name: nearer(one.values[name], other.values[name]) for name, nearer in CLOSEST.items()},
    )


def _spread(worst: Worst, keys: Keys) -> Worst:
    """The same over more cases, on which nothing was tried."""
    at = np.searchsorted(keys, worst.keys)

    def over(values: npt.NDArray[Any], filled: Any) -> npt.NDArray[Any]:
        spread = np.full(keys.size, filled, values.dtype)
        spread[at] = values
        return spread

    return Worst(
        keys=keys,
        known=over(worst.known, False),
        correct=over(worst.correct, True),
        success=over(worst.success, False),
        unresolved=over(worst.unresolved, False),
        values={name: over(values, np.nan) for name, values in worst.values.items()},
    )


def without_records(keys: Keys, seen: Keys) -> Flags:
    """Which cases an unfinished cell may have planned and has no record of, ``seen`` being those it has.

    The plan's cases are not stored, so these are all cases of the targets that the cell attacks, and simply
    all where it has no record yet: too many rather than too few, since they are not to count as robust.
    """
    missing = ~np.isin(keys, seen)
    if seen.size:
        missing &= np.isin(target_codes(keys), np.unique(target_codes(seen)))
    return missing


def concluded(worst: Worst, unfinished: Iterable[Keys]) -> Outcomes:
    """The worst case as cases; ``unfinished`` holds the keys recorded by each cell that lacks records.

    A case is covered once an attack succeeded on it, or when every attack on it has an outcome: with an
    attack in error and no success it is not known to be robust.
    """
    unresolved = worst.unresolved.copy()
    for seen in unfinished:
        unresolved |= without_records(worst.keys, seen)
    nothing = np.full(worst.keys.size, np.nan, np.float32)
    return Outcomes(
        keys=worst.keys,
        covered=worst.known & (worst.success | ~unresolved),
        known=worst.known,
        correct=worst.known & worst.correct,
        success=worst.success,
        values={name: worst.values.get(name, nothing) for name in NUMBERS},
    )


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
