"""How a plugin was installed decides what identifies its code: the version of a release, else its files.

A release comes from a package index: its code cannot change without its version. The code of anything else
(an editable install, a folder, an archive, a checkout, a folder on the path) can, so a digest of it is part
of the identity of what it made. Plugins of the harness's own distribution go by version and revision.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

OWN = "face-robustness-harness"
"""The distribution whose plugins are developed under ``Spec.revision`` and ``Spec.later``."""
SITES = frozenset({"site-packages", "dist-packages"})
"""Folders that many distributions share."""


@dataclass(frozen=True, eq=False)
class LocalInstall:
    """A local install is a plugin whose code may change while its version stays."""

    module: str
    """The module of its entry point."""
    distribution: Distribution | None
    """None where no distribution is known."""
    used: set[str] = field(default_factory=set)
    """Modules that its specs name; they are added when these are read."""

    @cached_property
    def digest(self) -> str:
        """Return a digest of all files of its packages, and of what they import from the same project."""
        whole = hashlib.sha256()
        for name, spec in sorted(_packages(self).items()):
            for relative, file in _files(spec):
                whole.update(f"{name}/{relative}\0{_digest_of(file)}\n".encode())
        return whole.hexdigest()[:16]

    @cached_property
    def place(self) -> str:
        """Return where it was installed from, for people: a URL, or the folder of its code."""
        url = _direct_url(self.distribution)
        if url:
            return url.removeprefix("file://")
        found = _unit(self.module)
        return str(_folder_of(found[1])) if found else "an unknown place"

    @cached_property
    def folders(self) -> frozenset[Path]:
        """Return the folders of the project, whose modules belong to the plugin."""
        url = urlparse(_direct_url(self.distribution))
        found = {Path(unquote(url.path))} if url.scheme == "file" else set()
        entry = _unit(self.module)
        if entry:
            found.add(_folder_of(entry[1]))
        return frozenset(folder.resolve() for folder in found if not SITES & set(folder.parts))

    @cached_property
    def files(self) -> frozenset[Path]:
        """Return the files that its installer listed."""
        listed = (self.distribution and self.distribution.files) or ()
        return frozenset(Path(str(file.locate())).resolve() for file in listed)

    def holds(self, file: Path) -> bool:
        """Say whether a module's file belongs to the plugin's project."""
        file = file.resolve()
        if file in self.files:
            return True
        return any(
            file.is_relative_to(folder) and not SITES & set(file.relative_to(folder).parts)
            for folder in self.folders
        )


def local_install(module: str, distribution: Distribution | None, name: str) -> LocalInstall | None:
    """Return the local install that a plugin is, or None for a release.

    Args:
        name: of the distribution.
    """
    if distribution is not None:
        if re.sub(r"[-_.]+", "-", str(name)).lower() == OWN:
            return None
        if distribution.read_text("RECORD") is not None and not _direct_url(distribution):
            return None
    return LocalInstall(module, distribution)


def files_beside(module: str) -> list[Path]:
    """Return all files of the package that a module is in, without bytecode; runs none of its code."""
    found = _unit(module)
    return [file for _, file in _files(found[1])] if found else []


def _direct_url(distribution: Distribution | None) -> str:
    """Return where an installer took a distribution from; empty where that was an index, or is not known."""
    text = distribution.read_text("direct_url.json") if distribution is not None else None
    if text is None:
        return ""
    try:
        return str(json.loads(text)["url"])
    except (ValueError, KeyError, TypeError):
        return "a damaged direct_url.json"


def _packages(install: LocalInstall) -> dict[str, ModuleSpec]:
    """Return the packages and modules of a plugin's project that it consists of, by name."""
    found: dict[str, ModuleSpec] = {}
    asked: set[str] = set()
    todo = [install.module, *install.used]
    while todo:
        name = todo.pop()
        if name in asked:
            continue
        asked.add(name)
        unit = _unit(name)
        if unit is None or unit[0] in found:
            continue
        if name != install.module and not install.holds(Path(str(unit[1].origin))):
            continue
        found[unit[0]] = unit[1]
        todo += [other for _, file in _files(unit[1]) for other in _imports(file)]
    return found


def _digest_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:  # a link to nowhere, or one that must not be read
        return "unreadable"


def _unit(module: str) -> tuple[str, ModuleSpec] | None:
    """Return the package at the top of a module, beneath namespaces, or the module itself; runs no code."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        try:
            spec = find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        if spec.has_location and spec.origin:
            return name, spec
    return None


def _folder_of(spec: ModuleSpec) -> Path:
    """Return the folder from which a top-level package or module is imported."""
    file = Path(str(spec.origin))
    above = file.parent.parent if spec.submodule_search_locations else file.parent
    for _ in range(spec.name.count(".")):
        above = above.parent
    return above


def _files(spec: ModuleSpec) -> list[tuple[str, Path]]:
    """Return the files of a package, or the one of a module, by their names inside, in order."""
    if spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        found = [
            (file.relative_to(folder).as_posix(), file) for folder in folders for file in _beneath(folder)
        ]
        if found:
            return sorted(found)
    file = Path(str(spec.origin))
    while not file.exists() and file != file.parent:  # a module inside an archive
        file = file.parent
    return [(file.name, file)]


def _beneath(folder: Path) -> Iterator[Path]:
    """Yield the files that a person wrote: no bytecode, nothing hidden."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        for name in names:
            if not name.startswith(".") and not name.endswith((".pyc", ".pyo", "~")):
                yield Path(place, name)


def _imports(file: Path) -> Iterator[str]:
    """Yield the modules that a Python file imports by their full names."""
    if file.suffix != ".py":
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the plugin's code, which says so itself when it is imported
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
