"""Names are what figures and claims of the study call attacks, signs, searches and thresholds."""

from __future__ import annotations

from typing import Any

from harness.analysis import drawing

SIGN_TEXT = {"+": "+", "-": "−", "both": "±"}
SEARCH_TEXT = {"line": "line search", "iterative": "iterative", "": "no search"}
BEFORE_TEXT = {"+": "right before", "-": "wrong before", "both": "right and wrong before"}


def method_text(method: str) -> str:
    """Return an attack's name as people read it: "ffa" → "FFA", "ffa[max_steps=9]" → "FFA[max_steps=9]"."""
    name, bracket, rest = method.partition("[")
    head, blank, threat = name.partition(" ")
    return (head.upper() if len(head) <= 4 else head) + blank + threat + bracket + rest


def search_text(search: str) -> str:
    """Return a search as people read it."""
    return SEARCH_TEXT.get(search, search)


def threshold_text(threshold: float) -> str:
    """Return "PASS ≥ 0.95", or that any PASS will do."""
    return f"PASS ≥ {threshold:g}" if threshold > 0 else "any PASS"


def sign_style(position: int, sign: str) -> dict[str, Any]:
    """Return the look of a series: solid of cases that were right before, hollow and dashed of others."""
    look = drawing.style(position) | {"markersize": 5}
    return look | ({"linestyle": "-"} if sign == "+" else {"linestyle": "--", "markerfacecolor": "white"})
