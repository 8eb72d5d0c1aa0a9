"""A manifest describes a suite in TOML and is read strictly; errors name the file, the key and the remedy."""

from __future__ import annotations

import copy
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import ManifestError, nearest
from harness.parameters import Parameter, check
from harness.specs import Compute, Judge

SCHEMA = 1
RESERVED = ("clean", "worst-case")
"""Names of rows that leaderboards add to those of the attacks."""
TABLES = ("source", "dataset", "model", "attack", "transfer", "measure", "exclude", "analysis")
INNER = ("comparisons",)
"""Tables inside tables, whose keys --set names as KIND.NAME.INNER.KEY."""
NAMELESS = ("transfer", "exclude")
"""Tables that refer to other tables, and have neither `use` nor `id`."""

_TOP = {
    parameter.name: parameter
    for parameter in (
        Parameter("schema", int),
        Parameter("name", str),
        Parameter("description", str, ""),
        Parameter("seed", int, 0),
        Parameter("keep", bool, False),
        Parameter("compute", Compute, "float32"),
        Parameter("batch_size", int | Literal["auto"], 64),
        Parameter("shard_size", int | None, None),
        Parameter("device", str, "auto"),
        Parameter("judge", Judge, "here"),
        Parameter("order_by", str | None, None),
        Parameter("overall_worst_case", bool, False),
    )
}
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Table:
    """A Table is one [[dataset]], [[model]], [[attack]], … of a manifest, before it is resolved."""

    kind: str
    place: str
    """The file and the table, with which every error begins: `suites/celeba.toml: attack "pgd"`."""
    values: Mapping[str, Any]
    unset: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The text and its unset environment variable, by key; by "key.inner" within a table."""

    @property
    def use(self) -> str:
        """Return the name in the catalogue."""
        return str(self.values["use"])

    @property
    def id(self) -> str | None:
        """Return the `id` that the manifest gives to the table, or None."""
        return self.values.get("id")

    def answers_to(self, name: str) -> bool:
        """Tell whether a name in --set, [[exclude]] or [[transfer]] means this table."""
        return name in (self.id, self.use, self.use.rpartition("/")[2])


@dataclass(frozen=True)
class Suite:
    """A Suite is a manifest that was read and checked for form; the planner resolves names and parameters."""

    place: str
    name: str
    seed: int
    datasets: tuple[Table, ...]
    models: tuple[Table, ...]
    attacks: tuple[Table, ...]
    sources: tuple[Table, ...] = ()
    """Data sets that other data sets are made from; they are not attacked themselves."""
    transfers: tuple[Table, ...] = ()
    measures: tuple[Table, ...] = ()
    excludes: tuple[Table, ...] = ()
    analyses: tuple[Table, ...] = ()
    description: str = ""
    keep: bool = False
    compute: Compute = "float32"
    batch_size: int | Literal["auto"] = 64
    shard_size: int | None = None
    device: str = "auto"
    judge: Judge = "here"
    order_by: str | None = None
    """The threat by whose worst case boards order models; the first of the suite where None."""
    overall_worst_case: bool = False
    """Whether boards have a worst case over all threats, too."""


def read_suite(
    source: str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Suite:
    """Read a suite from a TOML file, or from a mapping of the same form.

    Args:
        overrides: values by "seed" or "dataset.celeba.root" (kind, `use` or `id`, key).
        environment: the values of `$VARIABLES`; by default those of this process.

    Raises:
        ManifestError: the file is missing or malformed, or a key or value is wrong.
    """
    if isinstance(source, Mapping):
        place, document = "suite", copy.deepcopy(dict(source))
    else:
        place, document = str(source), _parse(Path(source))
    for path, value in (overrides or {}).items():
        _override(place, document, path, value)
    tables = {kind: _tables(place, document, kind, environment) for kind in TABLES}
    top = {key: value for key, value in document.items() if key not in TABLES}
    for key in top:
        if key not in _TOP:
            raise ManifestError(f'{place}: "{key}" is unknown; {nearest(key, (*_TOP, *TABLES))}')
    checked = check(place, top, _TOP, ManifestError)
    if checked.pop("schema") != SCHEMA:
        raise ManifestError(f"{place}: schema = {top['schema']} is unknown; this version reads schema = 1")
    if not 0 <= checked["seed"] < 2**63:
        raise ManifestError(f"{place}: seed = {checked['seed']} must be from 0 to 2**63 - 1")
    for key in ("batch_size", "shard_size"):
        if isinstance(checked[key], int) and checked[key] < 1:
            raise ManifestError(f"{place}: {key} = {checked[key]} must be at least 1")
    if not FILE_NAME.fullmatch(checked["name"]):
        raise ManifestError(
            f'{place}: name = "{checked["name"]}" names a folder: use letters, digits, ".", "_" and "-"'
        )
    for kind in ("dataset", "model", "attack"):
        if not tables[kind]:
            raise ManifestError(
                f"{place}: there is no [[{kind}]] table; a suite crosses at least one of each"
            )
    return Suite(
        place=place,
        datasets=tables["dataset"],
        models=tables["model"],
        attacks=tables["attack"],
        sources=tables["source"],
        transfers=tables["transfer"],
        measures=tables["measure"],
        excludes=tables["exclude"],
        analyses=tables["analysis"],
        **checked,
    )


def parse_value(text: str) -> Any:
    """Parse a value of --set as TOML ("3", "[88, 72]", "true"); return the text itself if it is not TOML."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # no TOML, or a number or a nesting without end
        return text
    return document["value"] if len(document) == 1 else text


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        folder = path.parent if path.parent.is_dir() else Path()
        there = [
            str(found)
            for found in (*folder.glob("*.toml"), *Path().glob("suites/*.toml"))
            if found.name != "pyproject.toml"
        ]
        raise ManifestError(f"{path}: no such suite; {nearest(str(path), there)}") from None
    except IsADirectoryError:
        raise ManifestError(f"{path} is a folder; name a manifest in it") from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ManifestError(f"{path} is not valid TOML: it is nested too deeply") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise ManifestError(f"{path} is not valid TOML: {error}") from None


