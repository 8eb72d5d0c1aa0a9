"""Raw scores: read back as bob.bio.base and pyeer read them, they are the comparisons as similarities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.cli import main
from harness.errors import ResultsError
from harness.export import SCORE_FORMATS, export
from harness.export.scores import SCORES, write_scores
from tests.biometrics import verifier_fixture as tiny

MODELS = (
    tiny.Fake("one", attacks={"eyeglasses": 0.8}, evasions={"eyeglasses": 0.5}),
    tiny.Fake("verifier[recipe=doa,x=1/2]", attacks={}),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("scores"), MODELS, persons=5, calibration=4).path


def test_bob_gets_five_columns_of_similarities(folder: Path, tmp_path: Path) -> None:
    files = write_scores(folder, "scores-bob", tmp_path)
    assert sorted(str(file.relative_to(tmp_path)) for file in files) == [
        "faces/one/scores-dev.csv",
        "faces/one/scores-eval-eyeglasses-region-evade.csv",
        "faces/one/scores-eval-eyeglasses-region-impersonate.csv",
        "faces/one/scores-eval.csv",
        "faces/verifier_recipe=doa,x=1_2_/scores-dev.csv",
        "faces/verifier_recipe=doa,x=1_2_/scores-eval.csv",
    ]
    stored = pd.read_parquet(folder / "comparisons.parquet")
    for name, split in (("dev", "calibration"), ("eval", "attacked")):
        own = stored[(stored["model"] == "one") & (stored["split"] == split)].reset_index(drop=True)
        read = pd.read_csv(tmp_path / f"faces/one/scores-{name}.csv", dtype={"probe_subject_id": str})
        assert list(read) == [
            "probe_template_id",
            "probe_subject_id",
            "bio_ref_template_id",
            "bio_ref_subject_id",
            "score",
        ]
        assert read["probe_template_id"].tolist() == own["probe"].tolist()
        assert read["bio_ref_template_id"].tolist() == own["reference"].tolist()
        # bob tells genuine comparisons by equal subjects, and takes higher scores for more alike.
        genuine = read["probe_subject_id"] == read["bio_ref_subject_id"].astype(str)
        assert genuine.tolist() == own["same"].tolist()
        np.testing.assert_array_equal(read["score"].astype(np.float32), -own["distance"])
        assert read["score"][genuine].mean() > read["score"][~genuine].mean()


def test_attacked_scores_stand_beside_the_clean_ones(folder: Path, tmp_path: Path) -> None:
    write_scores(folder, "scores-bob", tmp_path)
    read = pd.read_csv(tmp_path / "faces/one/scores-eval-eyeglasses-region-impersonate.csv")
    records = pd.read_parquet(folder / "samples/one-eyeglasses-impersonate/part-00000.parquet")
    np.testing.assert_array_equal(read["score"].astype(np.float32), -records["distance_adv"])
    assert (read["probe_subject_id"] != read["bio_ref_subject_id"]).all()


def test_pyeer_gets_a_genuine_and_an_impostor_file(folder: Path, tmp_path: Path) -> None:
    files = write_scores(folder, "scores-pyeer", tmp_path)
    assert {file.name for file in files if file.parent.name == "one"} == {
        "genuine.txt",
        "impostor.txt",
        "impostor-eyeglasses-region-impersonate.txt",
        "genuine-eyeglasses-region-evade.txt",
    }
    stored = pd.read_parquet(folder / "comparisons.parquet")
    own = stored[(stored["model"] == "one") & (stored["split"] == "attacked")]
    for name, same in (("genuine", True), ("impostor", False)):
        # pyeer takes the last column of each line.
        lines = (tmp_path / f"faces/one/{name}.txt").read_text().splitlines()
        read = np.array([float(line.split()[-1]) for line in lines], np.float32)
        np.testing.assert_array_equal(read, -own.loc[own["same"] == same, "distance"])


def test_an_image_that_is_not_valid_scores_as_its_original(tmp_path: Path) -> None:
    results = tiny.write(tmp_path / "r", MODELS[:1], persons=5, calibration=4)
    file = results.path / "samples/one-eyeglasses-impersonate/part-00000.parquet"
    records = pd.read_parquet(file)
    tiny.rewrite(file, lambda rows: [row | {"valid": at > 0} for at, row in enumerate(rows)])
    write_scores(results.path, "scores-pyeer", tmp_path / "out")
    lines = (tmp_path / "out/faces/one/impostor-eyeglasses-region-impersonate.txt").read_text().splitlines()
    assert np.float32(lines[0]) == -records["distance_clean"][0]
    assert np.float32(lines[1]) == -records["distance_adv"][1]


def test_the_command_asks_for_a_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder), "--format", "scores-bob"]) == 2
    assert "name a folder with -o FOLDER" in capsys.readouterr().err
    assert main(["export", str(folder), "--format", "scores-pyeer", "-o", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == f"6 files in {tmp_path / 'new'}\n"
    assert (tmp_path / "new/faces/one/genuine.txt").is_file()


def test_a_folder_without_comparisons_and_an_unknown_format_are_told(tmp_path: Path, folder: Path) -> None:
    assert tuple(SCORES) == SCORE_FORMATS
    with pytest.raises(ResultsError, match='"scores-bop" is unknown'):
        export(folder, "scores-bop")
    results = tiny.write(tmp_path / "r", MODELS[:1], persons=2, calibration=2)
    (results.path / "comparisons.parquet").unlink()
    with pytest.raises(ResultsError, match=r"no comparisons are stored; write \[dataset.comparisons\]"):
        write_scores(results.path, "scores-bob", tmp_path / "out")
