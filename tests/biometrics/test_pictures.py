"""Pictures of attacks: what they change, where it lands, and what stands beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.results import Results
from harness_biometrics.analyses import distal, masks, patches
from harness_biometrics.analyses.kept import kept_of
from harness_biometrics.analyses.patches import _patch
from harness_biometrics.analyses.study import read_study
from tests.biometrics.verifier_fixture import REGIONS, Fake, picture, write

MODEL = Fake("one", attacks=dict.fromkeys(REGIONS, 0.8), evasions={"eyeglasses": 0.5})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return write(tmp_path_factory.mktemp("pictures"), [MODEL], persons=5, calibration=4, pictures=True)


def test_masks_are_the_changed_pixels(results: Results) -> None:
    table = masks.run(results).table.query("goal == 'impersonate'").set_index("attack")
    assert "distal" not in table.index  # it changes whole images
    for name in ("eyeglasses", "universal-patch"):
        rows, columns = REGIONS[name]
        box = [rows.start, columns.start, rows.stop, columns.stop]
        assert table.loc[name, ["top", "left", "bottom", "right"]].tolist() == box
        assert table.loc[name, "places"] == 1
        assert table.loc[name, "share"] == pytest.approx(table.loc[name, "pixels"] / 32**2)
    square = table.loc["square"]
    assert square["pixels"] == 36
    assert square["places"] == 3
    assert square["column"] == 15 / 32


def test_a_patch_is_what_the_adversarial_shows_in_its_box(results: Results) -> None:
    attacked = next(one for one in read_study(results)[0].of("impersonate") if one.kind == "universal-patch")
    kept = next(kept_of(results, attacked))
    rows, columns = REGIONS["universal-patch"]
    noise = np.random.default_rng(int(kept.facts["target"])).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(_patch(kept), noise[:, rows, columns])
    np.testing.assert_array_equal(kept.reference, picture(10 * int(kept.facts["target"])))


def test_panels_have_a_row_for_each_picture(results: Results) -> None:
    table = patches.run(results, persons=3, faces=2).table
    assert table.groupby("target").size().tolist() == [2, 2, 2]
    table = distal.run(results, persons=4).table
    assert table["target"].is_unique
    assert len(table) == 4
    records = pd.read_parquet(results.path / "samples/one-distal-impersonate/part-00000.parquet")
    first = records[records["target"] == table["target"][0]].iloc[0]
    assert table["distance_adv"][0] == pytest.approx(first["distance_adv"])


def test_references_that_are_not_kept_are_told(results: Results, tmp_path: Path) -> None:
    other = write(tmp_path, [MODEL], persons=5, calibration=4, pictures=True)
    file = other.path / "originals.parquet"
    originals = pd.read_parquet(file)
    originals[~originals["sample_id"].str.endswith("-0.png")].to_parquet(file)
    for analysis in (patches, distal):
        figure = analysis.run(other).figure
        assert figure is not None
        assert any("(not kept)" in text.get_text() for text in figure.texts)
        assert not any("(not kept)" in text.get_text() for text in analysis.run(results).figure.texts)


def test_without_pictures_the_remedy_is_told(tmp_path: Path) -> None:
    bare = write(tmp_path, [Fake("one")], persons=3, calibration=3)
    with pytest.raises(HarnessError, match="no pictures are kept; put keep = true into the suite"):
        masks.run(bare)
    with pytest.raises(HarnessError, match='no attack "distal" was run'):
        distal.run(bare)
    with pytest.raises(HarnessError, match='attack "universal-patch" is not in these results'):
        patches.run(bare)
