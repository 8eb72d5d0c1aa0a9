"""Models are compared on the cases of both, and a white-box attack with its transfer from another model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness_paw.analyses import robustness

from .conftest import Folder, card, case


@pytest.fixture
def attacked(folder: Folder) -> Folder:
    """Of 20 cases, the attack succeeds on 5 of paw, on 15 of moon; transferred it succeeds on 2 of paw."""
    folder.model("paw", "paw/paw", card(0.9), crop="hard")
    folder.model("moon", "attributes/moon", card(0.87))
    names = [f"{number:02}" for number in range(20)]
    folder.cell("paw", [case(name, success=place < 5) for place, name in enumerate(names)])
    moon = [case(name, success=place < 15) for place, name in enumerate(names)]
    folder.cell("moon", [*moon, case("99", success=True)])
    folder.cell("paw", [case(name, success=place < 2) for place, name in enumerate(names)], surrogate="whole")
    return folder


def row(table: pd.DataFrame, comparison: str) -> dict[str, Any]:
    (found,) = table[table["comparison"] == comparison].to_dict("records")
    return found


def test_models_are_paired_by_case(attacked: Folder, saved: Callable[[Any], int]) -> None:
    found = robustness.run(attacked.read())
    told = row(found.table, robustness.MODELS)
    assert (told["first"], told["second"], told["n"], told["cases"]) == ("paw", "moon", 20, 20)
    assert (told["success_first"], told["success_second"], told["success_difference"]) == (0.25, 0.75, -0.5)
    assert told["success_difference_high"] < 0
    assert told["more"] == "moon"
    assert (told["robust_first"], told["robust_second"], told["robust_difference"]) == (0.75, 0.25, 0.5)
    assert saved(found.figure) > 5_000


def test_white_box_beside_transfer(attacked: Folder) -> None:
    told = row(robustness.run(attacked.read()).table, robustness.TRANSFER)
    assert (told["first"], told["second"]) == ("paw", "from whole")
    assert (told["success_first"], told["success_second"]) == (0.25, 0.1)
    assert told["more"] == ""  # three cases of 20 are no clear difference
    assert told["robust_first"] != told["robust_first"]


def test_wrong_cases_count_for_robustness_alone(folder: Folder) -> None:
    folder.model("paw", "paw/paw", card(0.9), crop="hard")
    folder.model("moon", "attributes/moon", card(0.87))
    folder.cell("paw", [case(f"{n}", right=n > 1) for n in range(8)])
    folder.cell("moon", [case(f"{n}") for n in range(8)])
    told = row(robustness.run(folder.read()).table, robustness.MODELS)
    assert (told["n"], told["cases"], told["robust_first"], told["robust_second"]) == (6, 8, 0.75, 1.0)


def test_another_threat_is_another_attack(folder: Folder) -> None:
    folder.model("paw", "paw/paw", card(0.9), crop="hard")
    folder.model("moon", "attributes/moon", card(0.87))
    folder.cell("paw", [case("a")])
    folder.cell("moon", [case("a")], threat="linf 4/255")
    with pytest.raises(HarnessError, match="nothing can be compared"):
        robustness.run(folder.read())
