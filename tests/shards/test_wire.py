"""Messages and parameters: what is sent arrives, and anything else is refused."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.shards.wire import MARK, GarbledError, packed, parameter, plain, unpacked


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 3.0, 1e400, "text", [1, [2.5]], (1, (2, "a")), {"a": (1,), "b": {"tuple": [1]}}, [], ()],
)
def test_parameters_come_back_as_they_were(value: Any) -> None:
    found = parameter(json.loads(json.dumps(plain(value))))
    assert found == value
    assert repr(found) == repr(value)


def test_what_json_does_not_know_is_text() -> None:
    assert plain(Path("a/b")) == "a/b"
    assert plain({3, 1}) == [1, 3]


@pytest.mark.parametrize("told", [{"set": [1]}, {"mapping": [[1]]}, {"tuple": 3}, {}])
def test_other_objects_are_refused(told: Any) -> None:
    with pytest.raises(GarbledError):
        parameter(told)


def reader(data: bytes) -> Any:
    stream = io.BytesIO(data)
    return lambda size: bytearray(stream.read(size))


def test_a_message_is_read_up_to_its_end() -> None:
    sent = [np.ones((2, 3), np.float32), np.arange(3)]
    data = b"".join(packed({"do": "it"}, sent))
    read = reader(data * 2)
    for _ in range(2):
        head, arrays = unpacked(read)
        assert head == {"do": "it"}
        assert [array.tolist() for array in arrays] == [array.tolist() for array in sent]
    with pytest.raises(GarbledError, match="larger"):
        unpacked(reader(data), 47)
    with pytest.raises(GarbledError, match="no message"):
        unpacked(reader(b"\x94" + data[1:]))


@pytest.mark.parametrize(
    "told",
    [
        *([[kind, [1]]] for kind in ("<f8", "|O", 3)),
        *([["<f4", shape]] for shape in ([-2], [1 << 41], [3], "ab", [True, 2], None)),
        [3],
        "no",
        None,
    ],
)
def test_arrays_of_other_kinds_and_sizes_are_refused(told: Any) -> None:
    text = json.dumps({"arrays": told}).encode()
    with pytest.raises(GarbledError):
        unpacked(reader(struct.pack("<4sIQ", MARK, len(text), 8) + text + bytes(8)))
