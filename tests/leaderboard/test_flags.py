"""Flags on hand-made records: what raises each, what just does not, and what must not be mistaken for it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from harness.leaderboard import flags as rules
from harness.leaderboard.board import build
from harness.leaderboard.evidence import clearly_more
from harness.leaderboard.flags import FLAGS
from harness.results import read_results

from . import board_fixture as tiny
from .board_fixture import broken, cell, record

DOCS = Path(__file__).parents[2] / "docs/flags"


def cases(hits: Collection[int], n: int = 40, **values: Any) -> list[dict[str, Any]]:
    """One case per image; the attack succeeds on those that are hit."""
    return [record(f"{i}.jpg", success=i in hits, **({"linf": 0.01, "l2": 0.5} | values)) for i in range(n)]


def attack(records: list[dict[str, Any]], name: str = "pgd", eps: float | None = 8, **values: Any) -> Any:
    """A cell of a gradient attack with a budget in units of 1/255, unless told otherwise."""
    threat = "linf minimal" if eps is None else f"linf {eps:g}/255"
    row = {"access": "gradients", "norm": "linf", "eps": None if eps is None else eps / 255}
    row |= {"budget": "fixed" if eps else "minimal", "traits": "", "threat": threat} | values
    return cell(
        records, attack=name, cell=f"{name} {row['threat']} {row.get('surrogate')}".replace("/", "-"), **row
    )


def noise(records: list[dict[str, Any]], **values: Any) -> Any:
    """A cell of random noise."""
    return attack(records, "noise", **({"access": "decisions", "traits": "random"} | values))


def black_box(records: list[dict[str, Any]], **values: Any) -> Any:
    """A cell of an attack that sees scores."""
    return attack(records, "square", **({"access": "scores"} | values))


def board_of(tmp_path: Path, *cells: Any) -> pd.DataFrame:
    """The board of some cells."""
    return build(tiny.write(tmp_path / "tiny", cells), {})


def raised(tmp_path: Path, *cells: Any, attack: str = "pgd", threat: str | None = None) -> set[str]:
    """The flags of the only row of an attack."""
    board = board_of(tmp_path, *cells)
    found = board[(board["attack"] == attack) & (board["threat"].eq(threat) if threat else True)]
    (told,) = found["flags"]
    return set(filter(None, told.split(", ")))


def test_every_flag_has_its_page() -> None:
    assert {page.stem for page in DOCS.glob("*.md")} == {*FLAGS, "README"}
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), (page.name, target)
    for name in FLAGS:
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        for part in (
            "## What it means",
            "## How it is computed",
            "## What to do",
            "## What raises it falsely",
        ):
            assert part in text, (name, part)
        assert f"]({name}.md)" in index


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zero-gradients", f"{rules.ZERO_SHARE:.0%}"),
        ("noise-as-strong", f"{rules.NOISE_SHARE:.0%}"),
        ("black-box-stronger", f"{rules.LEVEL:g}"),
        ("black-box-stronger", f"{rules.CLEAR_SHARE:.0%}"),
        ("not-rising-with-budget", f"{rules.RATIO:g} times"),
        ("not-rising-with-budget", f"{rules.EXPECTED:g} clusters"),
        ("unbounded-below-100", f"{rules.UNBOUNDED_LINF:g}"),
        ("not-converged", f"{rules.LATE_SHARE:.1%}"),
        ("not-converged", f"{rules.LATE_IMAGES} images"),
        ("lost-by-rounding", f"{rules.LOST_SHARE:.0%}"),
    ],
)
def test_the_pages_state_the_thresholds(name: str, said: str) -> None:
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert said.replace("%", " %") in re.sub(r"\s+", " ", page)


# --- the model ---------------------------------------------------------------------------------------------


def test_a_randomised_model_marks_all_its_rows(tmp_path: Path) -> None:
    steady = attack(cases([0]), model="moon", randomised=False)
    first = attack(cases([0]), model="noisy", randomised=True)
    other = first | {"cell": "2", "goal": "untargeted", "randomised": None}
    board = board_of(tmp_path, steady, first, other)
    assert board[board["model"] == "noisy"]["flags"].eq("randomised-model").all()
    assert len(board[board["model"] == "noisy"]) == 6
    assert board[board["model"] == "moon"]["flags"].eq("").all()


# --- one row -----------------------------------------------------------------------------------------------


def blind(count: int, n: int = 40, **values: Any) -> list[dict[str, Any]]:
    """Cases of which some had no gradient at all."""
    rows = cases([], n, backwards=4, zero_gradients=3)
    return [row | ({"zero_gradients": 4} | values if i < count else {}) for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("records", "values", "expected"),
    [
        (blind(2), {}, True),
        (blind(2, 41), {}, False),  # 4.9 %
        (blind(1, 4), {}, False),  # a single case
        (blind(9, clean_correct=False), {}, False),  # the goal was reached before: no gradient is needed
        (blind(9, backwards=0, zero_gradients=0), {}, False),  # never asked
        (blind(9, zero_gradients=None), {}, False),
        (blind(9, error="RuntimeError: no"), {}, False),
        (blind(9), {"access": "scores"}, False),
        (blind(9), {"surrogate": "paw"}, False),
        (blind(9), {"access": None}, False),
    ],
)
def test_zero_gradients(
    tmp_path: Path, records: list[dict[str, Any]], values: dict[str, Any], expected: bool
) -> None:
    assert ("zero-gradients" in raised(tmp_path, attack(records, **values))) == expected


def lossy(count: int, n: int = 100, **values: Any) -> list[dict[str, Any]]:
    """Cases of which some reached the goal before rounding alone."""
    rows = cases(range(count, n // 2), n, reached_unrounded=False)
    for i, row in enumerate(rows):
        row["reached_unrounded"] = i < n // 2
    return [row | (values if i < count else {}) for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (lossy(2), True),
        (lossy(0), False),
        (lossy(1), False),  # a single case
        (lossy(2, 201), False),
        (lossy(9, clean_correct=False), False),
        (lossy(9, valid=False), False),  # it was over the budget
        (lossy(9, reached_unrounded=None), False),
    ],
)
def test_lost_by_rounding(tmp_path: Path, records: list[dict[str, Any]], expected: bool) -> None:
    assert ("lost-by-rounding" in raised(tmp_path, attack(records))) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"traits": "unbounded", "eps": None}, True),
        ({"traits": "unbounded"}, False),  # with a budget it is bounded
        ({"traits": "unbounded", "eps": None, "threat": "linf minimal eyeglasses"}, False),
        ({"traits": "unbounded", "eps": None, "surrogate": "paw"}, False),
        ({"eps": None}, False),  # a line search may end anywhere
        ({"eps": 127.5}, True),
        ({"eps": 127}, False),
        ({"eps": 127.5, "norm": "l2", "threat": "l2 0.5"}, False),
        ({"eps": 127.5, "access": "scores"}, False),
        ({"eps": 127.5, "traits": "universal"}, False),
        ({"eps": 127.5, "threat": "linf 0.5 square"}, False),
    ],
)
def test_unbounded_below_100(tmp_path: Path, values: dict[str, Any], expected: bool) -> None:
    almost = attack(cases(range(39)), **values)
    assert ("unbounded-below-100" in raised(tmp_path, almost)) == expected
    whole = attack(cases(range(40)), **values)
    assert raised(tmp_path / "whole", whole) == set()


def test_what_an_unbounded_attack_reaches_and_loses_is_another_flag(tmp_path: Path) -> None:
    records = cases(range(38), reached_unrounded=True)
    assert raised(tmp_path, attack(records, eps=None, traits="unbounded")) == {"lost-by-rounding"}
    # An error is no failure to reach, and a case that was wrong before is not counted.
    records = [*cases(range(40)), broken("x.jpg"), record("y.jpg", clean_correct=False)]
    assert raised(tmp_path / "2", attack(records, eps=None, traits="unbounded")) == set()


def timed(late: int, left: int = 10, n: int = 100, **values: Any) -> list[dict[str, Any]]:
    """Cases of which the last are found in the last tenth of 41 passes, or not at all."""
    rows = cases(range(left, n), n, forwards=41, found=None)
    for i, row in enumerate(rows):
        if i >= left:
            row["found"] = 38 if i < left + late else 30
            row["forwards"] = row["found"] + 1
    return [row | values for row in rows]


@pytest.mark.parametrize(
    ("records", "values", "expected"),
    [
        (timed(6), {}, True),  # 6 % [2.8–12.5]
        (timed(5), {}, False),  # 5 % [2.2–11.2]
        (timed(9, left=2), {}, False),  # next to nothing is left
        (timed(9, left=3), {}, True),
        (timed(2, left=2, n=10), {}, False),  # two images are an accident
        (timed(3, left=2, n=10), {}, True),
        (timed(9), {"eps": None}, False),  # it looks for the smallest, and improves until it ends
        (timed(9), {"eps": None, "norm": None, "budget": "fixed", "threat": "eyeglasses"}, True),
        (timed(9), {"budget": "minimal"}, False),
        (timed(9), {"access": "scores"}, False),
        (timed(9), {"surrogate": "paw"}, False),
        (timed(9), {"traits": "universal"}, False),
        (timed(9, found=None), {}, False),
        (timed(9, forwards=41), {}, False),  # it goes on after a success: found is the best, not the first
        (timed(9, sample_id="one.jpg"), {}, False),
        (timed(9, clean_correct=False), {}, False),
    ],
)
def test_not_converged(
    tmp_path: Path, records: list[dict[str, Any]], values: dict[str, Any], expected: bool
) -> None:
    assert ("not-converged" in raised(tmp_path, attack(records, **values))) == expected


def test_a_short_attack_has_no_last_tenth(tmp_path: Path) -> None:
    for most, expected in ((9, set()), (10, {"not-converged"})):
        rows = timed(9, forwards=5, found=None)
        rows = [
            row | ({"forwards": most, "found": most} if 10 <= i < 19 else {}) for i, row in enumerate(rows)
        ]
        assert raised(tmp_path / str(most), attack(rows)) == expected


# --- rows beside each other --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "climbed", "expected"),
    [
        (range(4), range(2, 6), True),  # as many of its own
        (range(4), range(2, 7), False),
        (range(4), range(4), False),  # the same cases: perhaps all that can be had
        (range(4), range(1, 4), False),  # a single one more
        (range(4), range(2, 40), False),
        (range(2, 4), [], True),
        (range(40), range(38), True),
        (range(3), [9], True),  # 7.5 %
    ],
)
def test_noise_as_strong(
    tmp_path: Path, drawn: Collection[int], climbed: Collection[int], expected: bool
) -> None:
    cells = noise(cases(drawn)), attack(cases(climbed))
    assert raised(tmp_path, *cells) == ({"noise-as-strong"} if expected else set())
    assert raised(tmp_path / "2", *cells, attack="noise") == set()


def test_weak_noise_is_no_evidence(tmp_path: Path) -> None:
    assert raised(tmp_path, noise(cases(range(5), 100)), attack(cases([], 100))) == {"noise-as-strong"}
    assert raised(tmp_path / "2", noise(cases(range(4), 100)), attack(cases([], 100))) == set()


@pytest.mark.parametrize(
    "values",
    [
        {"eps": 16},
        {"norm": "l2", "threat": "l2 0.0314"},
        {"threat": "linf 8/255 square"},
        {"traits": ""},
        {"surrogate": "paw"},
        {"model": "paw"},
    ],
)
def test_noise_is_compared_under_the_same_threat_alone(tmp_path: Path, values: dict[str, Any]) -> None:
    other = noise(cases(range(20)), **({"access": "gradients"} if values == {"traits": ""} else {}) | values)
    found = board_of(tmp_path, other, attack(cases([0])))
    assert "noise-as-strong" not in " ".join(found["flags"])


@pytest.mark.parametrize(
    ("own", "traits", "expected"),
    [
        ("frame", "", {"noise-as-strong"}),
        ("square", "", set()),
        (None, "", set()),  # folders of earlier versions do not say
        ("frame", "universal", set()),
    ],
)
def test_noise_on_the_same_pixels_is_as_strong(
    tmp_path: Path, own: str | None, traits: str, expected: set[str]
) -> None:
    """Random eyeglasses, which succeed on 20 cases, and learned ones, which succeed on 1."""
    glasses: dict[str, Any] = {"norm": None, "eps": None}
    found = raised(
        tmp_path,
        noise(cases(range(20)), threat="random-eyeglasses", region="frame", **glasses),
        attack(cases([0]), "eyeglasses", threat="eyeglasses", region=own, traits=traits, **glasses),
        attack="eyeglasses",
    )
    assert found & {"noise-as-strong"} == expected


@pytest.mark.parametrize(("more", "expected"), [(7, True), (6, False)])
def test_black_box_stronger(tmp_path: Path, more: int, expected: bool) -> None:
    """Seven wins and no loss have a chance of 0.8 %, six of 1.6 %."""
    cells = attack(cases(range(5))), black_box(cases(range(5 + more)))
    assert raised(tmp_path, *cells) == ({"black-box-stronger"} if expected else set())
    assert raised(tmp_path / "2", *cells, attack="square") == set()


def test_a_significant_trifle_is_not_clear(tmp_path: Path) -> None:
    few = attack(cases([], 900)), black_box(cases(range(8), 900))
    assert raised(tmp_path, *few) == set()
    enough = attack(cases([], 900)), black_box(cases(range(9), 900))
    assert raised(tmp_path / "2", *enough) == {"black-box-stronger"}


def test_all_gradient_attacks_together_are_the_measure(tmp_path: Path) -> None:
    cells = [attack(cases(range(10))), attack(cases(range(10, 20)), "apgd"), black_box(cases(range(20)))]
    assert raised(tmp_path, *cells) == set()
    # One that only looks for the smallest change counts where that is within the budget.
    cells[1] = attack(cases(range(10, 20)), "ffa", eps=None)
    assert raised(tmp_path / "2", *cells) == set()
    cells[1] = attack(cases(range(10, 20), linf=0.04), "ffa", eps=None)
    assert raised(tmp_path / "3", *cells) == {"black-box-stronger"}
    # A gradient attack on another model's gradients is none on this one's.
    cells[1] = attack(cases(range(10, 20)), "apgd", surrogate="paw")
    assert raised(tmp_path / "4", *cells) == {"black-box-stronger"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"linf": 7.9 / 255}, True),
        ({"linf": 8.1 / 255}, False),
        ({"linf": None}, False),
    ],
)
@pytest.mark.parametrize(
    "threat",
    [
        {"eps": None},
        {"eps": 16},
        {"eps": None, "norm": "l2", "threat": "l2 minimal"},
        {"eps": None, "norm": None, "budget": "fixed", "threat": "square"},
        {"access": "gradients", "surrogate": "paw", "eps": 16},
    ],
)
def test_other_threats_count_by_distance(
    tmp_path: Path, threat: dict[str, Any], values: dict[str, Any], expected: bool
) -> None:
    cells = attack(cases(range(5))), black_box(cases(range(30), **values), **threat)
    assert ("black-box-stronger" in raised(tmp_path, *cells)) == expected


def test_what_is_valid_keeps_to_its_own_budget(tmp_path: Path) -> None:
    cells = attack(cases(range(5))), black_box(cases(range(30), linf=None))
    assert raised(tmp_path, *cells) == {"black-box-stronger"}


def test_cases_that_no_gradient_attack_was_tried_on_are_not_compared(tmp_path: Path) -> None:
    tried = attack(cases(range(25, 30))[20:])
    assert raised(tmp_path, tried, black_box(cases(range(20)))) == set()
    assert raised(tmp_path / "2", tried, black_box(cases(range(40)))) == {"black-box-stronger"}


def test_without_a_budget_only_what_should_reach_everything_is_compared(tmp_path: Path) -> None:
    box = black_box(cases(range(30), linf=0.5), eps=None, access="decisions")
    whole = attack(cases(range(5), linf=0.5), eps=None, traits="unbounded")
    assert raised(tmp_path, whole, box) == {"black-box-stronger", "unbounded-below-100"}
    search = attack(cases(range(5), linf=0.5), eps=None)
    assert raised(tmp_path / "2", search, box) == set()


def test_a_case_in_error_is_not_compared(tmp_path: Path) -> None:
    failed = [broken(f"{i}.jpg") if i >= 5 else row for i, row in enumerate(cases(range(5)))]
    cells = attack(cases(range(5))), attack(failed, "apgd"), black_box(cases(range(30)))
    assert raised(tmp_path, *cells) == set()


def test_many_cases_of_few_images_are_few(tmp_path: Path) -> None:
    """Six images of five cases each: as much evidence as six."""
    some = [record(f"{i}.jpg", f"t{t}", linf=0.01) for i in range(12) for t in range(5)]
    more = [row | {"success": True} if int(row["sample_id"][:-4]) < 6 else row for row in some]
    assert raised(tmp_path, attack(some), black_box(more)) == set()
    more = [row | {"success": True} if int(row["sample_id"][:-4]) < 7 else row for row in some]
    assert raised(tmp_path / "2", attack(some), black_box(more)) == {"black-box-stronger"}


def test_many_images_of_few_persons_are_few(tmp_path: Path) -> None:
    """Seven images in the black-box attack's favour, of six persons or of seven."""
    for persons, expected in ((6, set()), (7, {"black-box-stronger"})):
        people = {f"{i}.jpg": i % persons if i < 7 else i for i in range(40)}
        cells = attack(cases([])), black_box(cases(range(7)))
        folder = tiny.write(tmp_path / str(persons), cells)
        board = build(tiny.with_people(folder, people), {})
        assert set(filter(None, board.set_index("attack").loc["pgd", "flags"].split(", "))) == expected


