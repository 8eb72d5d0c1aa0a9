"""Preparation: what is made once, what fails once, and what is made again from a results folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import harness
from harness.cases.datasets import open_datasets
from harness.catalog import catalog
from harness.dataset import Dataset
from harness.errors import ModelError, ResultsError
from harness.manifest import read_suite
from harness.plan import Plan, plan
from harness.plan.models import ModelChoice
from harness.results import read_results
from harness.shards.preparation import Preparation, rebuilt
from harness.zoo import TrainedModel, obtain

CPU = torch.device("cpu")


def planned(suite: Path, extra: str = "") -> Plan:
    suite.write_text(suite.read_text() + extra)
    return plan(read_suite(suite), catalog())


def test_a_model_is_obtained_once_for_all_its_cells(suite: Path) -> None:
    asked: list[str] = []

    def counted(choice: ModelChoice, dataset: Dataset) -> TrainedModel:
        asked.append(choice.label)
        return obtain(choice, dataset, 0, CPU)

    made = planned(suite)
    prepared = Preparation(made, open_datasets(made, None), counted)
    jobs = [prepared.job(cell) for cell in made.cells]
    assert asked == ["linear"]
    assert len({id(job.context.model) for job in jobs}) == 1
    assert [prepared.job(cell) for cell in made.cells] == jobs


def test_what_failed_once_is_not_tried_again_and_its_transfers_say_why(suite: Path) -> None:
    asked: list[str] = []

    def failing(choice: ModelChoice, dataset: Dataset) -> TrainedModel:
        asked.append(choice.label)
        if choice.label == "linear":
            raise ModelError("no weights today")
        return obtain(choice, dataset, 0, CPU)

    made = planned(
        suite,
        '[[model]]\nuse = "linear"\nid = "victim"\nwidth = 5\n'
        '[[transfer]]\nsurrogate = "linear"\nvictim = "victim"\n',
    )
    prepared = Preparation(made, open_datasets(made, None), failing)
    attacked = [cell for cell in made.cells if cell.model.label == "linear"]
    transfers = [cell for cell in made.cells if cell.source]
    for cell in attacked:
        with pytest.raises(ModelError, match="no weights today"):
            prepared.job(cell)
    for cell in transfers:
        with pytest.raises(ModelError, match="its surrogate failed: no weights today"):
            prepared.job(cell)
    assert sorted(asked) == ["linear", "victim"]


def test_a_run_is_prepared_again_from_its_folder(suite: Path, tmp_path: Path) -> None:
    folder = harness.run(suite, out=tmp_path / "out", limit=5).path
    prepared = rebuilt(folder, CPU)
    ids = [prepared.job(cell).id for cell in prepared.planned.cells]
    assert ids == read_results(folder).cells()["cell"].tolist()
    assert {prepared.job(cell).cases for cell in prepared.planned.cells} == {2 * 5}


def test_nothing_is_trained_to_prepare_a_run_again(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = harness.run(suite, out=tmp_path / "out", limit=2).path
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "empty"))
    prepared = rebuilt(folder, CPU)
    with pytest.raises(ResultsError, match="the weights of linear are not in the cache"):
        prepared.job(prepared.planned.cells[0])
    assert not (tmp_path / "empty").exists()


def test_a_folder_without_a_resolved_suite_cannot_be_prepared(suite: Path, tmp_path: Path) -> None:
    folder = harness.run(suite, out=tmp_path / "out", limit=2).path
    (folder / "suite.json").write_text('{"name": "small"}')
    with pytest.raises(ResultsError, match="holds no resolved suite"):
        rebuilt(folder, CPU)
