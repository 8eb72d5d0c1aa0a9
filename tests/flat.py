"""Calls of a plugin's functions with their parameters by the names that a manifest gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import HarnessError
from harness.parameters import arguments, check, keyword_parameters


def flat(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called with flat parameters that are checked as a manifest's are."""

    def called(*given: Any, **values: Any) -> Any:
        resolved = check("here", values, keyword_parameters(function), HarnessError)
        return function(*given, **arguments(function, resolved))

    return called
