"""A contract is a list of named checks; each of them passes, fails with one line, or does not apply."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar
from unittest import SkipTest

from harness.catalog import Entry, Plugin, Section
from harness.errors import HarnessError, nearest
from harness.judge.guard import restored
from harness.specs import Spec

S = TypeVar("S", bound=Spec)

Status = Literal["passed", "failed", "skipped"]


class ContractFailure(HarnessError, AssertionError):  # noqa: N818  (a failed check, not an error)
    """A check failed; its line says what was expected, what came instead, and what to do."""


class Inapplicable(HarnessError, SkipTest):  # noqa: N818  (not an error either)
    """A check does not apply to this subject; pytest reports it as skipped."""


class Subject(Protocol):
    """A Subject is what is checked: an attack, a model, a data set, …."""

    @property
    def name(self) -> str:
        """Return the name in the catalogue."""

    @property
    def variants(self) -> Sequence[str]:
        """Return the variants that are checked one by one, such as an attack's heads; ("",) for only one."""


@dataclass(frozen=True)
class Check:
    """A Check is one promise of the contract."""

    run: Callable[[Any, str], None]
    """``(subject, variant) -> None``; it raises ``ContractFailure`` or ``Inapplicable``."""
    once: bool = False
    """Whether the check is run for one variant only, because it does not depend on the variant."""
    after: tuple[str, ...] = ()
    """The checks whose failure makes this one fail too: on a head where one failed, this one says nothing."""
    after_any: tuple[str, ...] = ()
    """The same, of checks that may have failed on any head."""

    @property
    def name(self) -> str:
        """Return the name as `--only` takes it."""
        return self.run.__name__.replace("_", "-")

    @property
    def summary(self) -> str:
        """Return the promise in one line."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class Result:
    """A Result says whether one check of one subject passed, failed or was skipped."""

    subject: str
    check: str
    variant: str
    status: Status
    line: str
    """Why the check failed or was skipped; "" if it passed."""
    seconds: float
    cause: str = ""
    """The check that must be repaired first: this one was not run for it, or failed for the same reason."""


@dataclass(frozen=True, eq=False)
class Case:
    """A Case is one check of one subject in one variant; calling it returns, fails or skips."""

    subject: Subject
    check: Check
    variant: str

    @property
    def __name__(self) -> str:  # pytest shows it as the id of the test
        return "-".join(filter(None, (self.check.name, self.variant)))

    def __str__(self) -> str:
        return f"{self.subject.name}: {self.__name__}"

    def __call__(self) -> None:
        """Run the check.

        Warnings are not shown: each would come once per build and call.

        Raises:
            ContractFailure: the promise is broken.
            Inapplicable: the check does not apply.
        """
        with restored([]), warnings.catch_warnings():  # the next check finds the process as this one did
            warnings.simplefilter("ignore")
            self.check.run(self.subject, self.variant)

    def result(self) -> Result:
        """Run the check and return its result; any exception becomes the reason of a failure."""
        status: Status = "passed"
        line, start = "", time.perf_counter()
        try:
            self()
        except Inapplicable as reason:
            status, line = "skipped", str(reason)
        except HarnessError as failure:
            status, line = "failed", str(failure)
        except (Exception, SystemExit) as error:
            status, line = "failed", one_line(error)
        seconds = time.perf_counter() - start
        return Result(self.subject.name, self.check.name, self.variant, status, line, round(seconds, 3))


def cases(
    subject: Subject, checks: Iterable[Check], only: Collection[str] = (), skip: Collection[str] = ()
) -> list[Case]:
    """Return the cases of a subject.

    Args:
        only: names of checks to run; all if empty.
        skip: names of checks to leave out.

    Raises:
        HarnessError: a name is unknown.
    """
    checks = tuple(checks)
    known(checks, (*only, *skip))
    return [
        Case(subject, check, variant)
        for check in checks
        if (not only or check.name in only) and check.name not in skip
        for variant in (("",) if check.once else subject.variants)
    ]


@dataclass(frozen=True, eq=False)
class EntrySubject(Generic[S]):
    """An EntrySubject is an entry of the catalogue with its parameters, which is checked once."""

    entry: Entry[S]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name in the catalogue."""
        return self.entry.spec.name

    @property
    def variants(self) -> Sequence[str]:
        """Return the only variant."""
        return ("",)


@dataclass(frozen=True)
class Given(Entry[S]):
    """Given is the entry of a spec that no plugin registered, with its function if the spec names none."""

    target: str = ""
    function: Callable[..., Any] | None = None

    def load(self, target: str) -> Any:
        """Return the function, or the object that the spec names."""
        return self.function if self.function and target == self.target else super().load(target)


def entry_of(
    asked: str | S | Entry[S], section: Section[S], target: str, function: Callable[..., Any] | None
) -> Entry[S]:
    """Return the entry that is asked for: as it is, by name, or of a spec with its function.

    Args:
        target: the field of the spec that names the function.
    """
    if isinstance(asked, Entry):
        return asked
    if isinstance(asked, str):
        return section[asked]
    return Given(asked, Plugin("given", "given", "0"), getattr(asked, target), function)


def known(checks: Iterable[Check], names: Iterable[str]) -> None:
    """Raise HarnessError if a name is not that of a check."""
    valid = {check.name for check in checks}
    for name in names:
        if name not in valid:
            raise HarnessError(f'check "{name}" is unknown; {nearest(name, valid)}')


def one_line(error: BaseException) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def require(condition: object, line: str) -> None:
    """Raise ContractFailure with the line unless the condition is true."""
    if not condition:
        raise ContractFailure(line)
