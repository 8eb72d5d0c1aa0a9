"""Figure 6, tables 1 to 3 and figure 8: numbers by hand, and what is said where they are missing."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from harness.errors import HarnessError
from harness_bayes.analyses import capacity, l2_by_model, training_data, two_class_accuracy
from harness_bayes.analyses.quoted import TABLE_1, TABLE_2, published
from harness_bayes.analyses.study import read_study

from .two_class_fixture import card, case, cases, cell, failed, texts, write, wrong

GRADIENT = "component-gradient"


def test_l2_by_model_and_its_panels(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    cells = [
        cell(cases([2.0, 4.0, None]), attack=GRADIENT, stand_in_for="faces"),
        cell(cases([3.0, 3.0, 5.0]), stand_in_for="faces"),
        cell([*cases([0.5, 1.5]), wrong("x")], model="cnn", stand_in_for="faces"),
        cell(cases([0.6]), model="cnn-wide", kind="cnn", parameters={"width": 24}, stand_in_for="faces"),
        cell(cases([None, None]), model="rbf-svm", stand_in_for="faces"),
    ]
    cards = {(cells[2]["dataset"], "cnn"): card(0.75, 400)}
    found = l2_by_model.run(write(tmp_path, cells, cards=cards))
    table = found.table.set_index(["model", "attack"])
    assert table.loc[("bayes-optimal", GRADIENT), ["mean_l2", "n", "n_right"]].tolist() == [3.0, 2, 3]
    assert table.loc[("bayes-optimal", GRADIENT), "success_rate"] == pytest.approx(2 / 3)
    assert table.loc[("bayes-optimal", "closest"), "mean_l2"] == pytest.approx((2 + 3 + 5) / 3)
    assert table.loc[("cnn", "cw-l2"), ["mean_l2", "median_l2", "n", "n_right"]].tolist() == [1.0, 1.0, 2, 2]
    assert pd.isna(table.loc[("rbf-svm", "cw-l2"), "mean_l2"])
    accuracies = table.loc[("cnn", "cw-l2"), ["clean_accuracy", "cases", "test_accuracy", "test_images"]]
    assert accuracies.tolist() == [pytest.approx(2 / 3), 3, 0.75, 400]
    assert pd.isna(table.loc[("rbf-svm", "cw-l2"), "test_accuracy"])
    assert "card tells no accuracy" in table.loc[("rbf-svm", "cw-l2"), "test_reason"]
    assert table.loc[("rbf-svm", "cw-l2"), "reason"] == "no case that was right was broken"
    told = texts(found.figure)
    assert "Smiling (celeba in\nplace of faces)" in told
    assert "CNN-wide" not in told  # figure 8 is about variants
    assert "attacked, but without an adversarial" in told
    assert "CNN-wide" in texts(l2_by_model.run(write(tmp_path, cells), every_model=True).figure)
    assert saved(found.figure)


def test_attacks_with_a_budget_have_no_smallest_distance(tmp_path: Path) -> None:
    bounded = cell(cases([1.0, 2.0]), attack="pgd", threat="l2 3", eps=3.0)
    with pytest.raises(HarnessError, match="every attack had a budget"):
        l2_by_model.run(write(tmp_path / "0", [bounded]))
    assert len(l2_by_model.run(write(tmp_path / "0", [bounded]), attacks=["pgd"]).table) == 1
    both = l2_by_model.run(write(tmp_path / "1", [bounded, cell(cases([1.5, 1.5]))])).table
    assert set(both["attack"]) == {"cw-l2"}
    with pytest.raises(HarnessError, match='attack "cw" is not in these results'):
        l2_by_model.run(write(tmp_path / "2", [bounded]), attacks=["cw"])


def test_both_conventions_of_accuracy(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    rows = [*cases([1.0] * 6), *cases([None], prefix="w"), *(wrong(f"x{n}") for n in range(3))]
    results = write(
        tmp_path, [cell(rows, model="rbf-svm")], cards={("symmetric[Smiling]", "rbf-svm"): card(0.75, 400)}
    )
    found = two_class_accuracy.run(results)
    (row,) = found.table.to_dict("records")
    assert (row["n"], row["clean_accuracy"]) == (10, pytest.approx(0.7))
    assert row["robust_accuracy"] == pytest.approx(0.1)  # the one that withstood
    assert row["adversarial_accuracy"] == pytest.approx(0.4)  # and the three that an attack would turn
    assert (row["published_clean"], row["published_adversarial"]) == (0.96, 0.10)
    assert (row["published_images"], row["published_table"]) == ("samples of CelebA", "table 1")
    assert (row["test_accuracy"], row["test_images"]) == (0.75, 400)
    assert saved(found.figure)


def test_a_model_that_is_broken_everywhere_scores_one_hundred_less_its_accuracy(tmp_path: Path) -> None:
    rows = [*cases([1.0] * 88), *(wrong(f"x{n}") for n in range(12))]
    (row,) = two_class_accuracy.run(write(tmp_path, [cell(rows, model="cnn", data="real")])).table.to_dict(
        "records"
    )
    assert row["clean_accuracy"] == 0.88
    assert row["adversarial_accuracy"] == pytest.approx(1 - row["clean_accuracy"])
    # as in the paper's own row of the same classes
    assert row["published_adversarial"] == pytest.approx(1 - row["published_clean"])
    assert row["robust_accuracy"] == 0.0
    study = read_study(write(tmp_path / "all", [cell(rows, model="linear-svm", data="real")]))
    told = [
        published(study.attacked[0].data, kind) for kind in ("bayes-optimal", "cnn", "linear-svm", "rbf-svm")
    ]
    assert [quote and (quote[0].value, quote[1].value, quote[0].of) for quote in told] == [
        None, (88.0, 12.0, "CelebA"), (88.3, 11.7, "CelebA"), (84.3, 16.3, "CelebA"),
    ]  # fmt: skip


def test_published_figures_are_quoted_for_the_same_classes_and_models_alone(tmp_path: Path) -> None:
    cells = [
        cell(cases([1.0, 2.0]), model="cnn", pair=["6", "0"], parameters={"width": 8}),
        cell(cases([1.0, 2.0]), model="wide", kind="cnn", pair=["6", "0"], parameters={"width": 9}),
        cell(cases([1.0, 2.0]), model="cnn", attribute="Young"),
        cell(cases([1.0, 2.0]), model="cnn", data="asymmetric"),
        cell(cases([1.0, 2.0]), model="cnn", tested_on="real"),
        cell(cases([1.0, 2.0]), model="cnn-pgd"),
        failed(model="linear-svm"),
    ]
    table = two_class_accuracy.run(write(tmp_path, cells)).table
    assert table["published_clean"].notna().tolist() == [True, False, False, False, False, False, True]
    assert table["published_images"].iloc[0] == "samples of MNIST"
    assert table["published_reason"].isna().equals(table["published_clean"].notna())
    assert table["published_reason"].iloc[1] == "a variant of the CNN"
    assert table["reason"].iloc[-1].startswith("failed: no weights")
    study = read_study(write(tmp_path / "again", cells))
    quote = published(study.attacked[0].data, "rbf-svm")
    assert quote is not None
    assert tuple(own.value for own in quote) == (100, 4)


def test_the_tables_are_the_papers(tmp_path: Path) -> None:
    assert len(TABLE_1) == 15
    assert {len(row) for row in TABLE_1.values()} == {4}
    for row in TABLE_2.values():  # broken everywhere: 100 less the accuracy, to the paper's digits
        for clean, adversarial in row[:2]:
            assert clean + adversarial == pytest.approx(100, abs=0.05)


def test_training_data_in_pairs(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    real = [*cases([0.5] * 9), wrong("x0")]
    moved = [*cases([0.4] * 7), *(wrong(f"i00{n}") for n in (7, 8)), wrong("x0")]
    cells = [
        cell(real, model="cnn", data="real"),
        cell(cases([1.5] * 4), model="rbf-svm", data="real"),
        cell(moved, model="cnn", tested_on="real"),
        cell(cases([9.0] * 4), model="cnn"),  # tested on samples: of no concern
    ]
    found = training_data.run(write(tmp_path, cells))
    rows = {row["model"]: row for row in found.table.to_dict("records")}
    assert set(rows) == {"cnn", "rbf-svm"}
    cnn = rows["cnn"]
    assert (cnn["accuracy_real"], cnn["accuracy_symmetric"], cnn["accuracy_of"]) == (
        0.9,
        0.7,
        "attacked images",
    )
    assert cnn["difference"] == pytest.approx(0.2)
    # paired: two of ten images went wrong, none the other way
    # and three clusters are added to what varies
    half = student.ppf(0.975, 9) * sqrt(10 / 9 * (10 * 0.2 * 0.8 + 3)) / 10
    assert cnn["difference_low"] == pytest.approx(0.2 - half)
    assert (cnn["mean_l2_real"], cnn["n_l2_real"]) == (pytest.approx(0.5), 9)
    assert (cnn["mean_l2_symmetric"], cnn["n_l2_symmetric"]) == (pytest.approx(0.4), 7)
    assert (cnn["published_real"], cnn["published_symmetric"]) == (0.895, 0.856)
    assert pd.isna(cnn["reason"])
    assert rows["rbf-svm"]["reason"] == "not trained on symmetric images and tested on real ones"
    assert pd.isna(rows["rbf-svm"]["difference"])
    assert saved(found.figure)


def test_cards_tell_the_accuracy_of_the_whole_test_partition(tmp_path: Path) -> None:
    cells = [
        cell(cases([0.5] * 4), model="cnn", data="real"),
        cell(cases([0.5] * 4), model="cnn", tested_on="real"),
    ]
    names = [(row["dataset"], "cnn") for row in cells]
    cards = {names[0]: card(0.92, 1000), names[1]: card(0.88, 1000)}
    (row,) = training_data.run(write(tmp_path / "0", cells, cards=cards)).table.to_dict("records")
    assert (row["accuracy_of"], row["n_real"]) == ("test partition", 1000)
    assert row["difference"] == pytest.approx(0.04)
    assert 0 < row["difference_low"] < 0.04 < row["difference_high"]
    cards[names[1]] = card(0.88, 1000, on="validation")
    (row,) = training_data.run(write(tmp_path / "1", cells, cards=cards)).table.to_dict("records")
    assert (row["accuracy_of"], row["n_real"]) == ("attacked images", 4)


def test_without_real_images_training_data_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(
        HarnessError, match='put the data set "two-classes", or "mfa-symmetric" with tested_on'
    ):
        training_data.run(write(tmp_path, [cell(cases([1.0, 2.0]))]))


def variants() -> list[dict[str, Any]]:
    base = {"width": 8, "depth": 4, "images": 2000, "epochs": 3}
    rng = np.random.default_rng(0)

    def cnn(name: str, l2: float, kind: str = "cnn", **changed: Any) -> dict[str, Any]:
        return cell(cases(rng.normal(l2, 0.05, 20)), model=name, kind=kind, parameters=base | changed)

    return [
        cell(cases(rng.normal(3, 0.1, 20))),
        cnn("wide", 0.6, width=24),
        cnn("cnn", 0.5),
        cnn("deep", 0.55, depth=8),
        cnn("all", 0.52, images=None),
        cnn("other", 0.9, images=None, epochs=9),  # differs in two: in no series
        cnn("cnn-trades[beta=6]", 2.0, "cnn-trades", beta=6.0),
        cnn("cnn-trades[beta=1]", 1.2, "cnn-trades", beta=1.0),
        cell(cases(rng.normal(2, 0.1, 20)), model="rbf-svm"),
    ]


def test_capacity_series_and_the_trade_off(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    found = capacity.run(write(tmp_path, variants()))
    table = found.table
    width = table[table["part"] == "width"]
    assert width["model"].tolist() == ["cnn", "wide"]  # by rising width
    assert width["value"].tolist() == [8, 24]
    images = table[table["part"] == "images"]
    assert images["setting"].tolist() == ["2000", "all"]
    assert "other" not in set(table["model"])
    best = table.loc[table["model"] == "bayes-optimal", "mean_l2"].iloc[0]
    assert (table["optimal_l2"] == best).all()
    assert table["share_of_optimal"].tolist() == pytest.approx((table["mean_l2"] / best).tolist())
    trade = table[table["part"] == "trade-off"]
    assert trade["model"].tolist() == [
        "bayes-optimal", "cnn", "rbf-svm", "cnn-trades[beta=1]", "cnn-trades[beta=6]",
    ]  # fmt: skip
    assert trade["value"].tolist()[-2:] == [1.0, 6.0]
    told = texts(found.figure)
    assert "β = 6" in told
    assert "Bayes-optimal on the" in told
    assert saved(found.figure)


def test_capacity_on_average_over_symmetric_data_sets(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    rng = np.random.default_rng(1)
    base = {"width": 8, "depth": 4}

    def cells(factor: float, **where: Any) -> list[dict[str, Any]]:
        return [
            cell(cases(rng.normal(factor * l2, 0.05, 20)), model=name, kind=kind, parameters=own, **where)
            for name, kind, l2, own in [
                ("bayes-optimal", "bayes-optimal", 3.0, {}),
                ("cnn", "cnn", 0.5, base),
                ("wide", "cnn", 0.7, base | {"width": 24}),
                ("cnn-trades", "cnn-trades", 1.5, base | {"beta": 1.0}),
            ]
        ]

    digits = {"pair": ["0", "6"], "source": "digits"}
    real = [row for row in cells(5.0, data="real") if row["model"] != "bayes-optimal"]
    more = cell(cases([1.0, 2.0]), model="rbf-svm")  # on one of them alone
    found = capacity.run(write(tmp_path, [*cells(1.0), *cells(2.0, **digits), *real, more]))
    table = found.table
    mean = table[table["dataset"].str.startswith("mean of")].set_index(["part", "model"])
    assert set(mean["dataset"]) == {"mean of symmetric[Smiling], symmetric[06]"}
    assert list(mean.index) == [
        ("width", "cnn"), ("width", "wide"),
        ("trade-off", "bayes-optimal"), ("trade-off", "cnn"), ("trade-off", "cnn-trades"),
    ]  # fmt: skip
    for (part, name), row in mean.iterrows():
        own = table[(table["part"] == part) & (table["model"] == name) & (table["kind"] == "symmetric")]
        each = own[~own["dataset"].str.startswith("mean of")]
        assert len(each) == 2
        assert row["mean_l2"] == pytest.approx(each["mean_l2"].mean())
        below = np.linalg.norm(each["mean_l2"] - each["mean_l2_low"]) / 2
        assert row["mean_l2_low"] == pytest.approx(row["mean_l2"] - below)
        assert row["optimal_l2"] == pytest.approx(each["optimal_l2"].mean())
        assert row["n"] == 40
    assert "mean of 2 symmetric data sets" in texts(found.figure)
    assert saved(found.figure)


def test_capacity_without_the_optimum_or_without_variants(tmp_path: Path) -> None:
    rest = variants()[1:6]
    table = capacity.run(write(tmp_path / "0", rest)).table
    assert table["optimal_l2"].isna().all()
    assert table["reason"].str.contains("no Bayes-optimal adversarials").all()
    with pytest.raises(HarnessError, match="no two CNNs differ in width, depth or images alone"):
        capacity.run(write(tmp_path / "1", [cell(cases([1.0, 2.0]), model="cnn", parameters={"width": 8})]))
    only = capacity.run(write(tmp_path / "2", [case_of_trades()])).table
    assert only["part"].tolist() == ["trade-off"]


def case_of_trades() -> dict[str, Any]:
    return cell([case("a", 1.0), case("b", 2.0)], model="cnn-trades", parameters={"beta": 1.0})
