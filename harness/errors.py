"""Expected failures are errors of one line that gives the place, the fault and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a terminal's cursor, turn the direction of writing, or are halves of others."""


class HarnessError(Exception):
    """The base class of all expected failures; the command line prints its one line and exits with 2."""

    def __str__(self) -> str:
        return printable(" ".join(super().__str__().split()))


class CatalogError(HarnessError):
    """A plugin, or a name that plugins should provide, cannot be resolved."""


class ManifestError(HarnessError):
    """A suite manifest, or a value that overrides it, is wrong."""


class DatasetError(HarnessError):
    """Images or annotations are missing, malformed or contradictory."""


class ModelError(HarnessError):
    """A model cannot be built, trained, loaded or run."""


class AttackError(HarnessError):
    """An attack was asked for something that it cannot do."""


class ContractError(HarnessError):
    """A plugin broke the contract: an attack changed its input, or a model's output has a wrong shape."""


class ResultsError(HarnessError):
    """A results folder cannot be read or written."""


class UnwritableError(ResultsError):
    """A file cannot be written: the disk is full, or the folder is read-only."""


NO_IMAGES = "the attack returned"
"""How the text begins of a ContractError of an attack that returned no usable images."""
UNUSABLE_IMAGE = "the attack's image is not finite"
NO_ANSWER = "the model's output is not finite"
NO_CLEAN_ANSWER = "the model's clean output is not finite"
"""Errors of a case by which records say whose failure it is."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint for an unknown name: the nearest valid name, or all valid names if none is near."""
    names = sorted(set(valid))
    folded = {candidate.casefold(): candidate for candidate in names}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{folded[close[0]]}"?'
    if not names:
        return "there is none"
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"valid: {shown}"


def printable(text: str) -> str:
    """Return a text in which control characters stand as escapes, so that a terminal only shows them."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