def test_a_larger_budget_is_expected_to_gain_persons(tmp_path: Path) -> None:
    """Twenty images are left, of as many persons or of one: one person may well be out of reach."""
    cells = attack(cases(range(20)), eps=8), attack(cases(range(20)), eps=16)
    for persons, expected in ((20, "not-rising-with-budget"), (1, "")):
        people = {f"{i}.jpg": i if i < 20 else 20 + i % persons for i in range(40)}
        folder = tiny.write(tmp_path / str(persons), cells)
        board = build(tiny.with_people(folder, people), {})
        assert board.set_index(["attack", "threat"]).loc[("pgd", "linf 16/255"), "flags"] == expected


@pytest.mark.parametrize(
    ("small", "large", "budgets", "expected"),
    [
        (range(20), range(20), (8, 16), True),
        (range(20), range(1, 20), (8, 16), True),
        (range(20), range(21), (8, 16), False),
        (range(20), range(20), (8, 11), False),  # hardly a larger budget
        (range(20), range(20), (8, 12), True),
        (range(20), range(20), (25.5, 38.25), True),  # 1.5 times, but for the last bit
        (range(3), range(3), (8, 12), False),  # 37 (1 - (37/40)^0.5) = 1.4 images should have fallen
        (range(38), range(38), (8, 16), False),  # two images are left
        ([], [], (8, 16), False),
        (range(40), range(20), (8, 16), False),  # all cases: see below
        (range(39), range(33), (8, 16), False),  # six lost: 1.6 %
        (range(39), range(32), (8, 16), True),  # seven lost: 0.8 %
    ],
)
def test_not_rising_with_budget(
    tmp_path: Path,
    small: Collection[int],
    large: Collection[int],
    budgets: tuple[float, float],
    expected: bool,
) -> None:
    cells = [attack(cases(hits), eps=eps) for hits, eps in zip((small, large), budgets, strict=True)]
    found = raised(tmp_path, *cells, threat=f"linf {budgets[1]}/255")
    assert ("not-rising-with-budget" in found) == expected
    assert raised(tmp_path / "2", *cells, threat=f"linf {budgets[0]}/255") == set()


