"""Verifiers in a suite, end to end: cases, records, stored comparisons, boards, resuming, judging again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import harness
from harness.cases.datasets import open_datasets
from harness.catalog import catalog
from harness.cli import main
from harness.errors import DatasetError, ManifestError
from harness.export import export
from harness.manifest import read_suite
from harness.options import Options
from harness.plan import plan
from harness.results import Results
from harness.session.forecast import forecast
from harness.session.session import make_plan, run_suite
from harness.session.verification import verify
from harness.shards.preparation import Preparation
from harness.store import Store, png
from harness.zoo import obtain
from tests.installing import plugin_installed

PLUGIN = Path(__file__).parent / "plugin"
COMPARISONS = {"targets": 2, "intruders": 3, "genuine": 2, "mirror": True, "fmr": [0.1, 0.01, 0.001]}
NEW = ("reference", "identity", "distance_clean", "distance_adv", "threshold")


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with plugin_installed(tmp_path_factory.mktemp("site"), PLUGIN, "toy", "toy_verifiers"):
        yield


def suite(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "toy",
        "keep": True,
        "shard_size": 4,
        "dataset": [{
            "use": "synthetic-faces",
            "size": [20, 16],
            "count": 1200,
            "partition": "test",
            "sample": 4,
            "comparisons": COMPARISONS,
        }],
        "model": [
            {"use": "shrunk"},
            {"use": "shrunk", "id": "blocks", "kind": "city-block"},
            {"use": "bright"},
        ],
        "attack": [
            {"use": "pgd", "eps": "24/255", "steps": 4},
            {"use": "noise", "eps": "8/255", "goals": ["impersonate"]},
        ],
        "transfer": [{"surrogate": "shrunk", "victim": "blocks", "attack": "pgd"}],
    } | changes  # fmt: skip


def dots(comparisons: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A suite of one verifier on images that are made at once."""
    table = COMPARISONS if comparisons is None else comparisons
    data = {"use": "dots", "comparisons": table} if table else {"use": "dots"}
    noise = [{"use": "noise", "eps": "8/255"}]
    return suite(dataset=[data], model=[{"use": "shrunk"}], attack=noise, transfer=[]) | changes


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, _installed: None) -> Results:
    return harness.run(suite(), out=tmp_path_factory.mktemp("toy"))


def points(results: Results) -> pd.DataFrame:
    return pq.read_table(results.path / "thresholds.parquet").to_pandas()


def comparisons(results: Results) -> pd.DataFrame:
    return pq.read_table(results.path / "comparisons.parquet").to_pandas()


# --- cells, records and boards ----------------------------------------------------------------------------


def test_verifiers_and_attribute_models_share_a_suite(ran: Results) -> None:
    cells = ran.cells()
    assert set(cells["status"]) == {"done", "skipped"}
    found = cells[cells["status"] == "done"].groupby(["model", "attack"])["goal"].agg(sorted).to_dict()
    assert found == {
        ("shrunk", "pgd"): ["evade", "impersonate"],
        ("shrunk", "noise"): ["impersonate"],
        ("blocks", "pgd"): ["evade", "impersonate"],
        ("blocks", "noise"): ["impersonate"],
        ("blocks", "pgd from shrunk"): ["evade", "impersonate"],
        ("bright", "pgd"): ["flip"],
    }
    (skipped,) = cells.loc[cells["status"] == "skipped", "error"]
    assert skipped == 'it is to impersonate, which asks nothing of the head "attributes"'
    cases = cells[cells["status"] == "done"].set_index(["model", "attack", "goal"])["cases"]
    assert cases["shrunk", "pgd", "impersonate"] == 2 * 3
    assert cases["shrunk", "pgd", "evade"] == 2 * 2


