"""Verifiers' cards hold what training measured; analyses read it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.results import Results


@dataclass(frozen=True)
class Trained:
    """A Trained verifier has one of the notes of its training."""

    dataset: str
    model: str
    parameters: Mapping[str, Any]
    note: Mapping[str, Any]

    @property
    def columns(self) -> dict[str, Any]:
        """Return the columns that say which verifier it is."""
        recipe = self.parameters.get("recipe")
        return {"dataset": self.dataset, "model": self.model, "recipe": recipe}


def trained(results: Results, note: str, remedy: str) -> list[Trained]:
    """Return the verifiers whose cards have a note.

    Args:
        note: "curves", "pairs" or "pictures".
        remedy: what a suite must ask for to have one.

    Raises:
        HarnessError: no card has one.
    """
    found = []
    for row in results.models().to_dict("records"):
        card = row["card"] if isinstance(row["card"], Mapping) else {}
        notes = card.get("training")
        own = notes.get(note) if isinstance(notes, Mapping) else None
        if isinstance(own, Mapping):
            parameters = row["parameters"] if isinstance(row["parameters"], Mapping) else {}
            found.append(Trained(str(row["dataset"]), str(row["model"]), parameters, own))
    if not found:
        raise HarnessError(
            f"{results.path}: no model's card has the {note} of a verifier's training; {remedy}"
        )
    return found
