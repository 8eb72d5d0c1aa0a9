"""The numbers of verification, against scikit-learn's and against counts by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from harness.analysis.comparisons import read_verifiers
from harness.errors import HarnessError
from harness.results import Results
from harness_biometrics.analyses import det, menagerie, numbers, operating_points, precision_recall, roc
from harness_biometrics.analyses.lines import thinned
from tests.biometrics import verifier_fixture as tiny

MODEL = tiny.Fake("one", attacks={"eyeglasses": 0.8}, evasions={"eyeglasses": 0.5})
CELL = "samples/one-eyeglasses-{}/part-00000.parquet"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tiny.write(tmp_path_factory.mktemp("numbers"), [MODEL], persons=8, folds=4, annotated=True)


@pytest.fixture(scope="module")
def clean(results: Results) -> pd.DataFrame:
    frame = pd.read_parquet(results.path / "comparisons.parquet")
    return frame[frame["split"] == "attacked"]


@pytest.fixture(scope="module")
def table(results: Results) -> pd.DataFrame:
    return numbers.run(results).table


def records(results: Results, goal: str) -> pd.DataFrame:
    return pd.read_parquet(results.path / CELL.format(goal))


def test_clean_numbers_are_of_the_attacked_split(table: pd.DataFrame, clean: pd.DataFrame) -> None:
    row = table.set_index("attack").loc["clean"]
    assert (row["genuine"], row["impostors"]) == (clean["same"].sum(), (~clean["same"]).sum())
    assert row["persons"] == 8
    assert row["auc_roc"] == pytest.approx(roc_auc_score(clean["same"], -clean["distance"]))
    assert row["average_precision"] == pytest.approx(
        average_precision_score(clean["same"], -clean["distance"])
    )
    assert row["average_precision_intruders"] == pytest.approx(
        average_precision_score(~clean["same"], clean["distance"])
    )
    assert row["auc_roc_low"] < row["auc_roc"] < row["auc_roc_high"]
    accepted = clean["distance"] < row["eer_threshold"]
    apart = accepted[~clean["same"]].mean() - (~accepted)[clean["same"]].mean()
    assert abs(apart) < 0.02
    assert np.isnan(row["tar_at_fmr_0.001"])  # 392 impostor comparisons
    assert not np.isnan(row["tar_at_fmr_0.01"])
    assert row["folds"] == 4
    assert 0.8 < row["accuracy_of_folds"] < 1
    assert row["accuracy_standard_error"] > 0


def test_attacked_intruders_stand_against_clean_genuine_comparisons(
    results: Results, table: pd.DataFrame, clean: pd.DataFrame
) -> None:
    row = table.query("goal == 'impersonate'").iloc[0]
    attacked = records(results, "impersonate")["distance_adv"]
    genuine = clean.loc[clean["same"], "distance"]
    same = np.repeat([True, False], [len(genuine), len(attacked)])
    assert row["auc_roc"] == pytest.approx(roc_auc_score(same, -np.concatenate([genuine, attacked])))
    # The largest threshold at which at most 5 % of the attacks succeed.
    threshold = np.sort(attacked)[int(0.05 * len(attacked))]
    assert (attacked < threshold).mean() <= 0.05 < (attacked <= threshold).mean()
    impostors = clean.loc[~clean["same"], "distance"]
    assert row["fmr_for_5"] == pytest.approx((impostors < threshold).mean())
    assert row["fnmr_for_5"] == pytest.approx((genuine >= threshold).mean())
    assert np.isnan(row["evaded_at_fmr_5"])


def test_evasion_is_told_in_both_senses(results: Results, table: pd.DataFrame) -> None:
    row = table.query("goal == 'evade'").iloc[0]
    attacked = records(results, "evade")["distance_adv"]
    stored = pd.read_parquet(results.path / "comparisons.parquet")
    own = stored[stored["split"] == "calibration"]
    genuine, impostors = (np.sort(own.loc[own["same"] == kind, "distance"]) for kind in (True, False))
    at_fmr = impostors[int(0.05 * len(impostors))]
    assert row["evaded_at_fmr_5"] == pytest.approx((attacked >= at_fmr).mean())
    rejected = int(0.05 * len(genuine))  # so many genuine comparisons may be rejected
    at_fnmr = np.nextafter(genuine[-1 - rejected], np.float32(9))
    between = own["distance"][(own["distance"] >= at_fnmr)].min()
    assert (genuine >= between).mean() <= 0.05
    assert row["evaded_at_fnmr_5"] == pytest.approx((attacked >= between).mean())
    assert between != at_fmr


def test_each_threshold_has_its_rates(results: Results, clean: pd.DataFrame) -> None:
    table = operating_points.run(results).table
    assert len(table) == 6
    for row in table.to_dict("records"):
        accepted = clean["distance"] < row["threshold"]
        assert row["fmr"] == row["far"] == pytest.approx(accepted[~clean["same"]].mean())
        assert row["fnmr"] == row["frr"] == pytest.approx((~accepted)[clean["same"]].mean())
        if row["goal"]:
            after = records(results, row["goal"])["distance_adv"]
            reached = (after < row["threshold"]) == (row["goal"] == "impersonate")
            assert row["success"] == pytest.approx(reached.mean())
            assert row["success_low"] <= row["success"] <= row["success_high"]
    assert table["flag"].tolist() == ["", "few-false-matches"] * 3
    assert table["chosen_for"].tolist() == [0.1, 0.01] * 3


def test_transfers_have_rows_of_their_own_and_are_in_no_curve(tmp_path: Path) -> None:
    """The victim is "one"; what was made on "other" brings intruders much nearer than its own attack."""
    results = tiny.write(tmp_path, [MODEL], persons=6)
    cells = pd.read_parquet(results.path / "cells.parquet")
    own = cells[cells["goal"] == "impersonate"]
    lent = own.assign(cell="lent", attack="eyeglasses from other", surrogate="other")
    pd.concat([cells, lent], ignore_index=True).to_parquet(results.path / "cells.parquet")
    (results.path / "samples/lent").mkdir()
    rows = records(results, "impersonate")
    nearer = rows.assign(distance_adv=np.float32(0.01), success=True)
    nearer.to_parquet(results.path / "samples/lent/part-00000.parquet")
    table = numbers.run(results).table
    transfer = table[table["surrogate"].notna()]
    assert transfer[["model", "attack", "surrogate"]].to_numpy().tolist() == [
        ["one", "eyeglasses from other", "other"]
    ]
    assert transfer["auc_roc"].tolist() == [0.0]
    assert len(table) == 1 + 2 + 1
    direct = table.query("attack == 'eyeglasses' and goal == 'impersonate'")["auc_roc"].item()
    assert direct > 0.5
    points = operating_points.run(results).table.query("surrogate == 'other'")
    assert points["success"].tolist() == [1.0, 1.0]
    for curve in (roc, det, precision_recall):
        found = curve.run(results)
        assert set(found.table["attack"]) == {"clean", "eyeglasses"}
        assert "without transfers" in found.figure.get_suptitle().replace("\n", " ")
    assert "without transfers" not in roc.run(tiny.write(tmp_path / "2", [MODEL])).figure.get_suptitle()


def test_what_is_not_valid_counts_as_its_original_and_errors_do_not_count(tmp_path: Path) -> None:
    results = tiny.write(tmp_path, [MODEL], persons=6)
    file = results.path / CELL.format("impersonate")

    def change(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        broken = {"error": "RuntimeError: no", "distance_adv": None, "success": None, "valid": None}
        invalid = {"valid": False, "success": False}
        return [row | (broken if at == 0 else invalid if at == 1 else {}) for at, row in enumerate(rows)]

    before = records(results, "impersonate")
    tiny.rewrite(file, change)
    (attacked,) = read_verifiers(results)[0].of("impersonate")
    assert len(attacked.cases) == len(before) - 1
    assert attacked.coverage == pytest.approx(1 - 1 / len(before))
    expected = [before["distance_clean"][1], *before["distance_adv"][2:]]
    np.testing.assert_array_equal(attacked.cases["after"].astype(np.float32), expected)


def test_curves_have_the_points_of_all_comparisons(results: Results, clean: pd.DataFrame) -> None:
    points = roc.run(results).table.query("attack == 'clean'")
    for row in points.iloc[::50].to_dict("records"):
        accepted = clean["distance"] < row["threshold"]
        assert row["fmr"] == pytest.approx(accepted[~clean["same"]].mean())
        assert row["tar"] == pytest.approx(accepted[clean["same"]].mean())
    assert points[["fmr", "tar"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    points = precision_recall.run(results).table.query("attack == 'clean'")
    for row in points.iloc[::50].to_dict("records"):
        rejected = clean["distance"] >= row["threshold"]
        assert row["recall"] == pytest.approx(rejected[~clean["same"]].mean())
        assert row["precision"] == pytest.approx((~clean["same"])[rejected].mean())


def test_the_det_curve_has_its_sentence(results: Results, table: pd.DataFrame, tmp_path: Path) -> None:
    found = det.run(results)
    row = table.query("goal == 'impersonate'").iloc[0]
    attacked = found.table[found.table["goal"] == "impersonate"]
    (sentence,) = attacked["sentence"].unique()
    assert sentence.startswith(
        f"Success of eyeglasses is at most 5 % at FMR {100 * row['fmr_for_5']:.1f} % ["
    )
    assert f"which costs FNMR {100 * row['fnmr_for_5']:.1f} % [" in sentence
    assert found.table.loc[found.table["goal"] != "impersonate", "sentence"].isna().all()
    stopping = tiny.Fake("one", attack_parameters={"early_stop": True})
    told = det.run(tiny.write(tmp_path, [stopping], persons=5)).table["sentence"].dropna().unique()
    assert [text.endswith("the attack stops at its goal, so that this flatters") for text in told] == [True]


def test_the_menagerie_counts_each_person_on_either_side(results: Results, clean: pd.DataFrame) -> None:
    table = menagerie.run(results).table
    threshold = operating_points.run(results).table["threshold"].iloc[0]
    impostors = clean[~clean["same"]]
    for role, side in (("target", "reference_identity"), ("intruder", "probe_identity")):
        own = table[(table["attack"] == "clean") & (table["role"] == role) & table["by"].isna()]
        expected = (impostors["distance"] < threshold).groupby(impostors[side]).mean()
        assert own.set_index("person")["rate"].to_dict() == pytest.approx(expected.to_dict())
    after = records(results, "impersonate")
    own = table[(table["attack"] == "eyeglasses") & (table["role"] == "target")]
    expected = (after["distance_adv"] < threshold).groupby(after["target"]).mean()
    named = own[own["by"].isna()]
    assert named.set_index("person")["rate"].to_dict() == pytest.approx(expected.to_dict())
    assert (named["rate_low"] <= named["rate"]).all()
    by = own[own["by"] == "Glasses"]
    odd = after["target"].astype(int) % 2
    expected = (after["distance_adv"] < threshold).groupby(odd.astype(float)).mean()
    assert by.set_index("value")["rate"].to_dict() == pytest.approx(expected.to_dict())
    persons = table[(table["attack"] == "eyeglasses") & (table["role"] == "person") & table["by"].isna()]
    assert persons["n"].tolist() == [2] * 8


def test_several_attacks_are_pooled_in_the_menagerie(tmp_path: Path) -> None:
    two = tiny.Fake("one", attacks={"eyeglasses": 0.3, "square": 0.9})
    table = menagerie.run(tiny.write(tmp_path, [two], persons=5)).table
    targets = table[(table["role"] == "target") & table["by"].isna()].set_index(["attack", "person"])["rate"]
    assert targets["all attacks"].to_numpy() == pytest.approx(
        (targets["eyeglasses"] + targets["square"]).to_numpy() / 2
    )


def test_models_on_the_same_persons_share_their_codes(tmp_path: Path) -> None:
    models = [MODEL, tiny.Fake("two", gap=0.5)]
    first, second = read_verifiers(tiny.write(tmp_path, models, persons=5))
    assert first.people == second.people
    np.testing.assert_array_equal(first.clean.probes, second.clean.probes)


def test_thinned_points_keep_the_ends_of_a_curve() -> None:
    columns = {"x": np.arange(10**5), "rate": np.linspace(0, 1, 10**5) ** 6}
    found = thinned(columns, ("rate",))
    assert len(found["x"]) <= 400
    assert found["x"][[0, -1]].tolist() == [0, 10**5 - 1]
    steps = np.diff(np.log10(found["rate"][found["rate"] > 1e-4]))
    assert steps.max() < 0.1


def test_without_comparisons_or_thresholds_the_reason_is_told(tmp_path: Path) -> None:
    results = tiny.write(tmp_path, [MODEL], persons=3, calibration=3)
    (results.path / "thresholds.parquet").unlink()
    with pytest.raises(HarnessError, match="no thresholds are stored"):
        operating_points.run(results)
    assert len(numbers.run(results).table) == 3
    (results.path / "comparisons.parquet").unlink()
    for analysis in (numbers, roc, det, menagerie):
        with pytest.raises(HarnessError, match="no comparisons are stored"):
            analysis.run(results)
