"""What the check needs is put on the path: this checkout, its plugins, and carried wheels that are missing.

Nothing is installed, and only the standard library is imported: the machine has no virtual environment.
"""

from __future__ import annotations

import re
import sys
import tomllib
import types
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "face-robustness-harness"


def prepare(wheels: Path, aside: Path) -> list[str]:
    """Make this checkout importable, and return the distributions that it needs and that are not there.

    Args:
        wheels: a folder of wheels; those that are missing here, or newer than what is here, are unpacked.
        aside: an empty folder for what is unpacked.
    """
    unpack(wheels, aside)
    sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(aside)]
    # A package that is installed under the name "tests" would come before this checkout's.
    tests = types.ModuleType("tests")
    tests.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = tests
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if installed(NAME) is None:
        register(project, aside)
    needed = (*project["dependencies"], *project["optional-dependencies"]["foolbox"])
    names = [re.split(r"[<>=!~;\[ ]", requirement)[0] for requirement in needed]
    return [name for name in names if installed(name) is None]


def unpack(wheels: Path, aside: Path) -> list[str]:
    """Unpack the wheels that are needed here, and return their distributions."""
    taken = []
    for path in sorted(wheels.glob("*.whl")):
        name, carried = path.name.split("-")[:2]
        here = installed(name)
        if here is None or _numbers(here) < _numbers(carried):
            with zipfile.ZipFile(path) as packed:
                packed.extractall(aside)
            taken.append(name)
    return taken


def register(project: dict[str, dict[str, dict[str, str]]], aside: Path) -> None:
    """Describe this checkout as an installed distribution, so that its plugins are found."""
    described = aside / f"{NAME.replace('-', '_')}-{project['version']}.dist-info"
    described.mkdir()
    heading = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {project['version']}\n"
    (described / "METADATA").write_text(heading, encoding="utf-8")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (described / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def installed(name: str) -> str | None:
    """Return the version of a distribution, or None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
