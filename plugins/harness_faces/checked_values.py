"""Parameters of data sets are checked for what their types do not say."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import DatasetError


def checked_size(place: str, size: Sequence[int]) -> tuple[int, int]:
    """Return height and width as a tuple; a manifest gives a list.

    Raises:
        DatasetError: it is something else; the message begins with ``place``.
    """
    whole = isinstance(size, list | tuple) and all(type(edge) is int and edge > 0 for edge in size)
    if not whole or len(size) != 2:
        raise DatasetError(
            f"{place}: size = {size!r} is not a height and a width; give two, such as [224, 224]"
        )
    return size[0], size[1]


def checked_number(place: str, name: str, value: float, least: float) -> float:
    """Return a number of at least so much.

    Raises:
        DatasetError: it is less, or no finite number; the message begins with ``place``.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value < float("inf"):
        raise DatasetError(f"{place}: {name} = {value!r} must be a number of at least {least:g}")
    return float(value)


def checked_bytes(place: str, count: int) -> int:
    """Return a number of bytes.

    Raises:
        DatasetError: it is none; the message begins with ``place``.
    """
    if type(count) is not int or count < 0:
        raise DatasetError(f"{place}: cache_bytes = {count!r} is not a number of bytes; give 0 or more")
    return count
