"""Messages between the judge and the processes of attacks are JSON and plain numbers, checked on arrival.

Nothing is unpickled: what an attack's process sends can be wrong, but it cannot run anything.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MARK = b"\x93hrn"
"""How every message begins."""
LONGEST = 1 << 22
"""The most bytes of a message's JSON."""
KINDS = ("<f4", "<i8", "|u1")
"""The types of numbers that are sent."""
COUNTS = ("forwards", "backwards", "zero_gradients", "found", "found_by")
"""What a meter counts of each case, in the order in which it is sent."""
FINDERS = 64
"""How many names of finders a message may have, and how many characters each."""
_START = struct.Struct("<4sIQ")  # mark, bytes of JSON, bytes of all arrays


class GarbledError(Exception):
    """A message is none that was sent by ``packed``."""


def packed(head: Mapping[str, Any], arrays: Sequence[Array] = ()) -> list[memoryview]:
    """Return a message as pieces of bytes, to be sent one after the other."""
    arrays = [np.ascontiguousarray(array) for array in arrays]
    told = [[array.dtype.str, list(array.shape)] for array in arrays]
    text = json.dumps({**head, "arrays": told}).encode()
    pieces = [array.data.cast("B") for array in arrays if array.size]
    start = _START.pack(MARK, len(text), sum(piece.nbytes for piece in pieces))
    return [memoryview(start), memoryview(text), *pieces]


def unpacked(
    read: Callable[[int], bytearray], most: float = float("inf")
) -> tuple[dict[str, Any], list[Array]]:
    """Return the next message: its head, and arrays that may be written to.

    Args:
        read: returns exactly so many bytes.
        most: the most bytes that the arrays may have.

    Raises:
        GarbledError: what is read is no message, or its arrays are larger than expected.
    """
    mark, length, size = _START.unpack(read(_START.size))
    if mark != MARK or length > LONGEST or size > most:
        raise GarbledError("it is no message, or a larger one than was asked for")
    text, data = read(length), read(size)
    try:
        head = json.loads(text.decode())
        shapes = [(_kind(kind), _shape(shape)) for kind, shape in head.pop("arrays")]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise GarbledError("its head cannot be read") from error
    if sum(kind.itemsize * prod(shape) for kind, shape in shapes) != size:
        raise GarbledError("its arrays have other sizes than it says")
    arrays, start = [], 0
    for kind, shape in shapes:
        arrays.append(np.frombuffer(data, kind, prod(shape), start).reshape(shape))
        start += arrays[-1].nbytes
    return head, arrays


def _kind(told: Any) -> np.dtype[Any]:
    if told not in KINDS:
        raise ValueError
    kind: np.dtype[Any] = np.dtype(told)
    return kind


def _shape(told: Any) -> tuple[int, ...]:
    if len(told) > 8 or not all(type(size) is int and 0 <= size < 1 << 40 for size in told):
        raise ValueError
    return tuple(told)


def plain(value: Any) -> Any:
    """Return a resolved parameter as JSON in which tuples stay tuples: ``parameter`` reads it."""
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[str(key), plain(item)] for key, item in value.items()]}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value)]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def parameter(told: Any) -> Any:
    """Return a resolved parameter from JSON that ``plain`` made.

    Raises:
        GarbledError: it is no such JSON.
    """
    if isinstance(told, list):
        return [parameter(item) for item in told]
    if isinstance(told, dict):
        match told:
            case {"tuple": [*items]}:
                return tuple(parameter(item) for item in items)
            case {"mapping": [*items]} if all(isinstance(item, list) and len(item) == 2 for item in items):
                return {str(key): parameter(item) for key, item in items}
        raise GarbledError("it is no parameter")
    return told
