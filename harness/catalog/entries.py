"""The catalogue lists what the installed plugins provide, by name, with their distributions.

Entry points of the group ``harness`` are loaded one by one: a plugin that fails is listed with its reason
and leaves the others alone. Specs name their code; it is imported when it is used.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, Generic, TypeVar

from harness.catalog.installs import LocalInstall, local_install
from harness.errors import CatalogError, nearest
from harness.parameters import Parameter, arguments, jsonable, keyword_parameters, options_of, with_options
from harness.specs import (
    AnalysisSpec,
    AttackSpec,
    ConverterSpec,
    DatasetSpec,
    Following,
    MeasureSpec,
    MetricSpec,
    ModelSpec,
    Parameters,
    Spec,
)

GROUP = "harness"
KINDS: dict[str, type[Spec]] = {
    "models": ModelSpec,
    "attacks": AttackSpec,
    "datasets": DatasetSpec,
    "measures": MeasureSpec,
    "metrics": MetricSpec,
    "analyses": AnalysisSpec,
    "converters": ConverterSpec,
}
SINGULAR = {kind: kind[:-1] if kind != "analyses" else "analysis" for kind in KINDS}

_TARGET = re.compile(r"([\w.]+):[\w.]+")
"""How specs name their code."""

S_co = TypeVar("S_co", bound=Spec, covariant=True)


@dataclass(frozen=True)
class Plugin:
    """A plugin is an entry point of a distribution."""

    name: str
    distribution: str
    version: str
    local: LocalInstall | None = field(default=None, compare=False, repr=False)
    """Where its code is no release: a digest of it is part of identities."""
    module: str = field(default="", compare=False, repr=False)
    """The module of its entry point."""


@dataclass(frozen=True)
class BrokenPlugin:
    """A broken plugin could not be loaded, for a reason that is told."""

    plugin: Plugin
    reason: str


@dataclass(frozen=True)
class Entry(Generic[S_co]):
    """An entry is a spec and the plugin that provides it."""

    spec: S_co
    plugin: Plugin

    @property
    def qualified(self) -> str:
        """Return "plugin/name", which is unique."""
        return f"{self.plugin.name}/{self.spec.name}"

    @property
    def version(self) -> str:
        """Return what identifies the code: distribution, version, the spec's revision, and the library."""
        own = f"{self.plugin.distribution} {self.plugin.version} r{self.spec.revision}"
        return f"{own}, {self.spec.library} {_version(self.spec.library)}" if self.spec.library else own

    @property
    def code(self) -> str:
        """Return ", code " and a digest of the plugin's files, where its version does not tell its code."""
        return f", code {self.plugin.local.digest}" if self.plugin.local else ""

    @property
    def full_version(self) -> str:
        """Return the version, and of a local install the digest of its code."""
        return self.version + self.code

    def identity(self, parameters: Parameters) -> list[Any]:
        """Return what tells its work with these parameters from any other: name, code and parameters."""
        later = {**self.spec.shared, **self.spec.later}
        kept = {
            name: value for name, value in parameters.items() if name not in later or value != later[name]
        }
        version = self.version
        if self.spec.revised is not None and not self.spec.revised(parameters):
            version = version.replace(f" r{self.spec.revision}", f" r{self.spec.revision - 1}", 1)
        return [self.qualified, version + self.code, jsonable(kept)]

    def load(self, target: str) -> Any:
        """Return the object that a spec names as "package.module:object".

        Raises:
            CatalogError: it cannot be imported.
        """
        module_name, _, attribute = target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:
            raise CatalogError(
                f'"{self.qualified}" of {self.plugin.distribution} {self.plugin.version}: '
                f"{target} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        return found

    def parameters(self) -> dict[str, Parameter]:
        """Return the keyword parameters of its functions, and the options it shares: the manifest's keys."""
        targets = (getattr(self.spec, name) for name in self.spec.functions)
        found: dict[str, Parameter] = {}
        for target in filter(None, targets):
            found |= keyword_parameters(self.load(target), self.spec.given)
        return with_options(self.qualified, found, options_of(Following) if self.spec.shared else {})

    def arguments(self, target: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments that one function takes of the resolved parameters."""
        return arguments(self.load(target), values)

    def call(self, target: str, *given: Any, values: Mapping[str, Any]) -> Any:
        """Call one function with positional arguments and with those of the values that it takes."""
        return self.load(target)(*given, **self.arguments(target, values))


@dataclass(frozen=True, eq=False)
class Choice(Generic[S_co]):
    """A choice is an entry that a suite asks for, with its parameters."""

    label: str
    """Its id, or its name; what tells it apart from others of that name is added."""
    entry: Entry[S_co]
    parameters: Mapping[str, Any]
    """Resolved: checked, converted and complete."""
    place: str
    """Where the suite asks for it; errors begin with it."""


@cache
def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


class Section(Mapping[str, Entry[S_co]]):
    """A section holds the entries of one kind, by the shortest name that is unique."""

    def __init__(self, kind: str, entries: Iterable[Entry[S_co]], broken: tuple[BrokenPlugin, ...]) -> None:
        self.kind = kind
        self._broken = broken
        entries = tuple(entries)
        shared = Counter(entry.spec.name for entry in entries)
        self._entries = {
            (entry.spec.name if shared[entry.spec.name] == 1 else entry.qualified): entry for entry in entries
        }
        self._qualified = {entry.qualified: entry for entry in entries}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._qualified

    def __getitem__(self, name: str) -> Entry[S_co]:
        """Return the entry of a name or "plugin/name".

        Raises:
            CatalogError: nobody provides it, or several plugins do and the name does not say which.
        """
        found = self._entries.get(name) or self._qualified.get(name)
        if found is not None:
            return found
        one = SINGULAR[self.kind]
        owners = [entry for entry in self._qualified.values() if entry.spec.name == name]
        if owners:
            choices = " or ".join(f'"{entry.qualified}" ({entry.plugin.distribution})' for entry in owners)
            raise CatalogError(f'{one} "{name}" is provided by several plugins; write {choices}')
        failed = "".join(
            f'; plugin "{broken.plugin.name}" of {broken.plugin.distribution} {broken.plugin.version} '
            f"could not be loaded: {broken.reason}"
            for broken in self._broken
        )
        raise CatalogError(f'{one} "{name}" is unknown; {nearest(name, self._entries)}{failed}')


@dataclass(frozen=True)
class Catalog:
    """The catalogue holds everything that the installed plugins provide."""

    models: Section[ModelSpec]
    attacks: Section[AttackSpec]
    datasets: Section[DatasetSpec]
    measures: Section[MeasureSpec]
    metrics: Section[MetricSpec]
    analyses: Section[AnalysisSpec]
    converters: Section[ConverterSpec]
    plugins: tuple[Plugin, ...]
    broken: tuple[BrokenPlugin, ...]

    def section(self, kind: str) -> Section[Spec]:
        """Return the section of a kind, such as "models" or "attacks"."""
        if kind not in KINDS:
            raise CatalogError(f'kind "{kind}" is unknown; {nearest(kind, KINDS)}')
        section: Section[Spec] = getattr(self, kind)
        return section


@cache
def catalog() -> Catalog:
    """Return the catalogue of this environment, read once per process.

    Raises:
        CatalogError: two distributions declare plugins of one name.
    """
    return read_catalog(tuple(entry_points(group=GROUP)))


def read_catalog(points: Iterable[EntryPoint]) -> Catalog:
    """Return the catalogue of the given entry points."""
    import pluggy  # here: most commands start without it

    from harness import hookspecs

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    owners: dict[str, Plugin] = {}
    broken: list[BrokenPlugin] = []
    found: dict[str, list[Entry[Any]]] = {kind: [] for kind in KINDS}
    points = sorted(points, key=lambda point: point.name)
    # each is parsed once, with the distribution's readme, and not three times per plugin
    told: dict[Any, Any] = {point.dist: point.dist.metadata for point in points if point.dist}
    told[None] = {"Name": "an unknown distribution", "Version": "0"}
    for point in points:
        name, number = (told[point.dist][key] for key in ("Name", "Version"))
        local = local_install(point.module, point.dist, name)
        plugin = Plugin(point.name, name, number, local, point.module)
        if plugin.name in owners:
            other = owners[plugin.name]
            raise CatalogError(
                f'two plugins are named "{plugin.name}": one of {other.distribution} {other.version}, '
                f"one of {plugin.distribution} {plugin.version}; uninstall one of them"
            )
        owners[plugin.name] = plugin
        try:
            for kind, entries in _provided(manager, point, plugin).items():
                found[kind] += entries
        except (Exception, SystemExit) as error:
            if manager.has_plugin(plugin.name):
                manager.unregister(name=plugin.name)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            broken.append(BrokenPlugin(plugin, reason))
    names = {failed.plugin.name for failed in broken}
    return Catalog(
        **{kind: Section(kind, entries, tuple(broken)) for kind, entries in found.items()},
        plugins=tuple(plugin for name, plugin in owners.items() if name not in names),
        broken=tuple(broken),
    )


def _provided(manager: Any, point: EntryPoint, plugin: Plugin) -> dict[str, list[Entry[Any]]]:
    """Return all specs of one plugin, checked; whatever it raises is the reason why it is broken."""
    module = point.load()
    manager.register(module, plugin.name)
    manager.check_pending()  # a hook of a name that nobody asked for
    if not manager.get_hookcallers(module):
        raise CatalogError("it implements no hook; mark its functions with @harness.hookimpl")
    provided: dict[str, list[Entry[Any]]] = {}
    for kind, spec_type in KINDS.items():
        entries: list[Entry[Any]] = []
        hook = getattr(manager.hook, f"harness_{kind}")
        for implementation in hook.get_hookimpls():
            if implementation.plugin_name != plugin.name:
                continue
            returned = implementation.function()
            if isinstance(returned, Spec) or not isinstance(returned, Iterable):
                raise CatalogError(f"harness_{kind} returned {returned!r} instead of a list")
            for spec in returned:
                if not isinstance(spec, spec_type):
                    raise CatalogError(f"harness_{kind} returned {spec!r} instead of a {spec_type.__name__}")
                entries.append(Entry(spec, plugin))
        twice = [name for name, count in Counter(entry.spec.name for entry in entries).items() if count > 1]
        if twice:
            raise CatalogError(f'harness_{kind} returned "{twice[0]}" twice')
        provided[kind] = entries
        if plugin.local is not None:
            texts = (text for entry in entries for text in vars(entry.spec).values() if isinstance(text, str))
            plugin.local.used.update(match[1] for text in texts if (match := _TARGET.fullmatch(text)))
    return provided
