"""The [[model]] tables of a suite become models with resolved parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.catalog import Catalog, Entry
from harness.errors import ManifestError
from harness.manifest import Suite
from harness.parameters import Parameter, check, keyword_parameters
from harness.plan.tables import crossed, each, entry_of, no_unset, preset_values, split
from harness.specs import ModelSpec

_MODEL_KEYS = {
    parameter.name: parameter
    for parameter in (Parameter("preset", str | None, None), Parameter("weights", str | None, None))
}


@dataclass(frozen=True, eq=False)
class ModelChoice:
    """A model with its parameters."""

    label: str
    entry: Entry[ModelSpec]
    parameters: Mapping[str, Any]
    weights: str | None
    place: str

    @property
    def attributes(self) -> tuple[str, ...] | None:
        """The attributes that it answers, where fewer than all."""
        named = self.parameters.get("attributes")
        return None if named is None else tuple(named)


def models_of(suite: Suite, catalog: Catalog) -> Iterator[ModelChoice]:
    """The models of a suite."""
    for table in suite.models:
        entry = entry_of(table, catalog.models)
        no_unset(table)
        parameters = model_parameters(entry)
        own, values = split(table, _MODEL_KEYS, parameters, lists=("preset",))
        for preset in each(own["preset"]):
            chosen = preset_values(table.place, entry.spec.presets, preset)
            for single in crossed(table.place, {**chosen, **values}, parameters):
                resolved = check(table.place, single, parameters, ManifestError)
                yield ModelChoice(table.id or entry.spec.name, entry, resolved, own["weights"], table.place)


def model_parameters(entry: Entry[ModelSpec]) -> dict[str, Parameter]:
    """The parameters of a model: those of its ``build`` and of its ``train``."""
    build = keyword_parameters(entry.load(entry.spec.build))
    train = keyword_parameters(entry.load(entry.spec.train)) if entry.spec.train else {}
    return build | train
