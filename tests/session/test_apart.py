"""A suite that is judged apart: attacks run in processes of their own, and the records are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.catalog import catalog
from harness.errors import HarnessError
from harness.options import Options
from harness.results import read_results
from harness.session.session import run_suite
from harness.store.schema import judge_of
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
SMALL = '\n[[attack]]\nuse = "{}"\nid = "{}"\neps = "1/255"\n'
CHEATS = ("originals", "labels", "budget", "judge", "decisions", "hook")
UNSEEN = CHEATS[:3]  # what no check in the attack's own process can see


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


def of(*attacks: str, id: str = "{}") -> str:
    """The suite with small-eps attacks in place of its own, in batches of one attribute."""
    head, _, _ = SUITE.partition("[[attack]]")
    head = head.replace("batch_size = 8", "batch_size = 24").replace("shard_size = 8", "shard_size = 24")
    return head + "".join(SMALL.format(name, name) for name in attacks)


def test_the_records_are_those_of_attacks_that_run_here(suite: Path, tmp_path: Path) -> None:
    suite.write_text(suite.read_text() + MORE + TRANSFER)
    here = run_suite(suite, Options(out=tmp_path / "here"))
    apart = run_suite(suite, Options(out=tmp_path / "apart", judge="apart"))
    assert apart.cases_done == here.cases_done > 0
    pd.testing.assert_frame_equal(samples(here.folder), samples(apart.folder))
    left = ["seconds", "judge"]
    if "checksum" in read_results(here.folder).cells():
        left.append("checksum")
    cells = [read_results(run.folder).cells().drop(columns=left) for run in (here, apart)]
    pd.testing.assert_frame_equal(*cells)
    again = run_suite(suite, Options(out=tmp_path / "here", judge="apart"))
    assert again.cases_done == 0


def test_a_cheat_that_no_check_sees_does_not_score_apart(tmp_path: Path) -> None:
    suite = tmp_path / "cheats.toml"
    suite.write_text(of(*UNSEEN))
    here = samples(run_suite(suite, Options(out=tmp_path / "here")).folder)
    assert (here.groupby("attack")["success"].mean() > 0.5).all()  # or this test would test nothing
    suite.write_text(of(*CHEATS, "step"))
    apart = run_suite(suite, Options(out=tmp_path / "apart", judge="apart")).folder
    found = samples(apart)
    assert not found["success"][found["attack"] != "step"].fillna(False).any()
    suite.write_text(of("step"))
    honest = samples(run_suite(suite, Options(out=tmp_path / "honest")).folder)
    after = found[found["attack"] == "step"].reset_index(drop=True)
    pd.testing.assert_frame_equal(honest, after)


def test_the_judge_imports_no_attack(tmp_path: Path) -> None:
    suite = tmp_path / "labels.toml"
    suite.write_text(of("labels"))
    code = (
        "import sys; from harness.cli import main; "
        f"status = main(['run', {str(suite)!r}, '--judge', 'apart', '--out', {str(tmp_path / 'out')!r}]); "
        "print('imported', 'cheats_code' in sys.modules); sys.exit(status)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert ran.returncode == 0, ran.stderr
    assert "imported False" in ran.stdout
    assert ran.stderr == ""
    described = json.loads((tmp_path / "out" / "suite.json").read_text())
    assert described["judge"] == "apart"


def test_a_process_that_dies_costs_its_batch_and_the_run_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "dying.toml"
    suite.write_text(of("dying").replace('"1/255"', '"1/255"\nhow = ["segfault", "sys.exit", "nothing"]'))
    run = run_suite(suite, Options(out=tmp_path / "out", judge="apart"))
    assert run.failed
    records = samples(run.folder).groupby(["attack", "target"])["error"].unique()
    told = {place: errors.tolist() for place, errors in records.items()}
    assert told == {
        ("dying[how=segfault]", "Bright"): [None],
        ("dying[how=segfault]", "Red"): [
            "AttackError: the attack's process was ended by SIGSEGV; it is started again"
        ],
        ("dying[how=sys.exit]", "Bright"): [None],
        ("dying[how=sys.exit]", "Red"): ["SystemExit: the attack tried to end its process (0)"],
        ("dying[how=nothing]", "Bright"): [None],
        ("dying[how=nothing]", "Red"): [None],
    }
    captured = capfd.readouterr()
    assert "an attack says" not in captured.out
    assert "and something else" not in captured.err


def test_a_model_that_is_another_one_in_the_other_process_is_an_error(tmp_path: Path) -> None:
    suite = tmp_path / "unsteady.toml"
    suite.write_text(of("labels").replace('"linear"', '"unsteady"'))
    run = run_suite(suite, Options(out=tmp_path / "out", judge="apart"))
    errors = samples(run.folder)["error"].unique().tolist()
    assert len(errors) == 1
    assert errors[0].startswith("ModelError: unsteady has other weights in the attack's process than in")


def test_results_say_which_judge_was_used(suite: Path, tmp_path: Path) -> None:
    suite.write_text('judge = "apart"\n' + suite.read_text())
    out = tmp_path / "out"
    run_suite(suite, Options(out=out, shard=(1, 2)))
    assert json.loads((out / "suite.json").read_text())["judge"] == "apart"
    assert set(read_results(out).cells()["judge"]) == {"apart"}
    parts = list(out.glob("samples/*/*.parquet"))
    assert {judge_of(pq.read_schema(part)) for part in parts} == {"apart"}
    run_suite(suite, Options(out=out, shard=(2, 2), judge="here"))
    # What one process judged while an attack ran in it is no better for the other.
    assert set(read_results(out).cells()["judge"]) == {"here"}
    assert not samples(out).empty


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("eps = ", "sise = 2\neps = ", '"sise" is unknown; did you mean "size"?'),
        ("eps = ", 'size = "much"\neps = ', "size = 'much' must be float"),
        ("eps = ", "epsilon = 1\neps = ", '"epsilon" is unknown; did you mean "eps"?'),
    ],
)
def test_wrong_parameters_are_the_errors_that_they_are_here(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    suite = tmp_path / "wrong.toml"
    suite.write_text(of("step").replace(old, new))
    told = []
    for judge in ("here", "apart"):
        with pytest.raises(HarnessError) as caught:
            run_suite(suite, Options(out=tmp_path / judge, judge=judge))
        told.append((type(caught.value), str(caught.value)))
    assert message in told[0][1]
    assert told[0] == told[1]
