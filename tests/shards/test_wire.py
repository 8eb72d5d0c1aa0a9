"""Parameters that are told keep their types, tuples included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.shards.wire import GarbledError, parameter, plain


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
