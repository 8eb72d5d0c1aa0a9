"""A tiny plugin, installed for the tests of this folder alone, and the command line in this process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.catalog import catalog
from harness.cli import main
from tests.installing import install

PLUGIN = Path(__file__).parent / "plugin"
SUITE = """\
schema = 1
name = "small"
keep = true
batch_size = 8
shard_size = 8

[[dataset]]
use = "tiny"
partition = "test"

[[model]]
use = "linear"

[[attack]]
use = "step"
eps = "40/255"

[[attack]]
use = "still"
eps = "40/255"

[[measure]]
use = "shift"
"""
CASES = 2 * 2 * 24  # attacks x attributes x test images


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the plugin's dist-info."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, "tiny-faces", "1.2", {"tiny": "tiny_faces"})
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the linear model's weights are kept, once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _installed(site: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("HARNESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    monkeypatch.delenv("TINY_FACES", raising=False)
    monkeypatch.delenv("TINY_FAULT", raising=False)
    monkeypatch.chdir(tmp_path)
    for folder in (PLUGIN, site):
        monkeypatch.syspath_prepend(folder)
    catalog.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    catalog.cache_clear()
    sys.modules.pop("tiny_faces", None)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of four cells' worth of work, a second in all."""
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def harness(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            status = int(exit.code or 0)
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the results of runs are kept for later tests that begin with the same run."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def begun(harness: Command, suite: Path, kept: Path) -> Callable[..., Path]:
    """Leave in results/small what a run of the suite leaves: it is run for the first test, then copied."""

    def run(*arguments: str) -> Path:
        asked = json.dumps([suite.read_text(encoding="utf-8"), *arguments])
        before, folder = kept / hashlib.sha256(asked.encode()).hexdigest(), Path("results/small")
        if before.is_dir():
            shutil.copytree(before, folder)
        else:
            assert harness("run", suite, *arguments).status == 0
            shutil.copytree(folder, before)
        return folder

    return run


@pytest.fixture
def finished(begun: Callable[..., Path]) -> Path:
    """The folder of a finished run of the suite."""
    return begun()


@pytest.fixture
def refused(harness: Command) -> Callable[..., str]:
    """Run a command that is wrong: exit status 2, one line on standard error, nothing else; that line."""

    def run(*arguments: object) -> str:
        ran = harness(*arguments)
        assert ran.status == 2, ran
        assert ran.out == ""
        assert len(ran.err.splitlines()) == 1, ran.err
        assert ran.err.startswith("harness: ")
        return ran.err.removeprefix("harness: ").rstrip("\n")

    return run
