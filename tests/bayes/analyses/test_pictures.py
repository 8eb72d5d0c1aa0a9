"""Figures 7, 13 to 16: changes of pixels and panels, from stored pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness_bayes.analyses import adversarial_panels, pixel_change
from harness_bayes.analyses.adversarial_panels import typical
from harness_bayes.analyses.study import read_study

from .two_class_fixture import case, cases, cell, picture, texts, write, wrong

RNG = np.random.default_rng(5)
IMAGES = {name: RNG.integers(60, 190, (3, 8, 8), dtype=np.uint8) for name in "abcd"}
ORIGINALS = {name: picture(pixels) for name, pixels in IMAGES.items()}


def changed(name: str, by: Any, **values: Any) -> dict[str, Any]:
    """A case whose picture differs from the original by so many 8-bit levels."""
    made = np.clip(IMAGES[name].astype(int) + by, 0, 255).astype(np.uint8)
    l2 = float(np.linalg.norm((made.astype(float) - IMAGES[name]) / 255))
    return case(name, l2, adversarial=picture(made), **values)


def test_changes_are_those_of_the_pictures(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    noise = {name: RNG.integers(-30, 31, (3, 8, 8)) for name in "abc"}
    rows = [changed(name, by) for name, by in noise.items()]
    rows += [wrong("d", adversarial=ORIGINALS["d"])]  # no adversarial: it was wrong
    found = pixel_change.run(write(tmp_path, [cell(rows)], originals=ORIGINALS))
    (row,) = found.table.to_dict("records")
    levels = np.abs(np.stack(list(noise.values()))).ravel()
    assert (row["n"], row["broken"], row["values"]) == (3, 3, levels.size)
    assert row["within_5"] == pytest.approx((levels <= 5).mean())
    assert row["unchanged"] == pytest.approx((levels == 0).mean())
    assert row["mean_change"] == pytest.approx(levels.mean())
    assert row["largest_change"] == levels.max()
    histogram, _ = np.histogram(levels, np.arange(257))
    assert row["histogram"] == pytest.approx(histogram / levels.size)
    assert f"mean L2 {row['mean_l2']:.2f}, n = 3" in texts(found.figure)
    assert "Bayes-optimal" in texts(found.figure)
    assert saved(found.figure)


def test_the_nearest_adversarial_is_the_one_looked_at(tmp_path: Path) -> None:
    near, far = [changed("a", 2), changed("b", 9)], [changed("a", 7), changed("b", 4)]
    cells = [cell(near), cell(far, attack="component-gradient")]
    results = write(tmp_path, cells, originals=ORIGINALS)
    (row,) = pixel_change.run(results).table.to_dict("records")
    assert row["mean_change"] == 3.0  # 2 and 4
    (row,) = pixel_change.run(results, attack="component-gradient").table.to_dict("records")
    assert row["mean_change"] == 5.5
    assert row["within_5"] == 0.5


def test_grey_images_are_counted_once_per_pixel(tmp_path: Path) -> None:
    grey = {"a": picture(np.full((1, 8, 8), 100))}
    rows = [case("a", 1.0, adversarial=picture(np.full((1, 8, 8), 110)))]
    (row,) = pixel_change.run(write(tmp_path, [cell(rows)], originals=grey)).table.to_dict("records")
    assert (row["values"], row["mean_change"]) == (64, 10.0)


@pytest.mark.parametrize("analysis", [pixel_change, adversarial_panels])
def test_without_pictures_the_remedy_is_keep(tmp_path: Path, analysis: Any) -> None:
    bare = cases([1.0, 2.0])
    kept = [changed("a", 3), changed("b", 3)]
    for number, (rows, originals) in enumerate([(bare, None), (kept, None), (bare, ORIGINALS)]):
        results = write(tmp_path / str(number), [cell(rows)], originals=originals)
        with pytest.raises(HarnessError, match="keep = true") as error:
            analysis.run(results)
        assert len(str(error.value).splitlines()) == 1


def test_a_picture_that_was_not_kept_is_told(tmp_path: Path) -> None:
    rows = [changed("a", 3), case("b", 1.0)]
    cells = [cell(rows), cell(cases([1.0, 1.0]), model="cnn")]
    table = pixel_change.run(write(tmp_path, cells, originals=ORIGINALS)).table
    assert table["reason"].tolist() == [
        "pictures of 1 of 2 adversarials are kept", "no picture of an adversarial is kept",
    ]  # fmt: skip
    assert np.isnan(table["within_5"].iloc[1])


def panel_cells() -> list[dict[str, Any]]:
    return [
        cell([changed("a", 20), changed("b", 30), changed("c", 90), case("d", None)]),
        cell([changed("a", 3), changed("b", 4), case("c", None), changed("d", 5)], model="cnn"),
    ]


def test_panels_show_the_same_images_for_every_model(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    found = adversarial_panels.run(write(tmp_path, panel_cells(), originals=ORIGINALS), magnification=4)
    table = found.table
    # a and b fooled both, and b is the Bayes-optimal model's median
    assert table["sample_id"].tolist() == ["b", "b", "a", "a"]
    assert table["model"].tolist() == ["bayes-optimal", "cnn"] * 2
    assert table["largest_change"].tolist() == [30, 4, 20, 3]
    assert table["l2"].tolist() == pytest.approx([np.sqrt(192) * by / 255 for by in (30, 4, 20, 3)])
    figure: Any = found.figure
    assert len(figure.axes) == 2 * (1 + 2 * 2)
    shown = [axes.images[0].get_array() for axes in figure.axes[:3]]
    assert np.array_equal(shown[0].transpose(2, 0, 1), IMAGES["b"])
    assert int(shown[2][0, 0, 0]) == round(127.5 + 4 * 30)
    told = texts(figure)
    assert f"L2 {table['l2'].iloc[0]:.2f}" in told
    assert "× 4 around grey" in told
    assert saved(figure)


def test_an_image_that_a_model_withstood_is_shown_for_the_others(tmp_path: Path) -> None:
    found = adversarial_panels.run(write(tmp_path, panel_cells(), originals=ORIGINALS), rows=4)
    blank = found.table[found.table["l2"].isna()]
    assert blank[["sample_id", "model"]].to_numpy().tolist() == [["c", "cnn"], ["d", "bayes-optimal"]]
    assert (blank["reason"] == "this image has no adversarial, or none is kept").all()
    assert "not fooled" in texts(found.figure)


def test_images_of_both_classes_take_turns(tmp_path: Path) -> None:
    rows = [changed(name, by) for name, by in zip("abcd", (20, 21, 22, 40), strict=True)]
    items = read_study(write(tmp_path, [cell(rows)])).attacked
    assert typical(items, {}, "abcd", 2) == ["b", "c"]
    assert typical(items, {"a": 0, "b": 0, "c": 0, "d": 1}, "abcd", 2) == ["b", "d"]
    # b is nearest to the median, but withstood the other model: it takes nobody's turn
    other = cell([changed(name, 9) for name in "acd"], model="cnn")
    items = read_study(write(tmp_path / "two", [cell(rows), other])).attacked
    assert typical(items, {"a": 0, "b": 0, "c": 0, "d": 1}, "abcd", 2) == ["c", "d"]


def test_data_sets_and_rows_can_be_named(tmp_path: Path) -> None:
    cells = [*panel_cells(), cell([changed("a", 2)], data="real", model="cnn")]
    results = write(tmp_path, cells, originals=ORIGINALS)
    table = adversarial_panels.run(results, datasets=["real[Smiling]"]).table
    assert set(table["dataset"]) == {"real[Smiling]"}
    with pytest.raises(HarnessError, match=r'data set "reel\[Smiling\]" is not in these results'):
        adversarial_panels.run(results, datasets=["reel[Smiling]"])
    with pytest.raises(HarnessError, match="rows = 0"):
        adversarial_panels.run(results, rows=0)