def test_records_say_what_was_compared(ran: Results) -> None:
    samples = ran.samples()
    other = samples[samples["goal"] == "flip"]
    assert other[list(NEW)].isna().all(axis=None)
    own = samples[samples["goal"] != "flip"]
    assert own[list(NEW)].notna().all(axis=None)
    towards = own["goal"] == "impersonate"
    assert ((own["identity"] == own["target"]) == ~towards).all()
    below = own["threshold"] - own["distance_adv"]
    np.testing.assert_allclose(np.where(towards, below, -below), own["margin_adv"], atol=1e-5)
    assert (own["reached"] == (np.where(towards, below, -below) > 0)).all()
    accepted = own["distance_clean"] < own["threshold"]
    assert (own["clean_correct"] == (accepted != towards)).all()
    assert own["clean_correct"].nunique() == 2
    # The surrogate's references are compared by the victim, with its own threshold.
    point = points(ran).groupby("model")["threshold"].first()
    for model, rows in own.groupby("model"):
        assert np.allclose(rows["threshold"], point[model])
    made = own[own["attack"] == "pgd"].set_index(["model", "goal"])["reference"]
    judged = own[own["attack"] == "pgd from shrunk"].set_index("goal")["reference"]
    for goal in ("evade", "impersonate"):
        assert judged[goal].tolist() == made["shrunk", goal].tolist()


def test_clean_distances_are_those_of_the_stored_comparisons(ran: Results) -> None:
    known = comparisons(ran).set_index(["model", "probe", "reference"])["distance"]
    own = ran.samples(where={"goal": ["impersonate", "evade"], "attack": ["pgd", "noise"]})
    found = [known[row.model, row.sample_id, row.reference] for row in own.itertuples()]
    np.testing.assert_allclose(own["distance_clean"], found, atol=1e-5)


def test_stored_comparisons_hold_every_clean_one(ran: Results) -> None:
    table = comparisons(ran)
    assert not table.duplicated(["model", "probe", "reference"]).any()
    assert (table["same"] == (table["probe_identity"] == table["reference_identity"])).all()
    assert (table["probe"] != table["reference"]).all()
    assert table["fold"].isna().all()
    people = {split: set(rows["probe_identity"]) for split, rows in table.groupby("split")}
    assert not people["attacked"] & people["calibration"]
    for (model, fmr), point in points(ran).groupby(["model", "fmr"]):
        own = table[(table["model"] == model) & (table["split"] == "calibration")]
        apart = own.loc[~own["same"], "distance"]
        assert (apart < point["threshold"].item()).sum() == point["false_matches"].item()
        assert point["empirical_fmr"].item() <= fmr
        assert point["impostors"].item() == len(apart)


def test_boards_have_verifiers_beside_attribute_models(ran: Results) -> None:
    board = ran.leaderboard().set_index(["model", "goal", "attack"]).sort_index()
    assert board.loc[("bright", "flip")]["threshold"].isna().all()
    verifiers = board.drop("bright")
    assert verifiers["threshold"].notna().all()
    row = board.loc["shrunk", "impersonate", "pgd"]
    own = ran.samples(where={"model": "shrunk", "goal": "impersonate", "attack": "pgd"})
    assert row["clean_accuracy"] == own["clean_correct"].mean()
    assert row["success_rate"] == own.loc[own["clean_correct"], "success"].mean()
    (point,) = points(ran).query("model == 'shrunk' and fmr == 0.1").to_dict("records")
    assert (row["threshold_fmr"], row["threshold_fnmr"]) == (point["fmr_here"], point["fnmr_here"])
    assert row["success_rate"] > board.loc["shrunk", "impersonate", "noise"]["success_rate"]
    assert board.loc["shrunk", "impersonate", "pgd"]["clusters"] > 1
    for format in ("md", "html", "latex"):
        assert f"accepts below {point['threshold']:.4f}, with FMR" in export(ran.path, format)


def test_a_threshold_on_few_false_matches_is_told_and_takes_no_rank(tmp_path: Path) -> None:
    found = harness.run(dots(COMPARISONS | {"threshold": 0.01}), out=tmp_path)
    board = found.leaderboard()
    assert (board["flags"] == "few-false-matches").all()
    assert board["rank"].notna().all()
    assert (board["threshold"] == 0.01).all()
    page = export(tmp_path, "md")
    above = page[: page.index("success %")]
    assert "shrunk on dots: the verifier's threshold rests on fewer than 30 false matches" in above
    assert "accepts below 0.0100, with FMR 0.00 % and FNMR 100.00 % here" in above
    assert points(found)["fmr"].isna().tolist() == [True, False, False, False]


