"""Catalogues of plugins that are written for a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

from harness.catalog import GROUP, Catalog, read_catalog
from tests.installing import install


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plugin(
        self, name: str, source: str, *, distribution: str | None = None, version: str = "1.0"
    ) -> None:
        """Install a distribution of one plugin, whose module is called after the distribution."""
        distribution = distribution or f"dist-{name}"
        module = f"site_{distribution.replace('-', '_')}"
        install(self.folder, distribution, version, {name: module}, {module: source})

    def points(self) -> list[EntryPoint]:
        """The entry points of the group, as importlib.metadata finds them."""
        found = distributions(path=[str(self.folder)])
        return [point for one in found for point in one.entry_points if point.group == GROUP]

    def catalog(self) -> Catalog:
        """The catalogue of what is installed here."""
        return read_catalog(self.points())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty folder of installed distributions, importable until the test ends."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield Site(tmp_path / "site")
    for module in set(sys.modules) - before:
        if module.startswith("site_"):
            del sys.modules[module]


@pytest.fixture(scope="session")
def fakes() -> Catalog:
    """The catalogue of tests/plan/fakes.py alone."""
    return read_catalog([EntryPoint("fakes", "tests.plan.fakes", GROUP)])