@pytest.mark.parametrize(
    "values",
    [
        {"traits": "random"},
        {"norm": "l2"},
        {"threat": "linf 16/255 square"},
        {"name": "apgd"},
        {"surrogate": "paw"},
        {"eps": None},
    ],
)
def test_only_one_attack_under_two_budgets_can_fail_to_rise(tmp_path: Path, values: dict[str, Any]) -> None:
    other = attack(cases(range(20)), **{"eps": 16} | values)
    found = board_of(tmp_path, attack(cases(range(20))), other)
    assert "not-rising-with-budget" not in " ".join(found["flags"])


# --- the board ---------------------------------------------------------------------------------------------


def test_the_worst_case_carries_all_flags_in_order(tmp_path: Path) -> None:
    board = board_of(tmp_path, noise(cases(range(20))), attack(blind(2)), black_box(lossy(2, 40)))
    told = board.set_index("attack")["flags"].to_dict()
    assert told == {
        "clean": "",
        "pgd": "zero-gradients, noise-as-strong, black-box-stronger",
        "square": "lost-by-rounding",
        "noise": "",
        "worst-case": "zero-gradients, noise-as-strong, black-box-stronger, lost-by-rounding",
    }


def test_crossed_seeds_are_one_row(tmp_path: Path) -> None:
    for first, second, expected in ((2, 1, set()), (0, 4, {"zero-gradients"})):  # of 80: 3.8 and 5 %
        seeds = [attack(blind(n)) | {"seed": n, "cell": f"{n} blind"} for n in (first, second)]
        assert raised(tmp_path / str(first), *seeds) == expected


