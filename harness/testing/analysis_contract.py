"""The contract of analyses asks for a table of every folder of results, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from harness.analysis import Analysis, write
from harness.catalog import Choice, Entry, catalog
from harness.errors import HarnessError, ManifestError
from harness.files import digest_of_file
from harness.parameters import check
from harness.results import read_results
from harness.specs import AnalysisSpec
from harness.testing.contract import (
    Case,
    Check,
    ContractFailure,
    EntrySubject,
    Inapplicable,
    cases,
    one_line,
    require,
)
from harness.testing.records import write_results

MANY = 24
SPARSE: dict[str, Callable[[Path], None]] = {
    "a folder with nothing attacked yet": partial(write_results, cases=1, attacked=False),
    "a folder with one record": partial(write_results, cases=1),
    "a folder with errors only": partial(write_results, cases=2, errors=2),
    "a folder without a success": partial(write_results, cases=4, hits=False),
}


class AnalysisSubject(EntrySubject[AnalysisSpec]):
    """An AnalysisSubject is an analysis with its parameters."""

    def analyse(self, folder: Path, where: str) -> Analysis:
        """Return what it finds in a folder of results.

        Raises:
            Inapplicable: it says why it finds nothing.
            ContractFailure: it raised another exception, or returned something else.
        """
        try:
            found = self.entry.call(self.entry.spec.run, read_results(folder), values=self.parameters)
        except HarnessError as reason:
            line = str(reason).removeprefix(f"{folder}: ")
            raise Inapplicable(f"on {where} it says: {line}") from reason
        except Exception as error:
            raise ContractFailure(
                f"on {where}: it raised {one_line(error)}; return fewer rows, or raise a HarnessError "
                "with the reason"
            ) from error
        if not isinstance(found, Analysis):
            raise ContractFailure(
                f"on {where}: it returned {type(found).__name__}; return a harness.Analysis"
            )
        if not isinstance(found.table, pd.DataFrame):
            raise ContractFailure(
                f"on {where}: its table is {type(found.table).__name__}; make it a DataFrame"
            )
        return found


def few_records(subject: AnalysisSubject, variant: str) -> None:
    """On few records, failures or errors only, it returns a table, or tells the reason in a HarnessError."""
    for where, fill in SPARSE.items():
        with _folder(fill) as folder:
            try:
                subject.analyse(folder, where)
            except Inapplicable:
                continue


def table(subject: AnalysisSubject, variant: str) -> None:
    """The table and the figure can be written: plain columns, with a name each."""
    with _folder(partial(write_results, cases=MANY, errors=1)) as folder:
        found = subject.analyse(folder, "a folder of a few records")
        names = list(found.table.columns)
        require(
            all(isinstance(name, str) for name in names) and len(set(names)) == len(names),
            f"its columns are {names}; give each a name of its own",
        )
        choice = Choice(subject.name, subject.entry, subject.parameters, f"analysis {subject.name}")
        (written,) = write(folder, [choice])
        require(
            not written.error, f"it cannot be written: {written.error}; use plain columns, without an index"
        )


def repeatable(subject: AnalysisSubject, variant: str) -> None:
    """It returns the same table again, and leaves the folder of results as it is."""
    with _folder(partial(write_results, cases=MANY, errors=1)) as folder:
        before = _digests(folder)
        first, again = (subject.analyse(folder, "a folder of a few records").table for _ in range(2))
        require(first.equals(again), "a second call returns another table; seed what it draws")
        require(
            _digests(folder) == before, "it writes to the folder of results; return what is to be written"
        )


@contextmanager
def _folder(fill: Callable[[Path], None]) -> Iterator[Path]:
    with TemporaryDirectory() as place:
        folder = Path(place)
        fill(folder)
        yield folder


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): digest_of_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


ANALYSIS_CHECKS = (
    Check(few_records),
    Check(table),
    Check(repeatable, after=("table",)),
)


def analysis_checks(
    analysis: str | Entry[AnalysisSpec],
    *,
    params: Mapping[str, Any] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Case]:
    """Return the checks of an analysis as functions without arguments; see ``attack_checks``."""
    entry = catalog().analyses[analysis] if isinstance(analysis, str) else analysis
    resolved = check(f"analysis {entry.spec.name}", params or {}, entry.parameters(), ManifestError)
    return cases(AnalysisSubject(entry, resolved), ANALYSIS_CHECKS, only, skip)
