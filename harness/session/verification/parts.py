"""The parts of a cell: which are there, whether they are what they say, and what their records say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.cases.cases import Cases
from harness.errors import HarnessError
from harness.session.verification.again import (
    ANSWER,
    Record,
    Subject,
    compare_originals,
    compare_pictures,
    empty_faults,
    lend_pictures,
    number,
)
from harness.session.verification.contradictions import Rules, contradictions
from harness.session.verification.report import Report
from harness.shards.jobs import Job
from harness.shards.records import case_of, failure, names_of, pairs_of
from harness.store import Store
from harness.store.parquet import part_files, read_parquet
from harness.store.stamp import checksum, stamp_of

NEEDED = (
    *("sample_id", "goal", "target", "clean_correct", "reached", "valid", "success", "fault", "error"),
    *("linf", "l2", "l0", "margin_clean", "margin_adv", "forwards", "backwards", "seconds"),
)
"""Columns that the records of every version have."""


def compare_parts(
    store: Store, job: Job, title: str, *, finished: bool, steady: bool, report: Report
) -> None:
    """Report what is missing of a cell's parts, and what differs in those that are there.

    Args:
        title: of the cell, for people.
        finished: all of its parts must be there.
        steady: the model gives the same answers to the same images.
    """
    place = store.folder / "samples" / job.id
    found = part_files(place)
    here = f"samples/{job.id}"
    for shard in job.shards:
        if shard not in found:
            name = f"{here}/{store.part(job.id, shard).name}"
            if finished:
                report.differ(name, f"it is missing ({title})")
            else:
                report.missing.append(f"{name} ({title})")
    for shard, file in found.items():
        if shard not in job.shards or file != store.part(job.id, shard):
            report.differ(f"{here}/{file.name}", f"{title} has no such shard")
            continue
        _compare_part(store, job, shard, f"{here}/{file.name} of {title}", steady, report)
    strays = sorted(set(_visible(place)) - set(found.values()))
    if strays:
        report.notes.append(f"{here}: no part is {', '.join(file.name for file in strays)}; nothing reads it")


def _visible(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [file for file in place.iterdir() if not file.name.startswith(".")]


def _compare_part(store: Store, job: Job, shard: int, place: str, steady: bool, report: Report) -> None:
    table = read_parquet(store.part(job.id, shard))
    report.parts += 1
    _compare_stamp(table, job, shard, place, report)
    foreign = [name for name in table.column_names if name not in job.context.schema.names]
    lacking = [name for name in NEEDED if name not in table.column_names]
    if foreign:
        report.differ(place, f"no run writes its column {', '.join(foreign)}")
    if lacking:
        report.differ(place, f"it has no column {', '.join(lacking)}")
        return
    records, cases = _aligned(job, job.parts[shard], table.to_pylist(), place, report)
    for record in records:
        for name in ("adversarial", "surrogate_success", "margin_clean"):
            record.setdefault(name, None)
    report.errors += sum(record["error"] is not None for record in records)
    report.faults += sum(bool(record["fault"]) for record in records)
    faults = empty_faults(records)
    rules = rules_of(job)
    subject = Subject(job, records, cases, steady)
    try:
        for row, record in enumerate(records):
            faults[row] += _identity(record, cases, row, job)
            faults[row] += contradictions(record, rules)
        if job.source:
            source = store.part(job.source, shard)
            if source.is_file():
                lend_pictures(subject, source, faults)
            else:
                report.notes.append(f"{place}: not judged again, since its source has no such part")
        compare_originals(subject, faults, report)
        compare_pictures(subject, faults, report)
    except HarnessError:
        raise
    except Exception as error:  # whatever a model raises, or records of another type lead to
        report.differ(place, f"it cannot be judged again: {failure(error)}")
    report.without += sum(record["adversarial"] is None for record in records)
    for row, record in enumerate(records):
        case = f"{record['sample_id']} {record['target'] or ''}".strip()
        report.differ_record(f"{place}: {case}", faults[row])


def _compare_stamp(table: pa.Table, job: Job, shard: int, place: str, report: Report) -> None:
    stamp = stamp_of(table.schema)
    if stamp is None:
        report.unstamped += 1
        return
    if (stamp.cell, stamp.shard) != (job.id, shard):
        report.differ(place, f"it was written as shard {stamp.shard} of cell {stamp.cell}")
    if checksum(table) != stamp.checksum:
        report.differ(place, "its records are not those that were written: the checksum differs")


def _aligned(
    job: Job, cases: Cases, records: list[Record], place: str, report: Report
) -> tuple[list[Record], Cases]:
    """Return the records and their cases, side by side; report those that are no case's, and the reverse."""
    wanted = names_of(job.context.dataset, cases)
    found = [case_of(record) for record in records]
    if wanted == found:
        return records, cases
    if sorted(map(str, wanted)) == sorted(map(str, found)):
        report.differ(place, "its records are in another order")
    elif len(wanted) == len(found):
        return records, cases  # each record is compared with the case in its place
    else:
        twice = [key for key, count in Counter(found).items() if count > 1]
        lost = [key for key in wanted if key not in set(found)]
        examples = [f"{_key(key)} twice" for key in twice[:1]] + [f"{_key(key)} missing" for key in lost[:1]]
        told = f": {', '.join(examples)}" if examples else ""
        report.differ(place, f"{len(found)} records of a shard of {len(wanted)} cases{told}")
    where = {key: at for at, key in enumerate(wanted)}
    chosen = {where[key]: record for key, record in zip(found, records, strict=True) if key in where}
    order = sorted(chosen)
    return [chosen[at] for at in order], cases.select(np.array(order, np.intp))


def _key(key: tuple[str | None, ...]) -> str:
    return " ".join(part for part in key if part)


def _identity(record: Record, cases: Cases, row: int, job: Job) -> list[str]:
    """Return what a record says of its case other than the suite does."""
    expected: dict[str, Any] = {
        "sample_id": job.context.dataset.ids[cases.rows[row]],
        "goal": cases.goal,
        "target": cases.targets[row],
    }
    told: list[str] = []
    if cases.references is not None:
        chosen = cases.select(np.array([row], np.intp))
        expected |= {name: values[0] for name, values in pairs_of(job.context, chosen).items()}
        ours, theirs = expected.pop("threshold"), record.get("threshold")
        told = number("threshold", ours, theirs, ANSWER * max(1.0, abs(ours)))
    return told + [
        f"{name} is {value}, recorded {record.get(name)}"
        for name, value in expected.items()
        if record.get(name) != value
    ]


def rules_of(job: Job) -> Rules:
    """Return what a job says of its records."""
    cell = job.context.cell
    threat = cell.attack.threat
    return Rules(
        norm=threat.norm,
        eps=threat.eps,
        sees_gradients=threat.access == "gradients",
        keeps=cell.keep,
        transferred=job.source is not None,
        shape=job.context.dataset.shape,
        measures={measure.column: (measure.at_least, measure.at_most) for measure in job.context.measures},
        observes=job.context.observes,
    )
