"""Comparisons that files name: which are attacked, which calibrate, and who nobody is in both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.cases.comparisons import Drawn, read_comparisons
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.plan.comparisons import Comparisons

from .test_comparisons import Looks, cases, city_block, faces, told, verifier

FOLDS = 3


def rows_of(person: int) -> list[int]:
    """Images 0 to 9 of a person: persons take turns."""
    return [person + 12 * turn for turn in range(10)]


def lines(*, folds: bool) -> list[str]:
    """Each fold has four persons of its own: genuine pairs of each, and pairs of the next."""
    header = "image_a,image_b,same,fold" if folds else "image_a,image_b,same"
    found = [header]
    for person in range(12):
        fold, start = person // 4, 4 * (person // 4)
        other = start + (person + 1 - start) % 4
        for turn in range(5):
            a, b, c = rows_of(person)[turn], rows_of(person)[turn + 1], rows_of(other)[turn]
            for second, same in ((b, 1), (c, 0)):
                found.append(f"{a:03d}.png,{second:03d}.png,{same}" + (f",{fold + 1}" if folds else ""))
    return found


def read(folder: Path, *, folds: bool = True, dataset: Dataset | None = None, **keys: object) -> Drawn:
    file = folder / "pairs.csv"
    file.write_text("\n".join(lines(folds=folds)) + "\n")
    settings = Comparisons(file=str(file), **keys)  # type: ignore[arg-type]
    return read_comparisons(settings, dataset or faces(), 0, None, "x")


def test_one_fold_is_attacked_and_the_others_calibrate(tmp_path: Path) -> None:
    one = read(tmp_path)
    for split, folds in (("attacked", {3}), ("calibration", {1, 2})):
        listed = getattr(one, split).listed
        assert set(listed.folds.tolist()) == folds
        assert len(listed.probes) == 40 * len(folds)
    other = read(tmp_path, fold=1)
    assert other.attacked.listed is not None
    assert set(other.attacked.listed.folds.tolist()) == {1}  # type: ignore[union-attr]


def test_persons_of_the_attacked_fold_do_not_calibrate(tmp_path: Path) -> None:
    text = "\n".join([*lines(folds=True), "000.png,008.png,0,1"]) + "\n"  # persons of folds 1 and 3
    file = tmp_path / "pairs.csv"
    file.write_text(text)
    one = read_comparisons(Comparisons(file=str(file)), faces(), 0, None, "x")
    assert one.calibration.listed is not None
    assert len(one.calibration.listed.probes) == 80
    people = [{one.people[int(row)] for row in split.pool} for split in (one.attacked, one.calibration)]
    assert not people[0] & people[1]


def test_a_file_without_folds_is_divided_by_person(tmp_path: Path) -> None:
    one = read(tmp_path, folds=False)
    people = [{one.people[int(row)] for row in split.pool} for split in (one.attacked, one.calibration)]
    assert not people[0] & people[1]
    assert all(people)
    with pytest.raises(DatasetError, match=r"has no folds, so fold = 2 names none"):
        read(tmp_path, folds=False, fold=2)


def test_an_unknown_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no fold 7; it has folds from 1 to 3"):
        read(tmp_path, fold=7)


def test_one_fold_alone_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("image_a,image_b,same,fold\n000.png,012.png,1,1\n000.png,001.png,0,1\n")
    with pytest.raises(DatasetError, match=r"has fold 1 alone, .* leave the column fold out"):
        read_comparisons(Comparisons(file=str(file)), faces(), 0, None, "x")


def test_nobody_left_to_calibrate_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("image_a,image_b,same,fold\n000.png,012.png,1,1\n000.png,024.png,1,2\n")
    with pytest.raises(DatasetError, match=r"of 2 comparisons of .* none is left for the calibration"):
        read_comparisons(Comparisons(file=str(file)), faces(), 0, None, "x")


def test_without_identities_the_pairs_say_who_is_who(tmp_path: Path) -> None:
    """Genuine pairs link five and more images of each person; nobody else is linked."""
    known = read(tmp_path)
    guessed = read(tmp_path, dataset=faces(identities=None))
    for row, name in known.people.items():
        assert [other for other, own in known.people.items() if own == name] == [
            other for other, own in guessed.people.items() if own == guessed.people[row]
        ]
    assert all(name.startswith("the person of ") for name in guessed.people.values())


@pytest.mark.parametrize("mirror", [True, False])
def test_distances_are_those_of_the_pairs(tmp_path: Path, mirror: bool) -> None:
    one = read(tmp_path, mirror=mirror)
    made = told(one, "attacked", distance=city_block)
    images = one.dataset.images(np.arange(len(one.dataset))).astype(np.float32) / 255
    plain, turned = (np.round(part.reshape(len(part), -1) * 2) for part in (images, images[..., ::-1]))
    assert one.attacked.listed is not None
    assert [(a, b) for a, b, _, _ in made] == list(
        zip(one.attacked.listed.probes.tolist(), one.attacked.listed.references.tolist(), strict=True)
    )
    for probe, reference, _, apart in made:
        sides = [np.abs(side[probe] - plain[reference]).sum() for side in (plain, turned)]
        assert apart == pytest.approx(np.mean(sides) if mirror else sides[0], abs=1e-4)


def test_cases_are_the_comparisons_of_the_attacked_fold(tmp_path: Path) -> None:
    one = read(tmp_path)
    for same in (True, False):
        found = cases(one, same=same)
        assert len(found) == 20
        assert len(cases(read(tmp_path, cases=3), same=same)) == 3
        for probe, reference, target in found:
            assert (one.people[int(probe[:3])] == target) == same
            assert one.people[int(reference[:3])] == target
    assert set(one.probes.tolist()) == {
        int(probe[:3]) for same in (True, False) for probe, _, _ in cases(one, same=same)
    }


def test_thresholds_come_of_the_other_folds(tmp_path: Path) -> None:
    one = read(tmp_path, fmr=(0.2,))
    (point,) = verifier(one, Looks()).points
    assert (point.impostors, point.genuine, point.identities) == (40, 40, 8)
    apart = np.array([value for _, _, own, value in told(one, "calibration") if not own])
    assert point.false_matches == (apart < point.threshold).sum() <= 8
