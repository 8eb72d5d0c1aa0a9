"""Session: one run of a suite, from the manifest to the leaderboard; what is finished is never done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness import leaderboard
from harness.catalog import Catalog, catalog
from harness.choices import DatasetChoice, ModelChoice
from harness.dataset import Dataset
from harness.errors import DatasetError, HarnessError, ManifestError, ModelError
from harness.files import lock
from harness.manifest import read_suite
from harness.options import Options
from harness.parameters import jsonable
from harness.plan import Cell, Plan, plan
from harness.population import Cases, check_attributes, draw, enumerate_cases
from harness.progress import Reporter
from harness.provenance import describe
from harness.shard import Bench, CleanAnswers, run_shard
from harness.store import Store
from harness.zoo import Specimen, obtain


@dataclass(frozen=True, eq=False)
class Loaded:
    """A data set of the plan, opened, and the rows of it that are attacked."""

    choice: DatasetChoice
    dataset: Dataset
    rows: npt.NDArray[np.intp]

    @property
    def sample_digest(self) -> str:
        """Digest of the attacked sample ids."""
        ids = "\n".join(self.dataset.ids[row] for row in self.rows)
        return hashlib.sha256(ids.encode()).hexdigest()[:16]


@dataclass
class Summary:
    """What a run did."""

    folder: Path
    cells: int = 0
    skipped: int = 0
    cases_done: int = 0
    """Cases attacked by this run, not by earlier ones."""
    cells_failed: int = 0
    cells_open: int = 0
    """Cells of which other processes' shards are still missing."""
    rows: list[dict[str, Any]] = field(default_factory=list)


def make_plan(suite: str | Path | Mapping[str, Any], options: Options, known: Catalog | None = None) -> Plan:
    """The plan of a suite with a run's overrides."""
    return plan(read_suite(suite, overrides=options.overrides), known or catalog())


def results_folder(planned: Plan, options: Options) -> Path:
    """Where a run of the plan writes."""
    return options.out or Path("results") / planned.suite.name


