"""Plugins that are no releases: a digest of their code is part of the identity of what they make."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from harness.catalog import GROUP, Entry, catalog, read_catalog
from tests.installing import install

SPECS = """\
from harness import AttackSpec, hookimpl


@hookimpl
def harness_attacks():
    return [
        AttackSpec(name="near", summary="", run="editable_faces.attack:run"),
        AttackSpec(name="far", summary="", run="editable_more.far:run"),
    ]
"""
FILES = {
    "editable_faces/__init__.py": SPECS,
    "editable_faces/attack.py": "import os\nimport numpy\nfrom editable_helper import STEP\n",
    "editable_faces/deep/data.json": "[1]",
    "editable_helper.py": "from editable_space.part.tools import TOOL\nSTEP = 1\n",
    "editable_more/far.py": "def run(): pass\n",
    "editable_more/__init__.py": "",
    "editable_space/part/__init__.py": "",
    "editable_space/part/tools.py": "TOOL = 1\n",
    "editable_tests/test_it.py": "import editable_faces\n",
}

Identity = Callable[..., list[object]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder that a developer edits."""
    for name, text in FILES.items():
        file = tmp_path / "project" / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "project"


@pytest.fixture
def identity(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    """What a new process takes for the identity of an attack, as it is installed there."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(project / "src")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        for module in [name for name in sys.modules if name.startswith("editable_")]:
            del sys.modules[module]

    def found(name: str = "near", **installed: object) -> list[object]:
        forget()
        shutil.rmtree(site, ignore_errors=True)
        installed = installed or {"origin": {"url": project.as_uri(), "dir_info": {"editable": True}}}
        install(site, "editable-faces", "1.0", {"editable": "editable_faces"}, **installed)  # type: ignore[arg-type]
        points = [p for one in distributions(path=[str(site)]) for p in one.entry_points if p.group == GROUP]
        entry: Entry = read_catalog(points).attacks[name]
        return entry.identity({"steps": 3})

    yield found
    forget()


@pytest.mark.parametrize(
    "name",
    [
        "editable_faces/__init__.py",
        "editable_faces/attack.py",
        "editable_faces/deep/data.json",
        "editable_helper.py",
        "editable_more/far.py",
        "editable_space/part/tools.py",
    ],
)
def test_an_edit_of_any_file_of_the_project_is_another_identity(
    identity: Identity, project: Path, name: str
) -> None:
    before = identity()
    assert identity() == before
    with (project / "src" / name).open("a") as opened:
        opened.write(" \n")
    assert identity() != before
    (project / "src" / name).write_text(FILES[name])
    assert identity() == before


def test_new_and_renamed_files_count(identity: Identity, project: Path) -> None:
    seen = [identity()]
    package = project / "src" / "editable_faces"
    (package / "new.py").touch()
    seen.append(identity())
    (package / "new.py").rename(package / "newer.py")
    seen.append(identity())
    assert len({str(one) for one in seen}) == 3


def test_what_no_person_wrote_and_what_is_not_the_plugins_does_not_count(
    identity: Identity, project: Path
) -> None:
    before = identity()
    source = project / "src"
    for name in (
        "editable_faces/__pycache__/attack.cpython-311.pyc",
        "editable_faces/__pycache__/attack.run-7.nbi",
        "editable_faces/.ipynb_checkpoints/attack.py",
        "editable_faces/attack.py~",
        "editable_tests/test_it.py",
        ".venv/lib/site-packages/numpy/__init__.py",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("changed = True\n")
    assert identity() == before


@pytest.mark.parametrize(
    "installed",
    [
        {"origin": {"url": "file:///somewhere/else", "dir_info": {}}},
        {"origin": {"url": "file:///somewhere/faces-1.0.whl", "archive_info": {}}},
        {"origin": {"url": "https://example.org/faces.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}},
        {"released": False},
    ],
    ids=["folder", "archive", "checkout", "on the path"],
)
def test_whatever_is_not_of_an_index_goes_by_its_code(
    identity: Identity, project: Path, installed: dict[str, object]
) -> None:
    before = identity(**installed)
    (project / "src" / "editable_faces" / "attack.py").write_text("def run(): return 1\n")
    after = identity(**installed)
    assert str(before[1]).startswith("editable-faces 1.0 r1, code ")
    assert before[1] != after[1]
    assert (before[0], before[2]) == (after[0], after[2])


def test_a_release_goes_by_its_version(identity: Identity, project: Path) -> None:
    before = identity(released=True)
    assert before == ["editable/near", "editable-faces 1.0 r1", {"steps": 3}]
    (project / "src" / "editable_faces" / "attack.py").write_text("def run(): return 1\n")
    assert identity(released=True) == before


def test_all_entries_of_a_plugin_have_one_digest(identity: Identity) -> None:
    assert identity("near")[1] == identity("far")[1]


def test_broken_code_of_a_sibling_is_still_code(identity: Identity, project: Path) -> None:
    before = identity()
    (project / "src" / "editable_faces" / "broken.py").write_text("def (\n'\\d'")
    assert identity() != before


def test_the_plugins_of_this_distribution_go_by_version_and_revision() -> None:
    """So that records and weights of before a change stay valid; ``Spec.revision`` tells when they do not."""
    for section in ("models", "attacks", "datasets", "measures"):
        for entry in catalog().section(section).values():
            if entry.plugin.distribution == "face-robustness-harness":
                assert entry.code == ""
                assert ", code" not in entry.full_version