def test_a_constant_verifier_has_no_rank(tmp_path: Path) -> None:
    models = [{"use": "shrunk", "kind": "constant"}]
    board = harness.run(dots(model=models), out=tmp_path).leaderboard()
    assert board["flags"].str.startswith("constant-decisions").all()
    assert board["rank"].isna().all()


# --- what is kept when a run goes on ----------------------------------------------------------------------


def test_a_run_that_ended_has_nothing_left_to_do(
    ran: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the comparisons and thresholds, whose files are left as they are."""

    def refuse(*given: object) -> None:
        raise AssertionError("it was compared again")

    shutil.copytree(ran.path, tmp_path / "again")
    for name in ("comparisons_of", "thresholds_of"):
        monkeypatch.setattr(f"harness.session.comparisons.{name}", refuse)
    files = [tmp_path / "again" / name for name in ("comparisons.parquet", "thresholds.parquet")]
    before = [file.stat().st_ino for file in files]
    summary = run_suite(ran.suite["suite"], Options(out=tmp_path / "again"))
    assert (summary.cases_done, summary.failed) == (0, False)
    assert [file.stat().st_ino for file in files] == before
    pd.testing.assert_frame_equal(comparisons(harness.read_results(tmp_path / "again")), comparisons(ran))


def test_a_run_that_was_killed_goes_on(ran: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the second model's first shard: the comparisons of the first are copied."""
    written, keep = [], Store.write_part

    def dying(self: Store, cell: str, shard: int, table: Any, *more: Any) -> None:
        if len(written) == 7:
            raise KeyboardInterrupt
        written.append(cell)
        keep(self, cell, shard, table, *more)

    monkeypatch.setattr(Store, "write_part", dying)
    with pytest.raises(KeyboardInterrupt):
        harness.run(suite(), out=tmp_path)
    monkeypatch.setattr(Store, "write_part", keep)
    assert set(pq.read_table(tmp_path / "comparisons.parquet")["model"].to_pylist()) == {"shrunk", "blocks"}
    again = harness.run(suite(), out=tmp_path)
    pd.testing.assert_frame_equal(comparisons(again), comparisons(ran))
    pd.testing.assert_frame_equal(points(again), points(ran))
    columns = ["sample_id", "goal", "target", *NEW, "success", "linf"]
    pd.testing.assert_frame_equal(again.samples(columns=columns), ran.samples(columns=columns))


def test_a_suite_without_verifiers_keeps_no_comparisons(ran: Results, tmp_path: Path) -> None:
    shutil.copytree(ran.path, tmp_path / "again")
    plain = suite(model=[{"use": "bright"}], transfer=[])
    found = harness.run(plain, out=tmp_path / "again")
    assert not (found.path / "comparisons.parquet").exists()
    assert not (found.path / "thresholds.parquet").exists()
    assert "threshold" not in found.leaderboard().columns


def test_comparisons_change_no_cell_of_other_models() -> None:
    """Their ids are those of a suite without the table, so that folders of before are resumed."""
    alone = dots({}, model=[{"use": "bright"}])
    beside = dots(model=[{"use": "bright"}, {"use": "shrunk"}])
    assert id_of(alone, "flip") == id_of(beside, "flip")


def test_what_decides_cases_is_part_of_the_id_of_cells() -> None:
    changes: list[dict[str, Any]] = [
        {"mirror": False},
        {"fmr": [0.01, 0.1]},
        {"threshold": 1.0},
        {"calibration_targets": 2},
        {"clean_intruders": 9},
        {"selection": "first"},
        {"references": 2},
        {"intruders": 2},
    ]
    ids = [id_of(dots(COMPARISONS | change)) for change in changes]
    assert len({id_of(dots()), id_of(dots(), "evade"), *ids}) == len(changes) + 2
    # What the attacked cases do not depend on, is none.
    assert id_of(dots(COMPARISONS | {"fmr": [0.1]})) == id_of(dots())
    assert id_of(dots(COMPARISONS | {"genuine": 1})) == id_of(dots())


def id_of(manifest: dict[str, Any], goal: str = "impersonate") -> str:
    planned = plan(read_suite(manifest), catalog())
    prepared = Preparation(
        planned,
        open_datasets(planned, None),
        lambda model, dataset: obtain(model, dataset, 0, torch.device("cpu")),
    )
    return prepared.job(next(cell for cell in planned.cells if cell.goal == goal)).id


# --- the judge --------------------------------------------------------------------------------------------


def test_the_folder_is_judged_again_from_its_files(ran: Results) -> None:
    report = verify(ran.path, "cpu")
    assert not report.differences
    assert not report.missing
    assert report.compared == len(ran.samples()) - 2 * 2 - 2 * 3 + 10  # transfers lend theirs
    assert {"comparisons.parquet", "thresholds.parquet"} <= set(report.compared_files)


def test_what_was_edited_is_found(ran: Results, tmp_path: Path) -> None:
    shutil.copytree(ran.path, tmp_path / "edited")
    edit(tmp_path / "edited/comparisons.parquet", {"distance": 0.5}, 3)
    edit(tmp_path / "edited/thresholds.parquet", {"false_matches": 400}, 0)
    cell = next(iter(ran.cells().query("goal == 'evade' and attack == 'pgd'")["cell"]))
    edit(tmp_path / f"edited/samples/{cell}/part-00000.parquet", {"threshold": 9.0, "identity": "x"}, 0)
    told = "\n".join(map(str, verify(tmp_path / "edited", "cpu").differences))
    assert "comparisons.parquet: shrunk on synthetic-faces, from row 0: the distance of synthetic-" in told
    assert "thresholds.parquet: shrunk on synthetic-faces, FMR 0.1: false_matches is " in told
    assert "recorded 400" in told
    assert "threshold is " in told
    assert "recorded x" in told
    assert "distance and threshold are" in told


def edit(file: Path, values: dict[str, Any], at: int) -> None:
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[at].update(values)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)


