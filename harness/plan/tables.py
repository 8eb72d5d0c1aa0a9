"""A manifest table is checked here against the catalogue and the parameters of a plugin's function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

from harness.catalog import Entry, Section
from harness.errors import CatalogError, ManifestError, nearest
from harness.manifest import Table
from harness.parameters import Parameter, check, convert
from harness.specs import Spec

S = TypeVar("S", bound=Spec)


def entries_of(
    tables: Iterable[Table], section: Section[S], keys: Mapping[str, Parameter], lists: Sequence[str] = ()
) -> Iterator[tuple[Table, Entry[S], dict[str, Any], dict[str, Any]]]:
    """Yield each table with its entry, and its keys as ``split`` returns them."""
    for table in tables:
        entry = entry_of(table, section)
        refuse_unset(table)
        own, values = split(table, keys, entry.parameters(), lists)
        yield table, entry, own, values


def refuse_unset(table: Table) -> None:
    """Refuse a table with an environment variable that is unset."""
    for key, (text, variable) in table.unset.items():
        raise ManifestError(
            f'{table.place}: {key} = "{text}" needs the environment variable {variable}, which is unset'
        )


def checked(table: Table, entry: Entry[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plugin's parameters of a table, complete and converted."""
    return check(table.place, values, entry.parameters(), ManifestError)


def combinations(table: Table, entry: Entry[Any], values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the plugin's parameters for every combination of the values that are lists."""
    for single in crossed(table.place, values, entry.parameters()):
        yield checked(table, entry, single)


def preset_values(
    place: str, presets: Mapping[str, Mapping[str, Any]], preset: str | None
) -> Mapping[str, Any]:
    """Return the values of a preset, or of the first one where none is named."""
    if preset is None:
        return next(iter(presets.values()), {})
    if preset not in presets:
        raise ManifestError(f'{place}: preset "{preset}" is unknown; {nearest(preset, presets)}')
    return presets[preset]


def entry_of(table: Table, section: Section[S], name: str | None = None) -> Entry[S]:
    """Return the entry that a table, or a name in it, means in a section of the catalogue."""
    try:
        return section[name or table.use]
    except CatalogError as error:
        raise ManifestError(f"{table.place.rsplit(': ', 1)[0]}: {error}") from None


def split(
    table: Table,
    keys: Mapping[str, Parameter],
    parameters: Mapping[str, Parameter],
    lists: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the harness's own keys of a table, converted (those of ``lists`` may be lists), and the rest."""
    for name in table.values:
        if name not in ("use", "id", *keys, *parameters):
            remedy = nearest(name, ("id", *keys, *parameters))
            raise ManifestError(f'{table.place}: "{name}" is unknown; {remedy}')
    rest = {key: value for key, value in table.values.items() if key not in ("use", "id", *keys)}
    return own_values(table, keys, lists), rest


def own_values(table: Table, keys: Mapping[str, Parameter], lists: Sequence[str] = ()) -> dict[str, Any]:
    """Return the harness's own keys of a table, converted (those of ``lists`` may be lists)."""
    own = {}
    for name, parameter in keys.items():
        value = table.values.get(name, parameter.default)
        place = f"{table.place}.{name}"
        if name in lists and isinstance(value, list):
            _not_empty(place, value)
            own[name] = [convert(place, item, parameter, ManifestError) for item in value]
        else:
            own[name] = convert(place, value, parameter, ManifestError)
    return own


def each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _not_empty(place: str, values: Sequence[Any]) -> None:
    if not values:
        raise ManifestError(f"{place} = [] is empty; give at least one value, or leave it out")


def crossed(
    place: str, values: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> Iterator[dict[str, Any]]:
    """Return all combinations of the values that are lists where their parameter takes none."""
    axes = []
    for name, value in values.items():
        takes_list = name in parameters and parameters[name].takes_list
        many = isinstance(value, list) and (
            not takes_list or (bool(value) and all(isinstance(item, list) for item in value))
        )
        if many:
            _not_empty(f"{place}.{name}", value)
        axes.append([(name, item) for item in value] if many else [(name, value)])
    return (dict(combination) for combination in product(*axes))