def _tables(
    place: str, document: Mapping[str, Any], kind: str, environment: Mapping[str, str] | None
) -> tuple[Table, ...]:
    found = document.get(kind, [])
    if not isinstance(found, Sequence) or not all(isinstance(table, Mapping) for table in found):
        raise ManifestError(f"{place}: {kind} must be written as [[{kind}]] tables")
    return tuple(_table(place, kind, number, table, environment) for number, table in enumerate(found, 1))


def _table(
    place: str, kind: str, number: int, table: Mapping[str, Any], environment: Mapping[str, str] | None
) -> Table:
    here = f"{place}: {kind} {number}"
    if kind not in NAMELESS:
        if "use" not in table:
            remedy = nearest(next(iter(table), "use"), ["use"]) if table else 'write use = "…"'
            raise ManifestError(f'{here}: "use" is missing; {remedy}')
        for key in ("use", "id"):
            if key in table and not isinstance(table[key], str):
                raise ManifestError(f"{here}.{key} = {table[key]!r} must be a string")
        here = f'{place}: {kind} "{table.get("id", table["use"])}"'
        if kind == "attack" and table.get("id") in RESERVED:
            raise ManifestError(f"{here}: leaderboards add a row of that name themselves; choose another id")
    variables = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    unset: dict[str, tuple[str, str]] = {}
    for key, value in table.items():
        values[key] = _expand(key, value, variables, unset)
    return Table(kind, here, values, unset)


def _expand(key: str, value: Any, variables: Mapping[str, str], unset: dict[str, tuple[str, str]]) -> Any:
    if isinstance(value, list):
        return [_expand(key, item, variables, unset) for item in value]
    if isinstance(value, Mapping):
        return {inner: _expand(f"{key}.{inner}", item, variables, unset) for inner, item in value.items()}
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not variables.get(name):  # an empty variable counts as unset
            unset[key] = (value, name)
            return match[0]
        return variables[name]

    return _VARIABLE.sub(replace, value)


def _override(place: str, document: dict[str, Any], path: str, value: Any) -> None:
    parts = path.split(".")
    if len(parts) == 1:
        if path not in _TOP:
            raise ManifestError(f'--set {path}: "{path}" is unknown; {nearest(path, _TOP)}, or KIND.NAME.KEY')
        document[path] = value
        return
    inner = parts[-2] if len(parts) > 3 and parts[-2] in INNER else None
    kind, name, key = parts[0], ".".join(parts[1 : -2 if inner else -1]), parts[-1]
    if kind not in TABLES or not name:
        remedy = f"; {nearest(kind, TABLES)}" if kind not in TABLES else ""
        raise ManifestError(f"--set {path}: write KIND.NAME.KEY=VALUE{remedy}")
    tables = document.get(kind, [])
    if not isinstance(tables, list):
        raise ManifestError(f"{place}: {kind} must be written as [[{kind}]] tables")
    meant = [
        table
        for table in tables
        if isinstance(table, dict) and Table(kind, "", {"use": "", **table}).answers_to(name)
    ]
    if not meant:
        names = [str(table.get("id", table.get("use"))) for table in tables if isinstance(table, dict)]
        raise ManifestError(f'--set {path}: {place} has no {kind} "{name}"; {nearest(name, names)}')
    for table in meant:
        held = table.setdefault(inner, {}) if inner else table
        if not isinstance(held, dict):
            raise ManifestError(f"--set {path}: {place}: {inner} is no table; write [{kind}.{inner}]")
        held[key] = value
