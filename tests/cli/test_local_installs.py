"""A plugin that is edited in place: what it made before is not taken for what it would make now."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.catalog import catalog
from harness.results import read_results
from tests.installing import install

from .conftest import Command

EXTRAS = Path(__file__).parents[1] / "thirdparty" / "face_extras"
SUITE = """\
schema = 1
name = "edited"

[[dataset]]
use = "synthetic-faces"
size = [20, 18]
count = 60
partition = "test"
sample = 4

[[model]]
use = "ridge"

[[attack]]
use = "one-step"
eps = "8/255"
attributes = ["Male"]

[[attack]]
use = "noise"
eps = "8/255"
attributes = ["Male"]
"""


def forget() -> None:
    """Do as in a new process."""
    catalog.cache_clear()
    for module in [name for name in sys.modules if name.partition(".")[0] == "face_extras"]:
        del sys.modules[module]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of an editable install, whose files may be changed."""
    project, site = tmp_path / "project", tmp_path / "site"
    shutil.copytree(EXTRAS, project)
    origin = {"url": project.as_uri(), "dir_info": {"editable": True}}
    install(site, "face-extras", "0.3.0", {"face-extras": "face_extras"}, origin=origin)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "own-cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for folder in (project, site):
        monkeypatch.syspath_prepend(folder)
    (tmp_path / "edited.toml").write_text(SUITE)
    forget()
    yield project / "face_extras"
    forget()


def weights() -> set[str]:
    return set(read_results("results/edited").cells()["weights"])


def test_records_and_weights_of_other_code_are_made_again(harness: Command, package: Path) -> None:
    first = harness("run", "edited.toml")
    assert (first.status, first.err) == (0, "")
    assert "8 cases attacked" in first.out
    before = weights()
    forget()
    assert "nothing was left to do" in harness("run", "edited.toml").out

    ridge = package / "ridge.py"
    text = ridge.read_text()
    ridge.write_text(text + "\n# the same, but who can know\n")
    forget()
    again = harness("run", "edited.toml")
    assert "8 cases attacked" in again.out
    assert len(list((Path("own-cache") / "zoo").glob("ridge-*/card.json"))) == 2
    assert weights() == before  # the same numbers, from a training of their own

    ridge.write_text(text)
    forget()
    assert "nothing was left to do" in harness("run", "edited.toml").out


def test_a_data_set_of_other_code_is_another_data_set(harness: Command, package: Path) -> None:
    (package / "data.py").write_text(
        "from harness_faces.synthetic import load as synthetic\n\n\n"
        "def load(*, count: int = 60):\n    return synthetic(size=(20, 18), count=count)\n"
    )
    specs = package / "__init__.py"
    specs.write_text(
        specs.read_text() + "\n\n@harness.hookimpl\ndef harness_datasets():\n"
        '    return [harness.DatasetSpec(name="own", summary="", load="face_extras.data:load")]\n'
    )
    Path("edited.toml").write_text(
        SUITE.replace('"synthetic-faces"\nsize = [20, 18]', '"own"').replace('"ridge"', '"moon"\nepochs = 1')
        + '\n[[exclude]]\nattack = "one-step"\n'
    )
    forget()
    assert "4 cases attacked" in harness("run", "edited.toml").out
    forget()
    assert "nothing was left to do" in harness("run", "edited.toml").out
    with (package / "data.py").open("a") as opened:
        opened.write("# other pictures\n")
    forget()
    assert "4 cases attacked" in harness("run", "edited.toml").out
    assert len(list((Path("own-cache") / "zoo").glob("moon-*/card.json"))) == 2


def test_a_local_install_is_named(harness: Command, package: Path) -> None:
    local = harness("ls", "models", "--json").json["local"]
    (mine,) = (one for one in local if one["plugin"] == "face-extras")
    code = mine["code"]
    assert mine["place"] == str(package.parent)
    assert f"face-extras 0.3.0 in {package.parent}, code {code}" in harness("ls", "models").out
    assert f"local   install from {package.parent}, code {code}" in harness("info", "model", "ridge").out
    planned = harness("plan", "edited.toml")
    assert f"local install: face-extras/ridge: face-extras 0.3.0 r1, code {code}" in planned.out
    assert "local install: attacks/noise" not in planned.out
    assert len(harness("plan", "edited.toml", "--json").json["local"]) == 2
    harness("run", "edited.toml")
    assert (
        f"face-extras/ridge: face-extras 0.3.0 r1, code {code}"
        in read_results("results/edited").suite["plugins"]
    )
