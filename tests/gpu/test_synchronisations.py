"""An iteration of an attack waits for the device at most twice, which can be counted without one."""

from __future__ import annotations

import pytest
import torch

from tests.gpu.networks import Small, smalls
from tests.gpu.same_attacks import Case
from tests.gpu.synchronisations import MOST, Waits, counted, counted_cases

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def networks() -> dict[str, Small]:
    torch.set_num_threads(1)
    return smalls(2)


@pytest.mark.parametrize("case", counted_cases(), ids=lambda case: case.label)
def test_an_iteration_waits_at_most_twice(networks: dict[str, Small], case: Case) -> None:
    row = counted(case, networks[case.network], CPU)
    assert row.status == "measured", row
    assert row.figures["waits"] <= MOST


def test_what_waits_is_counted() -> None:
    x = torch.arange(4)
    with Waits() as waits:
        x[x > 1]
        torch.nonzero(x)
        bool(x.sum() > 3)
        x[torch.tensor([1, 2])]
        x + 1
    assert waits.counts == {"index by mask": 1, "nonzero": 1, "item": 1}
