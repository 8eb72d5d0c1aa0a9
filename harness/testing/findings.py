"""Findings are what an author must repair: a fault is told once, however many checks and heads it breaks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from harness.testing.contract import Case, Result


@dataclass(frozen=True)
class Finding:
    """A Finding is a check that failed, with the reason of the first head on which it did."""

    subject: str
    check: str
    variants: tuple[str, ...]
    """The heads on which it failed; ("",) for a check that is run once."""
    line: str
    hidden: tuple[str, ...] = ()
    """The checks that were not made because this one failed, or that failed for the same reason."""


def results_of(cases: Sequence[Case]) -> Iterator[list[Result]]:
    """Run cases, and yield the results of each check of each subject.

    A check that relies on another one, which failed, is skipped: its failure would say nothing new. One that
    fails for the reason of an earlier one names that one.
    """
    for _, of_subject in groupby(cases, key=lambda case: id(case.subject)):
        failed: dict[str, set[str]] = {}
        reasons: dict[str, str] = {}
        for name, variants in groupby(of_subject, key=lambda case: case.check.name):
            found = []
            for result in (_result(case, failed) for case in variants):
                if result.status == "failed":
                    first = reasons.setdefault(_reason(result.line), name)
                    result = replace(result, cause="" if first == name else first)
                found.append(result)
            failed[name] = {each.variant for each in found if each.status == "failed" or each.cause}
            yield found


def findings(results: Sequence[Result]) -> list[Finding]:
    """Return what is to be repaired, a line for each fault."""
    found: list[Finding] = []
    for (subject, check), same in groupby(results, key=lambda result: (result.subject, result.check)):
        failed = [result for result in same if result.status == "failed" and not result.cause]
        if failed:
            heads = tuple(result.variant for result in failed)
            hidden = (each.check for each in results if (each.subject, each.cause) == (subject, check))
            found.append(Finding(subject, check, heads, failed[0].line, tuple(dict.fromkeys(hidden))))
    return found


def _result(case: Case, failed: dict[str, set[str]]) -> Result:
    for name in (*case.check.after, *case.check.after_any):
        where = failed.get(name, ())
        if _touches(where, case.variant) or (where and name in case.check.after_any):
            line = f"not checked before {name} is repaired"
            return Result(case.subject.name, case.check.name, case.variant, "skipped", line, 0.0, name)
    return case.result()


def _touches(failed: Collection[str], variant: str) -> bool:
    """Say whether failures on some heads bear on a check of this one; "" stands for all heads."""
    return bool(failed) and (not variant or variant in failed or "" in failed)


def _reason(line: str) -> str:
    """Return a failure's line without what differs from case to case: the problem, and numbers."""
    fault = re.sub(r"^on [^:]*: ", "", line)
    return re.sub(r"\d[\d.e+-]*", "#", fault)
