"""The id of a cell is another one if anything that its records depend on is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.cases.datasets import OpenedDataset
from harness.catalog import Catalog
from harness.shards.jobs import cell_id

from .documents import planned


def id_of(
    catalog: Catalog, data: tuple[str, str] = ("pixels", "rows"), weights: str = "w", **changes: Any
) -> str:
    made = planned(catalog, **changes)
    opened = SimpleNamespace(
        dataset=SimpleNamespace(fingerprint=data[0]), sample_digest=data[1], comparisons=None
    )
    return cell_id(made, made.cells[0], cast(OpenedDataset, opened), weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"shard_size": 5},
        {"compute": "bfloat16"},
        {"keep": True},
        {"data": ("other pixels", "rows")},
        {"data": ("pixels", "other rows")},
        {"weights": "others"},
        {"attack": {"use": "pgd", "eps": "4/255"}},
        {"attack": {"use": "pgd", "eps": "8/255", "steps": 7}},
        {"model": {"use": "linear", "width": 3}},
    ],
    ids=str,
)
def test_what_records_depend_on_is_part_of_the_id(fakes: Catalog, changes: dict[str, Any]) -> None:
    assert id_of(fakes, **changes) != id_of(fakes)


def test_names_are_no_part_of_the_id(fakes: Catalog) -> None:
    named = {"use": "pgd", "eps": "8/255", "id": "another"}
    assert id_of(fakes, attack=named, name="another", description="words") == id_of(fakes)
