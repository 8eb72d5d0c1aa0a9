"""Signature: what a manifest can give to one of the Toolbox's attacks, read from the Toolbox itself."""

from __future__ import annotations

import inspect
from typing import Any

from harness.errors import CatalogError
from harness_art.bridged import GIVEN, KINDS, Bridged

_WRITTEN: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "int | None": int | None,
    "float | None": float | None,
    "str | None": str | None,
}
"""Annotations as the Toolbox writes them, of which a manifest knows the type."""


def own_parameters(row: Bridged, attack: type) -> dict[str, inspect.Parameter]:
    """The Toolbox's parameters that a manifest gives, by the manifest's name for them.

    Raises:
        CatalogError: this version of the Toolbox has a parameter of a type that no manifest can give.
    """
    found = {}
    for name, parameter in inspect.signature(attack).parameters.items():
        if name in (*GIVEN, *row.given) or (row.norms and name in ("norm", "eps")):
            continue
        kind = row.kinds.get(name, KINDS.get(name))
        if kind is None:
            kind = _WRITTEN.get(str(parameter.annotation).strip("'\""), parameter.annotation)
        if isinstance(kind, str):
            raise CatalogError(f"art/{row.name}: no manifest can give {name}, a {kind}")
        default = row.defaults.get(name, parameter.default)
        ours = row.renamed.get(name, name)
        found[ours] = inspect.Parameter(
            ours, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
        )
    return found


def signature_of(row: Bridged, attack: type) -> inspect.Signature:
    """The signature of the attack as the harness calls it."""
    positional = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Any)
        for name in ("model", "x", "objective", "threat")
    ]
    keywords = {"rng": inspect.Parameter("rng", inspect.Parameter.KEYWORD_ONLY, annotation=Any)}
    if row.universal:
        keywords["fit"] = inspect.Parameter(
            "fit", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any
        )
    keywords |= own_parameters(row, attack)
    for name, (kind, default) in row.added.items():
        keywords[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
        )
    return inspect.Signature([*positional, *keywords.values()])