@pytest.mark.parametrize("judge", ["here", "apart"])
def test_a_target_with_one_intruder_has_errors_and_the_others_have_outcomes(
    tmp_path: Path, judge: str
) -> None:
    """Nothing is left to learn a patch on; the case says so, and nobody takes it for robust."""
    patch = [{"use": "universal-patch", "goals": ["impersonate"], "iterations": 1, "mini_batch": 4}]

    def ran(intruders: int) -> Results:
        table = COMPARISONS | {"intruders": intruders}
        return harness.run(dots(table, attack=patch), out=tmp_path / str(intruders), judge=judge)

    alone = ran(1)
    assert alone.samples()["error"].str.contains("one alone; take a larger sample").tolist() == [True] * 2
    assert alone.samples()["success"].isna().all()
    assert (alone.leaderboard()["coverage"] == 0).all()
    two = ran(2)
    assert two.samples()["error"].isna().tolist() == [True] * 2  # one of two each, whoever was drawn
    assert two.cells()["status"].tolist() == ["done"]


def test_attacks_apart_give_the_same_records(tmp_path: Path) -> None:
    pgd = [{"use": "pgd", "eps": "24/255", "steps": 3}]
    apart, here = (
        harness.run(dots(attack=pgd), out=tmp_path / judge, judge=judge) for judge in ("apart", "here")
    )
    columns = ["sample_id", "goal", "target", *NEW, "success", "linf", "forwards", "error"]
    pd.testing.assert_frame_equal(apart.samples(columns=columns), here.samples(columns=columns))
    assert set(apart.cells()["judge"]) == {"apart"}


# --- plans ------------------------------------------------------------------------------------------------


