"""Files of pairs: every form, and the one line with file and row that each fault in one gives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import files
from harness.cases.pair_files import Pairs, as_csv, draw_pairs, read_pairs
from harness.dataset import Dataset
from harness.errors import DatasetError, HarnessError

PEOPLE = {"Ann_Ax": 4, "Bo_By": 3, "Cy": 2, "Di_Do": 1}
IDS = [f"{name}/{name}_{number:04d}.jpg" for name, count in PEOPLE.items() for number in range(1, count + 1)]
LFW = "2\t2\nAnn_Ax\t1\t2\nBo_By\t1\t3\nAnn_Ax\t1\tCy\t2\nBo_By\t2\tDi_Do\t1\n" + (
    "Cy\t1\t2\nAnn_Ax\t3\t4\nCy\t1\tBo_By\t1\nDi_Do\t1\tAnn_Ax\t4\n"
)
CALFW = (
    "Ann_Ax_0001.jpg 1\nAnn_Ax_0002.jpg 1\nBo_By_0001.jpg 2\nBo_By_0003.jpg 2\n"
    "Ann_Ax_0001.jpg 0\nCy_0001.jpg 0\nBo_By_0001.jpg 0\nDi_Do_0001.jpg 0\n"
)
CSV = "image_a,image_b,same,fold\n" + "".join(
    f"{a},{b},{same},{fold}\n"
    for a, b, same, fold in (
        (IDS[0], IDS[1], 1, 1),
        (IDS[4], IDS[7], 0, 1),
        (IDS[7], IDS[8], 1, 2),
        (IDS[9], IDS[2], 0, 2),
    )
)


def numbered(person: str, number: int) -> str:
    return f"{person}/{person}_{number:04d}.jpg"


def people(counts: dict[str, int] = PEOPLE, **more: Any) -> Dataset:
    """A data set without pixels in the layout of LFW."""
    ids = [numbered(name, number) for name, count in counts.items() for number in range(1, count + 1)]
    given: dict[str, Any] = {
        "identities": np.repeat(np.arange(len(counts)), list(counts.values())),
        "identity_names": tuple(counts),
        "numbered": numbered,
    }
    return Dataset(
        "people", ids, (3, 1, 1), lambda rows: np.zeros((len(rows), 3, 1, 1), np.uint8), "x", **given | more
    )


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str | bytes, name: str = "pairs.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    monkeypatch.setattr(files, "_said", set())
    caplog.set_level(logging.WARNING, "harness")
    return lambda: [record.getMessage() for record in caplog.records]


def shown(pairs: Pairs) -> list[tuple[str, str, bool]]:
    return list(zip(pairs.a, pairs.b, pairs.same.tolist(), strict=True))


def folds(pairs: Pairs) -> list[int] | None:
    return None if pairs.fold is None else pairs.fold.tolist()


EXPECTED = [
    (numbered("Ann_Ax", 1), numbered("Ann_Ax", 2), True),
    (numbered("Bo_By", 1), numbered("Bo_By", 3), True),
    (numbered("Ann_Ax", 1), numbered("Cy", 2), False),
    (numbered("Bo_By", 2), numbered("Di_Do", 1), False),
    (numbered("Cy", 1), numbered("Cy", 2), True),
    (numbered("Ann_Ax", 3), numbered("Ann_Ax", 4), True),
    (numbered("Cy", 1), numbered("Bo_By", 1), False),
    (numbered("Di_Do", 1), numbered("Ann_Ax", 4), False),
]


# --- forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        LFW,
        LFW.replace("\n", "\r\n"),
        LFW + "\n\n  \n",
        LFW.rstrip("\n"),
        "\ufeff" + LFW,
        LFW.replace("\t", " "),
        LFW.replace("\n", "\t\n"),
        LFW.encode("utf-16"),
    ],
    ids=["plain", "crlf", "blank", "unended", "bom", "blanks", "trailing-tabs", "utf-16"],
)
def test_pairs_of_lfw(write: Write, text: str | bytes) -> None:
    pairs = read_pairs(write(text), people())
    assert shown(pairs) == EXPECTED
    assert folds(pairs) == [1] * 4 + [2] * 4


def test_one_set_has_no_folds(write: Write) -> None:
    """As in View 1 of LFW, whose header is one number."""
    one = "2\n" + "\n".join(LFW.splitlines()[1:5])
    pairs = read_pairs(write(one), people())
    assert (shown(pairs), folds(pairs)) == (EXPECTED[:4], None)


def test_without_a_header_the_order_makes_folds(write: Write) -> None:
    rows = LFW.splitlines()[1:]
    pairs = read_pairs(write("\n".join(rows)), people())
    assert (shown(pairs), folds(pairs)) == (EXPECTED, [1] * 4 + [2] * 4)
    assert folds(read_pairs(write("\n".join(rows[:4])), people())) is None
    assert folds(read_pairs(write("\n".join(rows[:-1])), people())) is None
    assert folds(read_pairs(write("\n".join(rows[2:] + rows[:2])), people())) is None


def test_two_rows_a_pair_with_folds(write: Write) -> None:
    pairs = read_pairs(write(CALFW), people())
    assert shown(pairs) == [
        *EXPECTED[:2],
        (numbered("Ann_Ax", 1), numbered("Cy", 1), False),
        (numbered("Bo_By", 1), numbered("Di_Do", 1), False),
    ]
    assert folds(pairs) == [1, 2, 1, 2]


def test_two_rows_a_pair_with_flags(write: Write) -> None:
    pairs = read_pairs(write(CALFW.replace(" 2", " 1").replace("\n", "\r\n")), people())
    assert pairs.same.tolist() == [True, True, False, False]
    assert folds(pairs) is None


@pytest.mark.parametrize("fold", [True, False])
def test_csv(write: Write, fold: bool) -> None:
    text = (
        CSV
        if fold
        else "\n".join(row[:-2] if at else "image_a,image_b,same" for at, row in enumerate(CSV.split()))
    )
    pairs = read_pairs(write(text), people())
    assert shown(pairs) == [
        (IDS[0], IDS[1], True),
        (IDS[4], IDS[7], False),
        (IDS[7], IDS[8], True),
        (IDS[9], IDS[2], False),
    ]
    assert folds(pairs) == ([1, 1, 2, 2] if fold else None)
    without = read_pairs(write(text.partition("\n")[2]), people())
    assert (shown(without), folds(without)) == (shown(pairs), folds(pairs))


def test_columns_of_a_csv_may_stand_in_any_order(write: Write) -> None:
    text = f"Same, image_b ,image_a\nTrue,{IDS[1]},{IDS[0]}\nfalse, {IDS[4]},{IDS[0]}\n"
    assert shown(read_pairs(write(text), people())) == [(IDS[0], IDS[1], True), (IDS[0], IDS[4], False)]


def test_ends_of_ids_that_are_unique_will_do(write: Write) -> None:
    text = f".\\Ann_Ax\\Ann_Ax_0001.jpg,Ann_Ax_0002.jpg,1\n{IDS[0]},Cy_0001.jpg,0\n"
    assert shown(read_pairs(write(text), people()))[0] == (IDS[0], IDS[1], True)


def test_a_data_set_without_identities_takes_the_files_word(write: Write) -> None:
    text = f"{IDS[0]},{IDS[4]},1\n"
    assert shown(read_pairs(write(text), people(identities=None))) == [(IDS[0], IDS[4], True)]


def test_what_is_written_reads_back(write: Write) -> None:
    odd = people({'Ann "A", Ax': 2, "Bö": 2})
    for fold in (None, np.array([3, 1])):
        pairs = Pairs((odd.ids[0], odd.ids[3]), (odd.ids[1], odd.ids[0]), np.array([True, False]), fold)
        again = read_pairs(write(as_csv(pairs), "pairs.csv"), odd)
        assert (shown(again), folds(again)) == (shown(pairs), folds(pairs))


def test_repeated_pairs_are_kept_and_told(write: Write, said: Callable[[], list[str]]) -> None:
    text = f"{IDS[0]},{IDS[1]},1\n{IDS[1]},{IDS[0]},1\n{IDS[0]},{IDS[1]},1\n"
    path = write(text)
    assert len(read_pairs(path, people())) == 3
    assert said() == [f"{path}: row 2 repeats row 1, and 1 more; each counts, as the file says"]


# --- faults -----------------------------------------------------------------------------------------------

LINES = LFW.splitlines()


def with_row(number: int, text: str) -> str:
    return "\n".join([*LINES[: number - 1], text, *LINES[number:]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": holds no pairs; write image_a,image_b,same and a row for each pair"),
        ("\r\n \n", ": holds no pairs;"),
        ("image_a,image_b,same\n", ": holds a header and no pairs;"),
        ("0 0\n", ": holds a header and no pairs;"),
        (b"Ann_Ax\t1\t2\nB\xf6\t1\t2\n", ": row 2 is not UTF-8; save the file as UTF-8"),
        ("2\t2\n", ": row 1 says 2 x 2 genuine and 2 impostor pairs, so 8 rows, but 0 follow; correct one"),
        ("999999999\t999999999\nCy\t1\t2\n", "rows, but 1 follow; correct one"),
        (
            "\n".join(LINES[:2] + LINES[3:]),
            ", so 8 rows, but 7 follow; the order is broken from row 3 on; correct one",
        ),
        (LFW.replace("2\t2", "2\t3", 1), ", so 12 rows, but 8 follow; the order is broken from row 4 on"),
        (with_row(3, "Bo_By\t1\tCy\t1"), ": row 3 is an impostor pair, but row 1 says 2 x 2 genuine"),
        (with_row(3, "Bo_By\t1"), ": row 3 has 2 columns; write NAME, number, number for one person"),
        (with_row(3, "1\tBo_By\t3"), ': row 3 has "Bo_By" in column 2; it must be the number of an image'),
        (with_row(4, "Ann_Ax\tCy\t1\t2"), ': row 4 has "Cy" in column 2; it must be the number'),
        (with_row(4, "Cy\t1\tCy\t2"), ": row 4 has four columns, for two persons, but both are Cy; write"),
        (with_row(3, "Bo_By\t1\t4"), ": row 3 names image 4 of Bo_By, which is not in people; add it, or"),
        (with_row(3, "Bo_Bx\t1\t3"), ': row 3 names the person "Bo_Bx", who is not in people (and 1 more)'),
        (with_row(3, "Bo_By\t1\t1"), ": row 3 compares Bo_By/Bo_By_0001.jpg with itself; name another image"),
        (with_row(3, "Bo_By\t1").replace("\n", "\r\n"), ": row 3 has 2 columns;"),
        (with_row(3, "Bo_By 1 -3"), ': row 3 has "-3" in column 3;'),
        (CALFW.partition("\n")[2], ": row 1 says 1, and row 2 2; the two rows of a pair must say the same"),
        (CALFW + "Cy_0001.jpg 0\n", ": row 9 has no second image; a pair is two rows"),
        (CALFW + "0 Cy_0001.jpg\n", ': row 9 is "0 Cy_0001.jpg"; it must be a file and 0, 1 or the fold'),
        (CALFW.replace("Di", "Da"), ': row 7 names "Da_Do_0001.jpg", which is no image of people;'),
        (CALFW.replace(" 2", " 0"), ": row 3 is an impostor pair, but Bo_By/Bo_By_0001.jpg and"),
        (CSV.replace(",1,2", ",2,2"), ': row 4 has same = "2"; it must be 1 or 0, in the columns image_a,'),
        (CSV.replace("1,2", "1,x"), ': row 4 has fold = "x"; it must be a whole number'),
        (CSV.replace(",1,2", ",1"), ": row 4 has 3 columns; it must have 4: image_a,image_b,same,fold"),
        (CSV.replace("fold", "flod"), ': row 1 has the unknown column "flod"; did you mean "fold"?'),
        (CSV.replace("image_b", "image_a"), ": row 1 names image_a twice; name each column once"),
        (CSV.replace("same,fold", "fold").replace(",1,", ","), ": row 1 has no column same; write"),
        (f"1,{IDS[0]},{IDS[1]}\n", f': row 1 has same = "{IDS[1]}"; it must be 1 or 0'),
        (f"{IDS[0]},{IDS[1]}\n", ": row 1 has 2 columns; write image_a,image_b,same or image_a,"),
        (f'image_a,image_b,same\n"{IDS[0]},{IDS[1]},1\n', ": row 2 is no row of a CSV: unexpected end"),
        (f'image_a,image_b,same\n"{IDS[0]}\n",{IDS[1]},1\n', ": row 2 has a quoted name that goes on"),
        (f"{IDS[0]},{IDS[1]},1\n{IDS[1]},{IDS[0]},0\n", ": row 2 is an impostor pair, and a genuine pair"),
        (f"{IDS[0]},{IDS[4]},1\n", f": row 1 is a genuine pair, but {IDS[0]} and {IDS[4]} show two persons"),
        (f"{IDS[0]},nobody.jpg,0\n", ': row 1 names "nobody.jpg", which is no image of people; valid: '),
        ("<html><body>\n<p>404 not found</p>\n", ": row 1 has 1 columns; write NAME, number, number"),
    ],
)  # fmt: skip
def test_each_fault_is_one_line_with_file_and_row(write: Write, text: str | bytes, message: str) -> None:
    path = write(text)
    with pytest.raises(DatasetError) as raised:
        read_pairs(path, people())
    line = str(raised.value)
    assert line.startswith(str(path))
    assert message in line
    assert "\n" not in line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.txt", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(DatasetError, match=f"{path}: cannot be read: {reason}; name a file of pairs"):
            read_pairs(path, people())


def test_an_end_that_several_ids_have_is_not_enough(write: Write) -> None:
    twice = Dataset("twice", ["a/1.jpg", "b/1.jpg"], (3, 1, 1), lambda rows: np.zeros((0,)), "x")
    with pytest.raises(DatasetError, match=r"names 1\.jpg, as 2 images of twice are named; write the whole"):
        read_pairs(write("a/1.jpg,1.jpg,0\n"), twice)


def test_a_data_set_that_numbers_no_images_says_what_to_write(write: Write) -> None:
    with pytest.raises(
        DatasetError, match=r'names "Ann_Ax 1", but people numbers no images .* image_a,image_b'
    ):
        read_pairs(write(LFW), people(numbered=None))


# --- drawing ----------------------------------------------------------------------------------------------

MANY = {f"p{person}": 2 + person % 4 for person in range(24)}


def test_drawn_pairs_are_what_was_asked_for() -> None:
    many = people(MANY)
    pairs = draw_pairs(many, many.rows(), genuine=31, impostor=40, folds=4, seed=3)
    assert pairs.fold is not None
    assert len(set(map(frozenset, zip(pairs.a, pairs.b, strict=True)))) == len(pairs) == 71
    persons = [[name.partition("/")[0] for name in side] for side in (pairs.a, pairs.b)]
    assert [a == b for a, b in zip(*persons, strict=True)] == pairs.same.tolist()
    by_fold = [
        {a for side in persons for a, f in zip(side, pairs.fold, strict=True) if f == fold}
        for fold in range(1, 5)
    ]
    assert len(set.union(*by_fold)) == sum(map(len, by_fold))  # no person in two folds
    assert sorted(int(pairs.same[pairs.fold == fold].sum()) for fold in range(1, 5)) == [7, 8, 8, 8]
    assert [int((~pairs.same[pairs.fold == fold]).sum()) for fold in range(1, 5)] == [10] * 4


def test_genuine_pairs_take_turns() -> None:
    pairs = draw_pairs(people(MANY), np.arange(84), genuine=30, impostor=0)
    persons = [name.partition("/")[0] for name in pairs.a]
    counts = {person: persons.count(person) for person in MANY}
    assert sorted(counts.values()) == [1] * 18 + [2] * 6
    assert all(MANY[person] > 2 for person, count in counts.items() if count == 2)


def test_drawing_is_reproducible() -> None:
    many = people(MANY)
    first, again, other = (
        draw_pairs(many, many.rows(), genuine=20, impostor=20, folds=2, seed=seed) for seed in (1, 1, 2)
    )
    assert (shown(first), folds(first)) == (shown(again), folds(again))
    assert shown(first) != shown(other)


def test_all_pairs_that_there_are_can_be_drawn() -> None:
    few = people({"a": 1, "b": 1, "c": 40})
    pairs = draw_pairs(few, few.rows(), genuine=780, impostor=81)
    assert len(set(map(frozenset, zip(pairs.a, pairs.b, strict=True)))) == 861
    assert pairs.fold is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"genuine": 500, "impostor": 1}, "people has 24 persons with 120 genuine pairs, not 500; ask"),
        ({"genuine": 0, "impostor": 4000}, "people has 24 persons with 3366 impostor pairs, not 4000"),
        ({"genuine": 1, "impostor": 48, "folds": 24}, "people: fold 1 of 24 has 1 persons with 0 impostor"),
        ({"genuine": 1, "impostor": 0, "folds": 2}, "1 genuine and 0 impostor pairs in 2 folds cannot be"),
        ({"genuine": -1, "impostor": 5}, "cannot be drawn"),
    ],
)  # fmt: skip
def test_more_than_there_is_cannot_be_drawn(asked: dict[str, int], message: str) -> None:
    many = people(MANY)
    with pytest.raises(HarnessError, match=message):
        draw_pairs(many, many.rows(), **asked)


def test_nothing_is_drawn_without_identities() -> None:
    with pytest.raises(DatasetError, match="people has no identities"):
        draw_pairs(people(identities=None), np.arange(3), genuine=1, impostor=0)
