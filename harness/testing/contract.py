"""Contract: named checks of a subject, each a function that returns, fails in one line, or does not apply."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from unittest import SkipTest

from harness.errors import HarnessError, nearest

Status = Literal["passed", "failed", "skipped"]


class ContractFailure(HarnessError, AssertionError):  # noqa: N818  (a failed check, not an error)
    """What was expected, what came, and what to do about it, in one line."""


class Inapplicable(HarnessError, SkipTest):  # noqa: N818  (no error either)
    """Why a check says nothing about this subject; pytest reports it as skipped."""


class Subject(Protocol):
    """What is checked."""

    @property
    def name(self) -> str:
        """As the catalogue shows it."""

    @property
    def variants(self) -> Sequence[str]:
        """What each check is made for, such as each head that an attack attacks; ("",) for one variant."""


@dataclass(frozen=True)
class Check:
    """One promise of the contract."""

    run: Callable[[Any, str], None]
    """``(subject, variant) -> None``; raises ``ContractFailure`` or ``Inapplicable``."""
    once: bool = False
    """Whether it does not depend on the variant."""

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return self.run.__name__.replace("_", "-")

    @property
    def summary(self) -> str:
        """What is promised, in one line."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class Result:
    """What came of one check of one subject."""

    subject: str
    check: str
    variant: str
    status: Status
    line: str
    """Why it failed or was skipped; "" where it passed."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Case:
    """One check of one subject in one variant: call it, and it returns, fails or is skipped."""

    subject: Subject
    check: Check
    variant: str

    @property
    def __name__(self) -> str:  # pytest makes the test's id of it
        return "-".join(filter(None, (self.check.name, self.variant)))

    def __str__(self) -> str:
        return f"{self.subject.name}: {self.__name__}"

    def __call__(self) -> None:
        """Check.

        Raises:
            ContractFailure: the promise is broken.
            Inapplicable: it was never made.
        """
        self.check.run(self.subject, self.variant)

    def result(self) -> Result:
        """What calling it comes to; whatever is raised is the reason of the failure."""
        status: Status = "passed"
        line, start = "", time.perf_counter()
        try:
            self()
        except Inapplicable as reason:
            status, line = "skipped", str(reason)
        except HarnessError as failure:
            status, line = "failed", str(failure)
        except Exception as error:
            status, line = "failed", spoken(error)
        seconds = time.perf_counter() - start
        return Result(self.subject.name, self.check.name, self.variant, status, line, round(seconds, 3))


def cases(
    subject: Subject, checks: Iterable[Check], only: Collection[str] = (), skip: Collection[str] = ()
) -> list[Case]:
    """The cases of a subject.

    Args:
        only: names of checks; all where empty.
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


def known(checks: Iterable[Check], names: Iterable[str]) -> None:
    """Raise HarnessError where no check has one of the names."""
    valid = {check.name for check in checks}
    for name in names:
        if name not in valid:
            raise HarnessError(f'check "{name}" is unknown; {nearest(name, valid)}')


def spoken(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def require(condition: object, line: str) -> None:
    """Raise ContractFailure with the line unless the condition holds."""
    if not condition:
        raise ContractFailure(line)