def test_a_plan_counts_cases_and_a_limit_bounds_them(ran: Results, tmp_path: Path) -> None:
    told = forecast(make_plan(suite(), Options()), Options())
    counts = {
        (cell["model"], cell["attack"], cell["goal"]): cell["cases"]
        for cell in told.cells
        if cell["goal"] != "flip"
    }
    cells = ran.cells().query("status == 'done' and goal != 'flip'")
    recorded = cells.set_index(["model", "attack", "goal"])["cases"]
    assert counts == recorded.to_dict()
    few = forecast(make_plan(suite(), Options()), Options(limit=1))
    assert {cell["cases"] for cell in few.cells if cell["goal"] != "flip"} == {1}
    limited, whole = (
        harness.run(dots(), out=tmp_path / str(limit), limit=limit).samples() for limit in (2, 100)
    )
    key = ["sample_id", "goal", "reference", "threshold"]
    assert len(limited) == 4
    assert len(whole) == 10
    both = limited.merge(whole, on=key)
    assert len(both) == 4
    # On some processors, batches of other sizes change the last bits.
    assert both["margin_adv_x"].tolist() == pytest.approx(both["margin_adv_y"].tolist(), abs=1e-5)


def test_persons_that_a_data_set_lacks_are_told_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the 9 persons of the dots, 3 are in each partition."""
    with pytest.raises(DatasetError, match=r"targets = 4, but of the 3 persons .* write targets = 3"):
        harness.run(dots(COMPARISONS | {"targets": 4}), out=tmp_path / "refused")
    line = "dots: targets = 4, but only 3 persons have enough images; all are taken"
    file = tmp_path / "suite.toml"
    file.write_text(
        'schema = 1\nname = "toy"\nkeep = true\n'
        '[[dataset]]\nuse = "dots"\n[dataset.comparisons]\ntargets = 4\ngenuine = 2\nexact = []\n'
        '[[model]]\nuse = "shrunk"\n[[attack]]\nuse = "noise"\neps = "8/255"\n'
    )
    for verb in (["run", str(file), "--out", str(tmp_path / "out"), "--limit", "1"], ["plan", str(file)]):
        assert main(verb) == 0
        assert line in capsys.readouterr().out.splitlines()
    found = harness.read_results(tmp_path / "out")
    assert found.suite["persons"]["dots"]["targets"] == {"asked": 4, "drawn": 3}
    assert not verify(found.path, "cpu").differences


def test_a_verifier_without_comparisons_is_skipped_with_the_remedy() -> None:
    with pytest.raises(ManifestError, match=r"write a table \[dataset.comparisons\] below it"):
        harness.run(dots({}))


def test_stored_images_are_those_of_verifiers_too(ran: Results) -> None:
    """originals.parquet has every attacked image, and annotations say who they show."""
    stored = pq.read_table(ran.path / "originals.parquet").to_pandas()
    people = pq.read_table(ran.path / "annotations.parquet").to_pandas().query("name == 'identity'")
    attacked = set(ran.samples()["sample_id"])
    assert attacked <= set(stored["sample_id"])
    assert attacked <= set(people["sample_id"])
    assert png.decode(stored["original"][0], 3).shape == (3, 20, 16)


def test_comparisons_of_a_file_are_attacked_and_stored_with_their_folds(tmp_path: Path) -> None:
    rows = ["image_a,image_b,same,fold"]
    for person in range(8):
        fold, next_one = person // 4, 4 * (person // 4) + (person + 1) % 4
        rows += [f"{person:03d}.png,{person + 9 * turn:03d}.png,1,{fold}" for turn in (1, 2)]
        rows += [f"{person:03d}.png,{next_one + 9 * turn:03d}.png,0,{fold}" for turn in (1, 2)]
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(rows) + "\n")
    found = harness.run(dots({"file": str(file), "mirror": True, "fmr": 0.5}), out=tmp_path / "out")
    table = comparisons(found)
    assert len(table) == 32
    assert table.groupby("split")["fold"].unique().map(list).to_dict() == {
        "attacked": [1],
        "calibration": [0],
    }
    assert sorted(found.cells()["cases"]) == [8, 8]
    assert not verify(found.path, "cpu").differences
