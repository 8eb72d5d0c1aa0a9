"""Worst cases per threat, what never flatters, ranks by paired differences, persons as clusters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import NO_ANSWER, NO_CLEAN_ANSWER, UNUSABLE_IMAGE
from harness.leaderboard.board import build
from harness.metrics import rate

from . import board_fixture as tiny
from .board_fixture import broken, cell, record
from .test_board import board_of, row_of

LINF = {"norm": "linf", "eps": 8 / 255}


def worst(board: pd.DataFrame, threat: str, model: str = "moon") -> pd.Series:
    return row_of(board, "worst-case", model, threat=threat)


# --- worst cases ------------------------------------------------------------------------------------------


def attacks() -> list[dict[str, Any]]:
    """A budget, an unbounded attack whose changes lie within it or not, a smaller budget, and a patch."""
    near, far = 4 / 255, 100 / 255
    minimal = [
        record(i, success=True, linf=linf) for i, linf in zip("abcd", (near, far, far, far), strict=True)
    ]
    return [
        cell([record(i, success=i == "d", linf=8 / 255) for i in "abcd"], **LINF),
        cell(minimal, attack="ffa", threat="linf minimal", norm="linf"),
        cell([record(i, success=i == "c", linf=2 / 255) for i in "abcd"], attack="pgd", threat="linf 2/255",
             norm="linf", eps=2 / 255, cell="small"),
        cell([record(i, success=True, linf=1.0) for i in "abcd"], attack="square", threat="square"),
    ]  # fmt: skip


def test_an_adversarial_belongs_to_every_budget_that_it_keeps_to(tmp_path: Path) -> None:
    board = board_of(tmp_path, *attacks())
    robust = {
        row["threat"]: row["robust_accuracy"]
        for row in board[board["attack"] == "worst-case"].to_dict("records")
    }
    # within 8/255: d by its own attack, a by the unbounded one, c by the smaller budget
    assert robust == {"linf 8/255": 0.25, "linf minimal": 0.0, "linf 2/255": 0.75, "square": 0.0}


def test_one_over_everything_comes_on_request_alone(tmp_path: Path) -> None:
    suite = tiny.SUITE | {"suite": {"overall_worst_case": True}}
    board = build(tiny.write(tmp_path / "asked", attacks(), suite))
    assert worst(board, "any")["success_rate"] == 1.0
    assert "any" not in set(board_of(tmp_path, *attacks())["threat"])


def test_an_unbounded_attack_without_outcome_leaves_every_budget_open(tmp_path: Path) -> None:
    missed = [broken("a"), *(record(i, success=False) for i in "bcd")]
    board = board_of(
        tmp_path,
        cell([record(i) for i in "abcd"], **LINF),
        cell(missed, attack="ffa", threat="linf minimal", norm="linf"),
        cell([broken(i) for i in "abcd"], attack="square", threat="square"),
    )
    row = worst(board, "linf 8/255")
    assert row["coverage"] == 0.75
    assert row["robust_accuracy_low"] < rate([True] * 4).low  # type: ignore[operator]
    assert worst(board, "square")["coverage"] == 0.0


def test_only_attacks_that_are_asked_say_which_cases_there_are(tmp_path: Path) -> None:
    small = [record(i, success=True, linf=2 / 255) for i in "bcdefg"]
    cells = [
        cell([record(i) for i in "abcd"], **LINF),
        cell(small, attack="pgd", threat="linf 2/255", norm="linf", eps=2 / 255, cell="small"),
        cell([record(i, success=True, linf=1.0) for i in "a"], attack="square", threat="square"),
    ]
    row = worst(board_of(tmp_path / "1", *cells), "linf 8/255")
    assert (row["n"], row["robust_accuracy"]) == (4, 0.25)  # the smaller budget adds b, c and d, and no case
    # Whoever looks for the smallest change is asked about each budget of its norm; here not on a and b.
    minimal = cell([record(i) for i in "cdxy"], attack="ffa", threat="linf minimal", norm="linf")
    board = board_of(tmp_path / "2", *cells, minimal)
    assert (worst(board, "linf 8/255")["n"], worst(board, "linf 8/255")["robust_accuracy"]) == (2, 0.0)
    assert [worst(board, threat)["n"] for threat in ("linf 2/255", "linf minimal", "square")] == [2, 4, 1]
    # In another norm it is not asked: what it finds inside the budget counts, and it takes no case away.
    found = [record(i, success=True, linf=1 / 255) for i in "axy"]
    other = cell(found, attack="cw", threat="l2 minimal", norm="l2")
    row = worst(board_of(tmp_path / "3", *cells, other), "linf 8/255")
    assert (row["n"], row["robust_accuracy"]) == (4, 0.0)


def test_a_worst_case_over_everything_has_the_cases_of_every_attack(tmp_path: Path) -> None:
    cells = [
        cell([record(i) for i in "abcd"], **LINF),
        cell([record(i, success=i == "b", linf=1.0) for i in "bc"], attack="square", threat="square"),
    ]
    suite = tiny.SUITE | {"suite": {"overall_worst_case": True}}
    row = worst(build(tiny.write(tmp_path / "tiny", cells, suite)), "any")
    assert (row["n"], row["robust_accuracy"], row["success_rate"]) == (2, 0.5, 0.5)


def test_boards_are_ordered_by_the_first_threat_or_the_one_that_the_suite_names(tmp_path: Path) -> None:
    def model(name: str, large: int, small: int) -> list[dict[str, Any]]:
        budgets = ((large, "linf 8/255", 8 / 255), (small, "linf 2/255", 2 / 255))
        return [
            cell([record(str(i), success=i < hits, linf=eps) for i in range(10)], model=name, threat=threat,
                 norm="linf", eps=eps, cell=f"{name} {small} {eps:.3f}")
            for hits, threat, eps in budgets
        ]  # fmt: skip

    cells = [*model("one", 5, 4), *model("other", 8, 2)]
    assert build(tiny.write(tmp_path / "first", cells))["model"].iloc[0] == "one"
    suite = tiny.SUITE | {"suite": {"order_by": "linf 2/255"}}
    assert build(tiny.write(tmp_path / "named", cells, suite))["model"].iloc[0] == "other"


def test_flags_of_a_worst_case_are_those_of_its_attacks(tmp_path: Path) -> None:
    lost = [record(str(i), success=False, reached=False, reached_unrounded=True) for i in range(10)]
    patch = cell([record(str(i)) for i in range(10)], attack="square", threat="square")
    board = board_of(tmp_path, cell(lost, **LINF), patch)
    assert worst(board, "linf 8/255")["flags"] == "lost-by-rounding"
    assert worst(board, "square")["flags"] == ""


# --- what has no outcome ----------------------------------------------------------------------------------


def test_errors_never_raise_robust_accuracy(tmp_path: Path) -> None:
    """Half of 200 cases are fooled; an error on most of these must not make the model look robust."""
    whole = [record(str(i), success=i < 100) for i in range(200)]
    holed = [broken(str(i)) if i < 90 else row for i, row in enumerate(whole)]
    board = board_of(tmp_path, cell(whole, model="sound"), cell(holed, model="holed"))
    sound, row = row_of(board, "pgd", "sound"), row_of(board, "pgd", "holed")
    assert row["coverage"] == 0.55
    assert row["robust_accuracy_low"] == sound["robust_accuracy_low"]
    assert row["robust_accuracy_high"] > 0.9
    # all that is known of it allows for what is known of the other
    assert (sound["rank"], row["rank"]) == (1, 1)


@pytest.mark.parametrize("error", [UNUSABLE_IMAGE, "ContractError: the attack returned shape (1,) for (2,)"])
def test_unusable_images_are_no_success(tmp_path: Path, error: str) -> None:
    honest = [record(str(i), success=i < 15) for i in range(200)]
    hiding = [row if i < 15 else broken(str(i), error=error) for i, row in enumerate(honest)]
    board = board_of(tmp_path, cell(honest, attack="honest"), cell(hiding, attack="hiding"))
    rows = [row_of(board, attack) for attack in ("honest", "hiding")]
    assert rows[0]["success_rate"] == rows[1]["success_rate"] == 0.075
    assert rows[1]["coverage"] == 1.0
    assert "185 of 200 cases" in rows[1]["error"]


def test_an_answer_that_is_not_finite_is_not_correct(tmp_path: Path) -> None:
    rows = [record(str(i)) for i in range(6)]
    rows += [broken("near", error=NO_ANSWER), broken("far", error=NO_ANSWER, fault="over the budget")]
    rows += [broken("clean", error=NO_CLEAN_ANSWER, clean_correct=None)]
    row = row_of(board_of(tmp_path, cell(rows)), "pgd")
    assert row["coverage"] == 1.0
    assert row["clean_accuracy"] == pytest.approx(8 / 9)
    assert row["robust_accuracy"] == pytest.approx(7 / 9)
    assert row["success_rate"] == pytest.approx(1 / 8)


def test_a_case_of_which_nothing_is_known_may_be_anything(tmp_path: Path) -> None:
    rows = [*(record(str(i), success=i < 2) for i in range(8)), broken("x", clean_correct=None)]
    row = row_of(board_of(tmp_path, cell(rows)), "pgd")
    assert row["clean_accuracy"] == 1.0
    assert row["clean_accuracy_low"] == pytest.approx(rate([True] * 8 + [False]).low)
    assert row["success_rate_high"] == pytest.approx(rate([True] * 3 + [False] * 6).high)


# --- ranks ------------------------------------------------------------------------------------------------


def ranks(board: pd.DataFrame) -> dict[str, tuple[int, bool]]:
    rows = board[board["attack"] == "pgd"]
    return {row["model"]: (row["rank"], row["tied"]) for row in rows.to_dict("records")}


def test_ranks_compare_models_case_by_case(tmp_path: Path) -> None:
    """12 of 100 cases apart, all in one direction: intervals overlap, the difference is clear."""

    def fooled(model: str, count: int, of: int = 0) -> dict[str, Any]:
        hits = {(of + i) % 100 for i in range(count)}
        return cell([record(str(i), success=i in hits) for i in range(100)], model=model)

    assert ranks(board_of(tmp_path / "1", fooled("a", 40), fooled("b", 52))) == {
        "a": (1, False),
        "b": (2, False),
    }
    # as many successes, on other cases: chance
    assert ranks(board_of(tmp_path / "2", fooled("a", 40), fooled("b", 52, 40))) == {
        "a": (1, True),
        "b": (1, True),
    }


def test_ranks_are_monotone_where_hardly_anything_stays_robust(tmp_path: Path) -> None:
    """13, 2, 1 and 0 of 200 in 50 images."""

    def kept(count: int) -> dict[str, Any]:
        rows = [record(str(i % 50), f"t{i // 50}", success=i >= count) for i in range(200)]
        return cell(rows, model=f"keeps {count}")

    found = ranks(board_of(tmp_path, *(kept(count) for count in (13, 2, 1, 0))))
    assert [found[f"keeps {count}"][0] for count in (13, 2, 1, 0)] == [1, 2, 2, 2]
    # and without ties in the rule that orders them: none stands above a model that keeps more
    assert sorted(found, key=lambda name: found[name][0])[0] == "keeps 13"


def test_five_cases_decide_nothing_and_six_do(tmp_path: Path) -> None:
    for count, expected in ((5, 1), (6, 2)):
        cells = [cell([record(str(i), success=hit) for i in range(count)], model=name)
                 for name, hit in (("a", False), ("b", True))]  # fmt: skip
        assert ranks(board_of(tmp_path / str(count), *cells))["b"][0] == expected


def test_constant_baselines_have_no_rank(tmp_path: Path) -> None:
    rows = [record(str(i), success=i < 50) for i in range(100)]
    constant = cell([record(str(i)) for i in range(100)], model="majority", model_traits="constant")
    board = board_of(tmp_path, cell(rows), constant)
    assert ranks(board)["moon"] == (1, False)
    assert pd.isna(ranks(board)["majority"][0])
    assert row_of(board, "pgd", "majority")["robust_accuracy"] == 1.0


# --- persons ----------------------------------------------------------------------------------------------


def test_persons_are_the_clusters(tmp_path: Path) -> None:
    """Ten images of each of twelve persons, who are fooled on all of theirs or on none."""
    people = {f"{i}.jpg": i // 10 for i in range(120)}
    cells = [cell([record(name, success=person % 3 == 0) for name, person in people.items()])]
    images = build(tiny.write(tmp_path / "images", cells))
    persons = build(tiny.with_people(tiny.write(tmp_path / "persons", cells), people))
    for board, clusters in ((images, 120), (persons, 12)):
        assert row_of(board, "pgd")["clusters"] == clusters
        assert row_of(board, "pgd")["images"] == 120
    expected = rate(np.array(list(people.values())) % 3 == 0, np.array(list(people.values())))
    for attack in ("pgd", "worst-case"):
        row = row_of(persons, attack)
        assert (row["success_rate_low"], row["success_rate_high"]) == pytest.approx(
            (expected.low, expected.high)
        )
        assert row["success_rate_n"] == 120
    assert expected.high - expected.low > 0.4  # type: ignore[operator]


def test_persons_decide_ranks(tmp_path: Path) -> None:
    """40 images in one model's favour, but of one person: that is one observation."""
    people = {f"{i}.jpg": 0 if i < 40 else i for i in range(100)}
    cells = [
        cell([record(name, success=fooled and person == 0) for name, person in people.items()], model=model)
        for model, fooled in (("a", False), ("b", True))
    ]
    assert ranks(build(tiny.write(tmp_path / "images", cells)))["b"] == (2, False)
    persons = tiny.with_people(tiny.write(tmp_path / "persons", cells), people)
    assert ranks(build(persons)) == {"a": (1, True), "b": (1, True)}


def test_samples_tell_their_cluster(tmp_path: Path) -> None:
    from harness.results import read_results

    folder = tiny.with_people(tiny.write(tmp_path / "x", [cell([record("a"), record("b")])]), {"a": 7})
    found = read_results(folder).samples(columns=["sample_id", "cluster"])
    assert dict(zip(found["sample_id"], found["cluster"], strict=True)) == {"a": "person 7", "b": "b"}
    assert len(read_results(folder).samples(columns=["sample_id"], where={"cluster": "person 7"})) == 1
    assert json.loads((folder / "suite.json").read_text())["name"] == "tiny"
