"""Every interval of every analysis is wider where images are of few persons, as the folder tells them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness_bayes.analyses import (
    attack_agreement,
    capacity,
    l2_by_model,
    pixel_change,
    subspace_distance,
    training_data,
    two_class_accuracy,
)
from harness_bayes.analyses.averages import averaged
from harness_bayes.analyses.study import read_study

from .two_class_fixture import case, cases, cell, picture, write

PERSONS, EACH = 32, 8
NAMES = [f"i{n:03}" for n in range(PERSONS * EACH)]
PERSON = np.repeat(np.arange(PERSONS), EACH)


def rows(seed: int) -> list[dict[str, Any]]:
    """All images of a person fare alike, or nearly."""
    rng = np.random.default_rng(seed)
    l2 = 1 + 0.3 * rng.standard_normal(PERSONS)[PERSON] + 0.001 * rng.standard_normal(len(PERSON))
    wrong, withstood = ((PERSON + shift * seed) % 4 == 3 for shift in (1, 2))
    change = rng.integers(3, 9, PERSONS)[PERSON]
    return [
        case(name, None if withstood[n] and not wrong[n] else float(l2[n]), right=not wrong[n],
             adversarial=picture(100 + int(change[n])))
        for n, name in enumerate(NAMES)
    ]  # fmt: skip


def folder(path: Path, known: bool) -> Any:
    base = {"width": 8, "depth": 4}
    cells = [
        cell(rows(1)),
        cell(rows(2), attack="component-gradient"),
        cell(rows(3), model="cnn", data="real", parameters=base),
        cell(rows(4), model="cnn", tested_on="real", parameters=base),
        cell(rows(5), model="cnn", parameters=base),
        cell(rows(6), model="cnn-trades", parameters=base | {"beta": 1.0}),
    ]
    far = 4 + np.random.default_rng(9).random(PERSONS)[PERSON]
    people = dict(zip(NAMES, PERSON.tolist(), strict=True))
    return write(
        path,
        cells,
        originals=dict.fromkeys(NAMES, picture(100)),
        annotations={"symmetric[Smiling]": dict(zip(NAMES, far, strict=True))},
        people=dict.fromkeys({row["dataset"] for row in cells}, people) if known else None,
    )


@pytest.mark.parametrize(
    "run",
    [
        l2_by_model.run,
        two_class_accuracy.run,
        pixel_change.run,
        capacity.run,
        subspace_distance.run,
        training_data.run,
        attack_agreement.run,
    ],
    ids=lambda run: run.__module__.rpartition(".")[2],
)
def test_persons_widen_every_interval(tmp_path: Path, run: Callable[..., Any]) -> None:
    alone, known = (run(folder(tmp_path / str(number), number)).table for number in (False, True))
    names = [str(name).removesuffix("_low") for name in alone if str(name).endswith("_low")]
    assert names
    for name in names:
        assert known[name].equals(alone[name])
        width = [table[f"{name}_high"] - table[f"{name}_low"] for table in (alone, known)]
        assert (width[1] > 1.5 * width[0]).all(), name


def test_means_are_of_one_attack_alone(tmp_path: Path) -> None:
    where = [{}, {"pair": ["0", "6"]}]
    cells = [cell(cases([1.0, 2.0]), attack=attack, **own) for attack in ("cw-l2", "b") for own in where]
    study = read_study(write(tmp_path, cells))
    assert len(averaged(study.of("cw-l2"), study.datasets)) == 1
    assert averaged(study.attacked, study.datasets) == []
