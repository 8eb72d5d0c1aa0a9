"""Writes installed distributions by hand: modules beside a dist-info folder, as pip leaves them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from harness.catalog import catalog


def install(
    folder: Path,
    name: str,
    version: str,
    entry_points: Mapping[str, str],
    modules: Mapping[str, str] | None = None,
    *,
    origin: Mapping[str, object] | None = None,
    released: bool = False,
) -> None:
    """Put a distribution with entry points of the group "harness" into a folder.

    Args:
        entry_points: module by plugin name.
        modules: source by module name.
        origin: the content of direct_url.json, which installers write where the origin is no index.
        released: whether the installer lists the files, as all do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for module, source in (modules or {}).items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{plugin} = {value}" for plugin, value in entry_points.items()]
    (info / "entry_points.txt").write_text("[harness]\n" + "\n".join(lines) + "\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    if released or origin is not None:
        (info / "RECORD").write_text("".join(f"{module}.py,,\n" for module in modules or {}))


@contextmanager
def plugin_installed(site: Path, code: Path, plugin: str, module: str) -> Iterator[None]:
    """Let a plugin, whose module lies in the folder ``code``, be the only addition to the catalogue.

    Args:
        site: an empty folder for its dist-info and for the cache of weights.
    """
    install(site, module.replace("_", "-"), "1.0", {plugin: module})
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(site / "cache"))
        for folder in (code, site):
            patch.syspath_prepend(folder)
        catalog.cache_clear()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)
    catalog.cache_clear()
    sys.modules.pop(module, None)
