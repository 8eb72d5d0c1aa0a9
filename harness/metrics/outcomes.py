"""Outcomes hold cases as arrays: what the core metrics read of records, at a few bytes a case.

Strings are replaced by codes column by column, never row by row, so that boards over millions of records
stay cheap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.errors import NO_ANSWER, NO_CLEAN_ANSWER, NO_IMAGES, UNUSABLE_IMAGE, ContractError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Flags = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

OUTCOMES = ("sample_id", "target", "clean_correct", "success", "error", "fault")
"""The record columns that every case is made of."""

_TARGET_BITS = 32  # of a key, the lower half


@dataclass(frozen=True)
class Outcomes:
    """Attacked cases, as arrays of one length."""

    keys: Keys
    """Image code and target code in one number; equal for equal cases within one codebook."""
    clusters: Keys
    """The code of the person that the image shows where that is known, else of the image: cases of one
    cluster are no independent evidence."""
    covered: Flags
    """The case has an outcome: a record without error, or with one that is the attack's or the model's own
    failure (see ``from_table``)."""
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

    @property
    def open(self) -> Flags:
        """Say which cases have a record without an outcome."""
        return ~self.covered


@dataclass(frozen=True)
class Codebook:
    """Codes of sample ids and targets, in the order in which they were met; it grows as records are read."""

    people: Mapping[str, Any] = field(default_factory=dict)
    """The person that an image shows, or what else makes a cluster of it, by sample id, where known."""
    samples: dict[str, int] = field(default_factory=dict)
    targets: dict[str | None, int] = field(default_factory=lambda: {None: 0})
    _clusters: list[int] = field(default_factory=list)
    _known: dict[Any, int] = field(default_factory=dict)

    def clusters(self, keys: Keys) -> Keys:
        """Return the codes of the clusters of some cases."""
        for sample in list(self.samples)[len(self._clusters) :]:
            label = ("person", self.people[sample]) if sample in self.people else ("image", sample)
            self._clusters.append(self._known.setdefault(label, len(self._known)))
        return np.array(self._clusters, np.int64)[image_codes(keys)]


def image_codes(keys: Keys) -> Keys:
    """Return the image's part of the keys."""
    return keys >> _TARGET_BITS


def from_table(table: pa.Table, codebook: Codebook, values: Sequence[str]) -> Outcomes:
    """Return the cases of a table of records, with the values of some columns; it may lack any of these.

    An error is not always without an outcome. Images that cannot be used are the attack's failure: it did not
    succeed. An answer that is not finite is the model's: it is not correct, neither on the original nor on a
    valid adversarial. What else went wrong leaves the case open.
    """
    n = table.num_rows
    samples = _encode(table.column("sample_id"), codebook.samples)
    targets = (
        _encode(table.column("target"), codebook.targets)
        if "target" in table.column_names
        else np.zeros(n, np.int64)
    )
    correct, success = numbers(table, "clean_correct"), numbers(table, "success")
    known = ~np.isnan(correct)
    decided = ~np.isnan(success)
    hit = success > 0
    errors = _errors(table)
    if errors is not None:
        dumb, mute, unusable = (errors == name for name in (NO_CLEAN_ANSWER, NO_ANSWER, UNUSABLE_IMAGE))
        known |= dumb
        correct = np.where(dumb, np.float32(0), correct)
        hit = np.where(errors == "", hit, mute & _within_bounds(table))
        decided = np.where(errors == "", decided, dumb | mute | unusable)
    keys = (samples << _TARGET_BITS) | targets
    return Outcomes(
        keys=keys,
        clusters=codebook.clusters(keys),
        covered=known & decided,
        known=known,
        correct=known & (correct > 0),
        success=known & decided & hit,
        values={name: numbers(table, name) for name in values},
    )


def as_outcomes(records: pd.DataFrame | Outcomes, *values: str) -> Outcomes:
    """Return the cases of a frame of records, each row being a case of its own; cases as they are."""
    if isinstance(records, Outcomes):
        return records
    import pyarrow as pa

    held = [name for name in (*OUTCOMES, *values) if name in records.columns]
    people = {}
    if "cluster" in records.columns:
        people = dict(zip(records["sample_id"], records["cluster"], strict=True))
    return from_table(pa.Table.from_pandas(records[held], preserve_index=False), Codebook(people), values)


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Return the cases of several cells, one after the other; all have the same columns of values."""
    if len(parts) == 1:
        return parts[0]
    fields = ("keys", "clusters", "covered", "known", "correct", "success")
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


def _errors(table: pa.Table) -> npt.NDArray[np.str_] | None:
    """Return what kind each record's error is: "" for none, a text of ``harness.errors``, or "open".

    None where no record has an error.
    """
    if "error" not in table.column_names or table.column("error").null_count == table.num_rows:
        return None
    codes: dict[Any, int] = {None: 0}
    at = _encode(table.column("error"), codes)
    return np.array([_kind(error) for error in codes])[at]


def _kind(error: str | None) -> str:
    if error is None:
        return ""
    if error.startswith(f"{ContractError.__name__}: {NO_IMAGES}"):
        return UNUSABLE_IMAGE
    return error if error in (NO_ANSWER, NO_CLEAN_ANSWER, UNUSABLE_IMAGE) else "open"


def _within_bounds(table: pa.Table) -> Flags | bool:
    """Say which images keep to the pixel range, the budget and the region; all where no record says."""
    return table.column("fault").is_null().to_numpy() if "fault" in table.column_names else True


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
