"""A card describes one entry of the catalogue; that of a model has its parameter count per preset."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from harness.catalog import Entry, catalog
from harness.errors import HarnessError, ManifestError, ModelError, nearest
from harness.parameters import Parameter, check, jsonable, keyword_parameters
from harness.specs import ModelSpec

_TOLD = (
    "head",
    "heads",
    "access",
    "norms",
    "budget",
    "traits",
    "counted_per",
    "counting",
    "unit",
    "direction",
)
"""The fields of a spec that its card tells as they are."""


def card(kind: str, name: str, preset: str | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of an entry, as `harness info --json` prints it.

    Args:
        kind: "models", "attacks", …
        preset: the only preset of a model or an attack to show.
        overrides: values of a model's options with which its parameters are counted.

    Raises:
        CatalogError, ManifestError: a name is unknown.
    """
    entry = catalog().section(kind)[name]
    spec = entry.spec
    shown: dict[str, Any] = {
        "name": spec.name,
        "kind": kind,
        "plugin": entry.plugin.name,
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "revision": spec.revision,
        "summary": spec.summary,
        "source": spec.source,
    }
    if entry.plugin.local is not None:
        shown["installed"] = f"{entry.plugin.local.place}{entry.code}"
    parameters = entry.parameters()
    for key in _TOLD:
        if hasattr(spec, key):
            shown[key] = jsonable(getattr(spec, key))
    shown["options"] = [_option(parameter) for parameter in parameters.values()]
    presets = getattr(spec, "presets", {})
    if preset is not None and preset not in presets:
        raise ManifestError(f'{spec.name}: preset "{preset}" is unknown; {nearest(preset, presets)}')
    chosen = {name: values for name, values in presets.items() if preset in (None, name)}
    shown["presets"] = {name: {"values": jsonable(values)} for name, values in chosen.items()}
    if isinstance(spec, ModelSpec):
        for name in chosen:
            shown["presets"][name] |= _counts(entry, spec, name, parameters, overrides)
        if preset is not None:
            shown["preset"] = preset
            shown["parameters"] = shown["presets"][preset].get("parameters")
        elif not presets:
            shown |= _counts(entry, spec, "", parameters, overrides)
    elif overrides:
        raise ManifestError("--set counts the parameters of a model with other options; leave it out here")
    return shown


def _option(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "type": parameter.type_name,
        "required": parameter.required,
        "default": None if parameter.required else jsonable(parameter.default),
    }


def _counts(
    entry: Entry[Any],
    spec: ModelSpec,
    preset: str,
    parameters: Mapping[str, Parameter],
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """Count the parameters of a preset, and of each other value of its options that are choices.

    Return nothing for a model that cannot be built from its defaults alone.
    """
    size = spec.card_size.get(preset, (218, 178))
    chosen = spec.presets.get(preset, {})
    try:
        values = check(f"{spec.name} {preset}".strip(), {**chosen, **overrides}, parameters, ManifestError)
        count = _count(entry, size, values)
    except HarnessError:
        if overrides:
            raise
        return {}
    variants = {
        f"{name}={choice}": other
        for name, parameter in keyword_parameters(entry.load(spec.build)).items()
        if typing.get_origin(parameter.annotation) is typing.Literal and name not in chosen
        for choice in typing.get_args(parameter.annotation)
        if choice != values[name] and (other := _count(entry, size, values | {name: choice})) != count
    }
    return {"parameters": count, "size": list(size), "variants": variants}


def _count(entry: Entry[ModelSpec], size: tuple[int, int], values: Mapping[str, Any]) -> int:
    import torch

    from harness.training import Task

    spec = entry.spec
    # Of many equal networks, only one is counted.
    attributes = 1 if spec.counted_per == "attribute" else spec.card_attributes
    names = tuple(f"attribute {number}" for number in range(attributes))
    try:
        with torch.device("meta"):
            module = entry.call(spec.build, Task((3, *size), names), values=values)
    except Exception as error:
        raise ModelError(
            f"{spec.name} cannot be built to count its parameters: {type(error).__name__}: {error}"
        ) from error
    return sum(parameter.numel() for parameter in module.parameters())
