"""The parameters that a manifest can give to an attack are read from the Toolbox's own signature."""

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
"""Annotations as the Toolbox writes them, with the types that a manifest can give."""


def own_parameters(row: Bridged, attack: type) -> dict[str, inspect.Parameter]:
    """Return the Toolbox's parameters that a manifest can give, by their names in the manifest.

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
            raise CatalogError(f"art/{row.name}: a manifest cannot give {name} of the type {kind}")
        default = row.defaults.get(name, parameter.default)
        ours = row.renamed.get(name, name)
        found[ours] = inspect.Parameter(
            ours, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
        )
    return found


def signature_of(row: Bridged, attack: type) -> inspect.Signature:
    """Return the signature of the attack as the harness calls it."""
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
