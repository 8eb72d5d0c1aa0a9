"""The [[model]] tables of a suite become models with resolved parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.catalog import Catalog, Choice
from harness.errors import ManifestError
from harness.manifest import Suite
from harness.parameters import optional
from harness.plan.tables import combinations, each, entries_of, preset_values
from harness.specs import ModelSpec
from harness.store.schema import RECORD_SCHEMA

_MODEL_KEYS = optional(preset=str, weights=str)


@dataclass(frozen=True, eq=False)
class ModelChoice(Choice[ModelSpec]):
    """A model of the suite has parameters, and weights of the user's where they are given."""

    weights: str | None
    """The path of the user's weights."""

    @property
    def attributes(self) -> tuple[str, ...] | None:
        """Return the attributes that it answers; None where it answers all of the data set."""
        named = self.parameters.get("attributes")
        return None if named is None else tuple(named)


def observation_columns(models: Iterable[ModelChoice]) -> tuple[str, ...]:
    """Return the record columns of what some models observe, each once.

    Raises:
        ManifestError: records have a column of that name already, so that the plugin has to choose another.
    """
    found: dict[str, None] = {}
    for choice in models:
        for name in choice.entry.spec.observed_columns:
            if name in RECORD_SCHEMA.names:
                raise ManifestError(
                    f'{choice.place}: the model observes "{name}", which all records have already; its '
                    "plugin must give that another name"
                )
            found[name] = None
    return tuple(found)


def models_of(suite: Suite, catalog: Catalog) -> Iterator[ModelChoice]:
    """Yield the models of a suite."""
    for table, entry, own, values in entries_of(suite.models, catalog.models, _MODEL_KEYS, ("preset",)):
        label = table.id or entry.spec.name
        for preset in each(own["preset"]):
            chosen = preset_values(table.place, entry.spec.presets, preset)
            for parameters in combinations(table, entry, {**chosen, **values}):
                yield ModelChoice(label, entry, parameters, table.place, own["weights"])