def test_folders_of_earlier_versions_raise_nothing(tmp_path: Path) -> None:
    """The same records without the columns that flags need: not known is not found."""
    cells = [noise(cases(range(20))), attack(blind(9)), black_box(lossy(9, 40)), attack(timed(9), "apgd")]
    assert set(board_of(tmp_path, *cells)["flags"]) > {""}
    folder = tmp_path / "tiny"
    for file in folder.rglob("*.parquet"):
        table = pq.read_table(file)
        new = {"norm", "eps", "access", "budget", "traits", "randomised"}
        new |= {"found", "zero_gradients", "reached_unrounded", "reached"}
        pq.write_table(table.drop_columns([name for name in table.column_names if name in new]), file)
    board = build(folder, {})
    assert board["flags"].eq("").all()
    assert board["forwards_per_success"].notna().any()


def test_a_board_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "tiny", [attack(blind(9))])
    old = build(folder, {}).drop(columns=["flags", "forwards_per_success", "seconds_per_success"])
    pq.write_table(pa.Table.from_pandas(old, preserve_index=False), folder / "leaderboard.parquet")
    assert "flags" not in read_results(folder).leaderboard().columns


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_those_of_brute_force(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Different cases, targets, errors and wrong answers on both sides, in any order."""
    asked: list[tuple[float, ...]] = []
    monkeypatch.setattr(rules, "clearly_more", lambda *given: asked.append(given) or given[0] > 2 * given[1])
    rng = np.random.default_rng(seed)
    places = [(f"{i}.jpg", target) for i in range(40) for target in ("Young", "Male", None)]
    correct = {place: bool(rng.random() < 0.8) for place in places}

    def tried(rate: float) -> list[dict[str, Any]]:
        rows = []
        for place in places:
            draw = rng.random()
            if draw < 0.1:
                continue
            known = {"clean_correct": correct[place], "linf": float(rng.choice([0.01, 0.05]))}
            hit = bool(rng.random() < rate)
            rows.append(broken(*place, **known) if draw < 0.15 else record(*place, success=hit, **known))
        rng.shuffle(rows)  # type: ignore[arg-type]
        return rows

    one, two, box = tried(0.2), tried(0.2), tried(0.9)
    known = pd.concat(
        [pd.DataFrame(rows).assign(by=by) for by, rows in (("one", one), ("two", two), ("box", box))]
    )
    known["hit"] = known["success"].eq(True) & ((known["linf"] <= 8 / 255) | (known["by"] == "one"))
    people = {f"{i}.jpg": i // 2 for i in range(30)}  # and of the other ten it is not known
    gains: dict[str, list[int]] = {}
    for (image, _), tries in known[known["clean_correct"]].groupby(["sample_id", "target"], dropna=False):
        mine, others = tries[tries["by"] == "box"], tries[tries["by"] != "box"]
        if len(mine) and len(others) and tries["error"].isna().all():
            gains.setdefault(str(people.get(image, image)), []).append(
                int(mine["hit"].any()) - int(others["hit"].any())
            )
    nets = [sum(gain) for gain in gains.values()]
    wins, losses = sum(net > 0 for net in nets), sum(net < 0 for net in nets)
    assert sum(nets) >= rules.CLEAR_SHARE * sum(map(len, gains.values()))
    folder = tiny.write(
        tmp_path / "tiny", (attack(one), attack(two, "ffa", eps=None), black_box(box, eps=None))
    )
    board = build(tiny.with_people(folder, people), {}).set_index("attack")
    found = set(filter(None, board.loc["pgd", "flags"].split(", ")))
    assert asked == [(wins, losses, rules.LEVEL)]
    assert losses > 0
    assert found == ({"black-box-stronger"} if wins > 2 * losses else set())


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (6, 0), (7, 0), (12, 3), (40, 20), (38, 20)])
def test_the_sign_test_is_scipys(wins: int, losses: int) -> None:
    chance = binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    assert clearly_more(wins, losses, 0.01) == (chance <= 0.01)
