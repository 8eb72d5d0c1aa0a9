"""A plan's cells are made ready to run here, each model once: in a run, or again from its results folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from harness.cases.comparisons import Verifier
from harness.cases.datasets import Learn, OpenedDataset, open_datasets
from harness.catalog import catalog
from harness.dataset import Dataset
from harness.errors import ContractError, HarnessError, ModelError, ResultsError
from harness.goals import mirrored
from harness.judge.guard import restored
from harness.manifest import read_suite
from harness.plan import Cell, Plan, plan
from harness.plan.datasets import DatasetChoice
from harness.plan.models import ModelChoice
from harness.results import read_description
from harness.shards.context import CleanAnswers, ReadyModel
from harness.shards.jobs import Job, make_job, transfer_job
from harness.training import StateDict
from harness.zoo import TrainedModel, obtain, read_card
from harness.zoo.fits import known_fit

Obtain = Callable[[ModelChoice, Dataset], TrainedModel]
Made = TypeVar("Made")


class Preparation:
    """A preparation makes the models and jobs of a plan when they are first asked for, and keeps them.

    What fails once fails with the same error whenever it is asked for again.
    """

    def __init__(
        self, planned: Plan, opened: Mapping[DatasetChoice, OpenedDataset], obtain_model: Obtain
    ) -> None:
        self.planned, self.opened, self._obtain = planned, opened, obtain_model
        self._kept: dict[Any, Any] = {}

    def model(self, dataset: DatasetChoice, model: ModelChoice) -> ReadyModel:
        """Return a model of the plan, trained on one of its data sets.

        Raises:
            ModelError: it cannot be built, trained or loaded.
        """

        def make() -> ReadyModel:
            data = self.opened[dataset]
            try:
                with restored([]):
                    trained = self._obtain(model, data.dataset)
                ready = made_ready(model, trained, data, self.planned.suite.batch_size)
                changed: list[str] = []
                with restored(changed):
                    ready.examine()
                if changed:
                    left = ", ".join(changed)
                    raise ModelError(
                        f"{model.place}: the model leaves behind another {left} when it answers; "
                        "change it in a with statement"
                    )
            except (Exception, SystemExit) as error:
                if isinstance(error, HarnessError | OSError) and not isinstance(error, ContractError):
                    raise  # an OSError is one of the cache
                # Whatever else a plugin raises fails this model, and the next one runs.
                raise ModelError(f"{model.place}: {type(error).__name__}: {error}") from error
            return ready

        return self._once((dataset, model), make)

    def job(self, cell: Cell) -> Job:
        """Return the job of a cell; of a transfer, after that of the cell whose adversarials it judges.

        Raises:
            HarnessError: the model cannot be had, or the data set lacks what the goal needs.
        """

        def make() -> Job:
            ready = self.model(cell.dataset, cell.model)
            if cell.source is None:
                return make_job(self.planned, cell, ready)
            try:
                source = self.job(cell.source)
            except HarnessError as error:
                raise ModelError(f"its surrogate failed: {error}") from error
            return transfer_job(self.planned, cell, ready, source)

        return self._once(cell, make)

    def forget(self) -> None:
        """Let go of all models and jobs; who asks for one again makes it again."""
        self._kept.clear()

    def _once(self, key: Any, make: Callable[[], Made]) -> Made:
        if key not in self._kept:
            try:
                self._kept[key] = make()
            except HarnessError as error:
                self._kept[key] = error
        made: Made | HarnessError = self._kept[key]
        if isinstance(made, HarnessError):
            raise made
        return made


def made_ready(
    choice: ModelChoice, trained: TrainedModel, data: OpenedDataset, batch_size: int | Literal["auto"]
) -> ReadyModel:
    """Return a trained model as it is attacked on a data set: a verifier with its comparisons."""
    drawn = data.comparisons
    if trained.model.head != "embedding" or drawn is None:
        clean = CleanAnswers(trained.model, data.dataset, data.rows)
        return ReadyModel(choice, trained, data, clean, batch_size)
    plain = trained.model
    if drawn.settings.mirror:
        trained = replace(trained, model=mirrored(plain))
    clean = CleanAnswers(trained.model, data.dataset, drawn.rows)
    verifier = Verifier(trained.model, plain.distance, drawn, clean.at, choice.place)
    return ReadyModel(choice, trained, data, clean, batch_size, verifier)


def rebuilt(folder: Path, device: torch.device) -> Preparation:
    """Prepare the cells of a run again, from its resolved suite and the cache: in any process the same jobs.

    ``planned.cells`` are those of the run, in the same order. Nothing is trained or fitted.

    Raises:
        ResultsError: the folder holds no resolved suite, or what a model or data set learned is not there.
    """
    described = read_description(folder)
    if not isinstance(described.get("suite"), dict):
        raise ResultsError(f"{folder / 'suite.json'} holds no resolved suite")
    return prepared_again(described["suite"], described.get("limit"), device)


def plan_again(suite: Mapping[str, Any]) -> Plan:
    """Return the plan of a resolved suite."""
    return plan(read_suite(suite), catalog())


def prepared_again(
    suite: Mapping[str, Any],
    limit: int | None,
    device: torch.device,
    make_plan: Callable[[Mapping[str, Any]], Plan] = plan_again,
) -> Preparation:
    """Prepare the cells of a resolved suite; nothing is trained or fitted.

    Args:
        make_plan: makes the plan of the suite, where attacks run in other processes.

    Raises:
        ResultsError: what a model or data set learned is not in the cache.
    """
    planned = make_plan(suite)
    opened = open_datasets(planned, limit, _known_fits(planned.suite.seed))

    def known(choice: ModelChoice, dataset: Dataset) -> TrainedModel:
        learns = choice.entry.spec.train is not None and choice.weights is None
        if learns and read_card(choice, dataset, planned.suite.seed) is None:
            raise ResultsError(f"the weights of {choice.label} are not in the cache; nothing can be judged")
        return obtain(choice, dataset, planned.suite.seed, device)

    return Preparation(planned, opened, known)


def _known_fits(seed: int) -> Learn:
    def known(choice: DatasetChoice, source: Dataset | None) -> StateDict:
        found = known_fit(choice, source, seed)
        if found is None:
            raise ResultsError(f"the fit of {choice.label} is not in the cache; nothing can be judged")
        return found

    return known
