"""A suite that is judged apart: attacks run in processes of their own, and the records are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.catalog import catalog
from harness.options import Options
from harness.results import read_results
from harness.session.session import run_suite
from harness.store.schema import judge_of
from tests.cli import forking
from tests.cli.conftest import SUITE
from tests.installing import install
from tests.session.test_executor import TRANSFER, samples

PLUGIN = Path(__file__).parent / "plugin"
MORE = """
[[attack]]
use = "shared"
eps = ["20/255", "40/255"]

[[attack]]
use = "corner"
share = 0.7

[[attack]]
use = "greedy"
eps = "8/255"

[[attack]]
use = "leap"
eps = "8/255"
"""
SMALL = '\n[[attack]]\nuse = "{0}"\nid = "{0}"\neps = "1/255"\n'
ONE = 'attributes = ["Bright"]\n'
"""Cheats have one batch each: after every batch in which one is noticed, its process is started again."""
CHEATS = ("originals", "labels", "budget", "judge", "decisions", "hook")
UNSEEN = CHEATS[:3]  # what no check in the attack's own process can see
HONEST = ("step", "drawn")
DYING = '\n[[attack]]\nuse = "dying"\neps = "1/255"\nhow = ["segfault", "nothing"]\n'
UNSTEADY = '\n[[model]]\nuse = "unsteady"\n'


@pytest.fixture(autouse=True)
def _cheats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _installed: None) -> Iterator[None]:
    install(tmp_path / "cheats", "cheats", "1.0", {"cheats": "cheats"})
    for folder in (PLUGIN, tmp_path / "cheats"):
        monkeypatch.syspath_prepend(folder)
    catalog.cache_clear()
    yield
    catalog.cache_clear()
    for module in ("cheats", "cheats_code", "cheats_models"):
        sys.modules.pop(module, None)


@pytest.fixture
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks get processes that have imported the libraries before they begin; the first test has others."""
    kind = type("subprocess", (), {**vars(subprocess), "Popen": forking.Python})
    monkeypatch.setattr("harness.shards.channel.subprocess", kind)


def of(*attacks: str) -> str:
    """The suite with small-eps attacks in place of its own, in batches of one attribute."""
    head, _, _ = SUITE.partition("[[attack]]")
    head = head.replace("batch_size = 8", "batch_size = 24").replace("shard_size = 8", "shard_size = 24")
    return head + "".join(SMALL.format(name) + (ONE if name in CHEATS else "") for name in attacks)


@pytest.mark.slow
def test_the_records_are_those_of_attacks_that_run_here(suite: Path, tmp_path: Path) -> None:
    suite.write_text(SUITE.replace("shard_size = 8", "shard_size = 24") + MORE + TRANSFER)
    here = run_suite(suite, Options(out=tmp_path / "here"))
    apart = run_suite(suite, Options(out=tmp_path / "apart", judge="apart"))
    assert apart.cases_done == here.cases_done > 0
    pd.testing.assert_frame_equal(samples(here.folder), samples(apart.folder))
    left = ["seconds", "judge", "checksum"]  # a checksum covers the seconds
    cells = [read_results(run.folder).cells().drop(columns=left, errors="ignore") for run in (here, apart)]
    pd.testing.assert_frame_equal(*cells)
    _says_who_judged(suite, apart.folder)


def _says_who_judged(suite: Path, folder: Path) -> None:
    """A cell of which one shard is judged while an attack runs in the same process is judged here."""
    assert json.loads((folder / "suite.json").read_text())["judge"] == "apart"
    before = read_results(folder).cells()
    assert set(before["judge"]) == {"apart"}
    first = before["cell"][0]
    part = sorted((folder / "samples" / first).iterdir())[0]
    assert judge_of(pq.read_schema(part)) == "apart"
    part.unlink()
    assert run_suite(suite, Options(out=folder)).cells_judged_here == 0  # nobody asked for more
    after = read_results(folder).cells()
    assert set(after["judge"][after["cell"] == first]) == {"here"}
    assert set(after["judge"][after["cell"] != first]) == {"apart"}
    assert json.loads((folder / "suite.json").read_text())["judge"] == "here"
    assert len(samples(folder)) == before["cases"].sum()
    again = run_suite(suite, Options(out=folder, judge="apart"))
    assert (again.cases_done, again.cells_judged_here) == (0, 1)


@pytest.mark.usefixtures("_forked")
def test_cheats_and_deaths_change_no_honest_record(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "cheats.toml"
    text = of(*CHEATS, "drawn") + DYING + UNSTEADY + of("step").partition("[[model]]")[2].partition("\n\n")[2]
    suite.write_text(f'judge = "apart"\n{text}')
    run = run_suite(suite, Options(out=tmp_path / "apart"))
    assert run.failed
    assert "cheats" in sys.modules  # its description
    assert "cheats_code" not in sys.modules
    captured = capfd.readouterr()
    assert "an attack says" not in captured.out
    assert "and something else" not in captured.err
    every = samples(run.folder)
    found = every[every["model"] == "linear"]
    cheats = found[~found["attack"].isin(HONEST)]
    assert not cheats["success"].fillna(False).any()
    died = cheats[(cheats["attack"] == "dying[how=segfault]") & (cheats["target"] == "Red")]
    assert set(died["error"]) == {
        "AttackError: the attack's process was ended by SIGSEGV; it is started again"
    }
    others = cheats.drop(died.index)
    assert others["error"][others["attack"].str.startswith("dying")].isna().all()
    unsteady = every["error"][every["model"] == "unsteady"]
    assert unsteady.str.startswith("ModelError: unsteady has other weights in the attack's process").all()
    suite.write_text(of("step", "drawn", *UNSEEN))
    here = samples(run_suite(suite, Options(out=tmp_path / "here")).folder)
    noticed = here["error"][here["attack"].isin(UNSEEN)]
    assert noticed.str.startswith("ContractError: the attack changed").all()  # it did what it came for
    for attack in HONEST:
        honest = [table[table["attack"] == attack].reset_index(drop=True) for table in (here, found)]
        pd.testing.assert_frame_equal(*honest, check_dtype=False)
