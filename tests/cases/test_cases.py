"""The cases of a cell: which images, in which order, for attributes and for classes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.cases import GOALS, classes, flip
from harness.cases.cases import Cases, divided
from harness.cases.datasets import draw
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.goals import Untargeted


def dataset(**more: object) -> Dataset:
    ids = [f"{number}.png" for number in range(10)]
    partitions = np.array(["train"] * 4 + ["test"] * 6)
    return Dataset("some", ids, (3, 8, 8), lambda rows: rows, "print", partitions=partitions, **more)  # type: ignore[arg-type, return-value]


def choice(sample: int | None) -> SimpleNamespace:
    return SimpleNamespace(label="some", place='x: dataset "some"', partition="test", sample=sample)


def cell(goal: str) -> SimpleNamespace:
    return SimpleNamespace(
        goal=goal,
        dataset=choice(None),
        model=SimpleNamespace(label="model"),
        attack=SimpleNamespace(attributes=None),
    )


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    drawn = [set(draw(choice(size), dataset(), 3, None).tolist()) for size in (2, 4, 6)]
    assert drawn[0] < drawn[1] < drawn[2] == {4, 5, 6, 7, 8, 9}
    assert set(draw(choice(6), dataset(), 3, 2).tolist()) == drawn[0]
    assert any(set(draw(choice(2), dataset(), seed, None).tolist()) != drawn[0] for seed in range(5))


def test_a_sample_larger_than_the_partition_is_refused() -> None:
    with pytest.raises(DatasetError, match='sample = 7, but partition "test" has 6 images'):
        draw(choice(7), dataset(), 0, None)


def test_classes_give_one_untargeted_case_an_image() -> None:
    labels = np.arange(10) % 3
    cases = classes.enumerate(cell("untargeted"), dataset(labels=labels), np.array([4, 9]), ())
    assert len(cases) == 2
    assert cases.labels.tolist() == [1, 0]
    assert cases.targets == (None, None)
    goal = GOALS[cases.goal].as_goal(cases)
    assert isinstance(goal, Untargeted)
    assert goal.labels.tolist() == [1, 0]
    assert len(set(cases.keys)) == 2


def test_without_classes_there_is_nothing_to_tell_apart() -> None:
    with pytest.raises(DatasetError, match="has no classes"):
        classes.enumerate(cell("untargeted"), dataset(), np.array([4]), ())
    with pytest.raises(DatasetError, match="has no attributes"):
        flip.enumerate(cell("flip"), dataset(), np.array([4]), ("Smiling",))


def test_flips_come_attribute_by_attribute() -> None:
    attributes = np.zeros((10, 2), bool)
    attributes[5, 1] = True
    known = dataset(attribute_names=("Smiling", "Young"), attributes=attributes)
    cases = flip.enumerate(cell("flip"), known, np.array([4, 5]), ("Young", "Smiling"))
    assert cases.targets == ("Young", "Young", "Smiling", "Smiling")
    assert cases.columns.tolist() == [0, 0, 1, 1]  # of the model's outputs, not of the data set
    assert cases.labels.tolist() == [0, 1, 0, 0]
    assert cases.rows.tolist() == [4, 5, 4, 5]
    assert cases.part(1, 3).targets == ("Young", "Smiling")


# --- what is learned on, and what is judged ---------------------------------------------------------------


IDS = [f"{number:06d}.jpg" for number in range(400)]


def held_out(count: int, share: float, seed: int = 0) -> set[str]:
    """The names of the images that are judged, out of so many."""
    dataset = Dataset("many", IDS, (3, 8, 8), lambda rows: rows, "print")  # type: ignore[arg-type, return-value]
    rows = np.arange(count)
    nothing = np.full(count, -1, np.int64)
    cases = Cases("untargeted", rows, (None,) * count, nothing, nothing + 1, tuple(IDS[:count]))
    learned, judged = divided(cases, dataset, share, seed)
    assert {*learned.rows, *judged.rows} == {*rows}
    assert not {*learned.rows} & {*judged.rows}
    return {IDS[row] for row in judged.rows}


def test_an_image_stays_on_its_side_when_the_sample_grows() -> None:
    few, many = held_out(100, 0.5), held_out(400, 0.5)
    assert few == {name for name in many if name in IDS[:100]}
    assert 30 < len(few) < 70
    assert held_out(400, 0.5, seed=1) != many
    # a larger share learns on those of the smaller one, and on more
    assert held_out(400, 0.8) < many
    assert 50 < len(held_out(400, 0.8)) < 110


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_few_images_are_on_both_sides_and_one_alone_is_judged(share: float) -> None:
    for seed in range(6):
        assert len(held_out(2, share, seed)) == 1
        assert 0 < len(held_out(3, share, seed)) < 3
        assert len(held_out(1, share, seed)) == 1