def device_of(name: str) -> torch.device:
    """A device by name; "auto" is the first GPU, or the CPU.

    Raises:
        ManifestError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ManifestError(f'device "{name}" cannot be used: {str(error).splitlines()[0]}') from None
    return device


def open_dataset(choice: DatasetChoice) -> Dataset:
    """Open a data set of the plan.

    Raises:
        DatasetError: files are missing or wrong.
    """
    try:
        dataset: Dataset = choice.entry.load(choice.entry.spec.load)(**choice.parameters)
    except HarnessError as error:
        raise DatasetError(f"{choice.place}: {error}") from error
    except Exception as error:
        raise DatasetError(f"{choice.place}: {type(error).__name__}: {error}") from error
    if not isinstance(dataset, Dataset):
        raise DatasetError(f"{choice.place}: load returned {type(dataset).__name__}, not a harness.Dataset")
    return dataset


def open_datasets(planned: Plan, limit: int | None) -> dict[DatasetChoice, Loaded]:
    """Open every data set of the plan, and draw what is attacked.

    Raises:
        DatasetError: files are missing or wrong, or there are too few images.
        ManifestError: an attack names an attribute that there is not.
    """
    loaded = {}
    for choice in planned.datasets:
        dataset = open_dataset(choice)
        loaded[choice] = Loaded(choice, dataset, draw(choice, dataset, planned.suite.seed, limit))
    for choice, attack in dict.fromkeys((cell.dataset, cell.attack) for cell in planned.cells):
        check_attributes(attack, loaded[choice].dataset)
    return loaded


def run_suite(
    suite: str | Path | Mapping[str, Any], options: Options, reporter: Reporter | None = None
) -> Summary:
    """Run a suite; see ``harness.run``."""
    planned = make_plan(suite, options)
    store = Store(results_folder(planned, options))
    device = device_of(options.device or planned.suite.device)
    share, shares = options.shard
    store.open()
    busy = f"{store.folder} is being written by another run"
    summary = Summary(store.folder, len(planned.cells), len(planned.skipped))
    with (
        lock(store.folder / f".lock-{share}-of-{shares}", busy),
        reporter or Reporter() as shown,
    ):
        loaded = open_datasets(planned, options.limit)
        store.write_suite(describe(planned, options, device))
        rows = {id(cell): _pending(cell, planned) for cell in planned.cells}
        skipped = [_skipped_row(item, planned) for item in planned.skipped]

        def publish() -> None:
            summary.rows = [*rows.values(), *skipped]
            store.write_cells(summary.rows)

        turn = _Turn(share, shares)
        open_cells: dict[int, tuple[str, int]] = {}  # id and number of shards
        try:
            for (dataset_choice, model_choice), cells in _by_model(planned.cells):
                data = loaded[dataset_choice]
                try:
                    with shown.training(model_choice.label) as report:
                        specimen = obtain(model_choice, data.dataset, planned.suite.seed, device, report)
                except ModelError as error:
                    for cell in cells:
                        rows[id(cell)] |= {"status": "failed", "error": str(error)}
                    continue
                clean = CleanAnswers(specimen.model, data.dataset, data.rows)
                for cell in cells:
                    job = _job(planned, cell, data, specimen, clean)
                    if isinstance(job, HarnessError):
                        rows[id(cell)] |= {"status": "failed", "error": str(job)}
                        continue
                    rows[id(cell)] |= {"cell": job.id, "weights": specimen.digest}
                    rows[id(cell)] |= {"cases": len(job.cases), "shards": len(job.shards)}
                    rows[id(cell)] |= {"dataset_fingerprint": data.dataset.fingerprint}
                    _run_cell(job, store, options, turn, shown, specimen, summary)
                    rows[id(cell)] |= _state(store.tally(job.id), len(job.shards))
                    if rows[id(cell)]["status"] == "partial":
                        open_cells[id(cell)] = job.id, len(job.shards)
                publish()
        except BaseException:
            publish()
            with suppress(HarnessError):  # what went wrong first is what is told
                leaderboard.write(store.folder)
            raise
        for key, (name, shards) in open_cells.items():  # other processes have gone on meanwhile
            rows[key] |= _state(store.tally(name), shards)
        publish()
        leaderboard.write(store.folder)
    summary.cells_failed = sum(row["status"] == "failed" for row in rows.values())
    summary.cells_open = sum(row["status"] == "partial" for row in rows.values())
    return summary


# --- cells ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Job:
    """A cell that is ready to run."""

    id: str
    bench: Bench
    cases: Cases
    shard_size: int

    @property
    def shards(self) -> range:
        """The cell's shard numbers."""
        return range(-(-len(self.cases) // self.shard_size))

    def cases_of(self, shard: int) -> Cases:
        """The cases of a shard."""
        return self.cases.part(shard * self.shard_size, (shard + 1) * self.shard_size)


class _Turn:
    """Deals the shards of all cells to the processes in turn, the same way in each of them."""

    def __init__(self, share: int, shares: int) -> None:
        self._share, self._shares, self._dealt = share - 1, shares, 0

    def mine(self, shards: range) -> list[int]:
        chosen = [shard for shard in shards if (self._dealt + shard) % self._shares == self._share]
        self._dealt += len(shards)
        return chosen


def _job(
    planned: Plan, cell: Cell, data: Loaded, specimen: Specimen, clean: CleanAnswers
) -> Job | HarnessError:
    names = specimen.model.names or data.dataset.attribute_names
    try:
        cases = enumerate_cases(cell, data.dataset, data.rows, names)
    except HarnessError as error:
        return error
    suite = planned.suite
    bench = Bench(cell, data.dataset, specimen.model, clean, planned.measures, suite.seed, suite.batch_size)
    return Job(cell_id(planned, cell, data, specimen.digest), bench, cases, shard_size(planned, len(cases)))


def shard_size(planned: Plan, cases: int) -> int:
    """Cases of a shard: what the manifest says, else 256, or more where a cell would have over 64 shards.

    A shard is what a kill can cost; but each is a file, and boards over millions of records would spend
    their time on opening files.
    """
    return planned.suite.shard_size or max(256, -(-cases // 64))


def cell_id(planned: Plan, cell: Cell, data: Loaded, weights: str) -> str:
    """Digest of everything that a cell's records depend on, as 16 hexadecimal digits."""
    attack, threat = cell.attack, cell.attack.threat
    identity = {
        "dataset": [data.dataset.fingerprint, data.sample_digest],
        "model": [cell.model.entry.qualified, cell.model.entry.version, jsonable(cell.model.parameters)],
        "weights": weights,
        "attack": [attack.entry.qualified, attack.entry.version, jsonable(attack.parameters)],
        "threat": [threat.norm, threat.eps, threat.access, threat.levels],
        "goal": [cell.goal, jsonable(attack.attributes)],
        "compute": attack.compute,
        "keep": attack.keep,
        "measures": [
            [measure.column, measure.entry.qualified, measure.entry.version, jsonable(measure.parameters)]
            for measure in planned.measures
        ],
        "seed": planned.suite.seed,
        "shard_size": planned.suite.shard_size,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _run_cell(
    job: Job,
    store: Store,
    options: Options,
    turn: _Turn,
    shown: Reporter,
    specimen: Specimen,
    summary: Summary,
) -> None:
    mine = turn.mine(job.shards)
    if options.overwrite == "all":
        store.discard(job.id, mine)
    elif options.overwrite == "failed":
        store.discard(job.id, store.failed(job.id) & set(mine))
    left = sorted(set(mine) - store.finished(job.id))
    if not left:
        return
    cell = job.bench.cell
    label = f"{cell.model.label} x {cell.attack.label} {cell.attack.threat.label}"
    with shown.attacking(label, sum(len(job.cases_of(shard)) for shard in left)) as advance:
        for shard in left:
            cases = job.cases_of(shard)
            table = run_shard(job.bench, cases, advance=advance, repair=specimen.restore)
            store.write_part(job.id, shard, table)
            summary.cases_done += len(cases)


def _by_model(cells: tuple[Cell, ...]) -> Iterator[tuple[tuple[DatasetChoice, ModelChoice], list[Cell]]]:
    groups: dict[tuple[DatasetChoice, ModelChoice], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.model), []).append(cell)
    yield from groups.items()


# --- rows of cells.parquet ----------------------------------------------------------------------------------


def _pending(cell: Cell, planned: Plan) -> dict[str, Any]:
    return {
        "cell": "",
        "dataset": cell.dataset.label,
        "stand_in_for": cell.dataset.stand_in_for,
        "model": cell.model.label,
        "attack": cell.attack.label,
        "threat": cell.attack.threat.label,
        "goal": cell.goal,
        "seed": planned.suite.seed,
        "status": "partial",
        "dataset_use": cell.dataset.entry.qualified,
        "dataset_parameters": json.dumps(jsonable(cell.dataset.parameters)),
        "model_use": cell.model.entry.qualified,
        "model_parameters": json.dumps(jsonable(cell.model.parameters)),
        "model_version": cell.model.entry.version,
        "attack_use": cell.attack.entry.qualified,
        "attack_parameters": json.dumps(jsonable(cell.attack.parameters)),
        "attack_version": cell.attack.entry.version,
    }


def _skipped_row(item: Any, planned: Plan) -> dict[str, Any]:
    cell = Cell(item.dataset, item.model, item.attack, "")
    return _pending(cell, planned) | {"status": "skipped", "error": item.reason}


def _state(tally: dict[str, Any], shards: int) -> dict[str, Any]:
    if tally["shards_done"] < shards:
        return tally | {"status": "partial"}
    return tally | {"status": "failed" if tally["cases_failed"] else "done"}
