"""A report says what differs in a results folder, what is missing, what was proved and what was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Difference:
    """A difference has a place, in the folder, and the fault that was found there."""

    place: str
    fault: str
    of_record: bool = False
    """It is of one case, not of a file."""

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.fault.split())}"


@dataclass
class Report:
    """A report grows while a folder is verified."""

    differences: list[Difference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """What a run that is not finished has still to write."""
    notes: list[str] = field(default_factory=list)
    """What is odd, or could not be compared, and is no difference."""
    compared: int = 0
    """Adversarials that were judged again."""
    without: int = 0
    """Records without a stored adversarial."""
    parts: int = 0
    unstamped: int = 0
    """Parts without a checksum, as earlier versions wrote them."""
    errors: int = 0
    """Records with an error."""
    faults: int = 0
    """Records whose image broke a bound before it was rounded and stored."""
    near: int = 0
    """Adversarials so near to the decision boundary that rounding errors may decide."""
    answers: bool = True
    """All models gave their answers again, and the same ones twice."""
    compared_files: list[str] = field(default_factory=list)
    """Files besides the parts that are what the suite and the records give."""

    def differ(self, place: str, fault: str) -> None:
        """Add a difference of a file."""
        self.differences.append(Difference(place, fault))

    def differ_record(self, place: str, faults: list[str]) -> None:
        """Add a difference of a case, if there is any fault."""
        if faults:
            self.differences.append(Difference(place, "; ".join(dict.fromkeys(faults)), True))

    def agree(self, file: str) -> None:
        """Note that a file was compared as a whole, unless it has a difference."""
        if all(one.place != file for one in self.differences):
            self.compared_files.append(file)

    @property
    def of_records(self) -> list[Difference]:
        """Return the differences of cases."""
        return [one for one in self.differences if one.of_record]

    @property
    def of_files(self) -> list[Difference]:
        """Return the differences of files."""
        return [one for one in self.differences if not one.of_record]

    @property
    def proved(self) -> list[str]:
        """Return what holds now that the folder was verified; nothing that has a difference is among it."""
        found = []
        stamped = self.parts - self.unstamped
        if stamped and not self.of_files:
            found.append(f"{_counted(stamped, 'part')} of the right cell and shard, with the right checksum")
        if self.parts and not self.differences:
            found.append("every record is of its case, and none contradicts itself")
        if self.compared and not self.of_records and self.answers:
            found.append(
                f"{_counted(self.compared, 'stored image')} inside the bounds, and measured and decided as "
                "recorded, by the model with these weights on these originals"
            )
        if self.compared_files:
            found.append(f"{', '.join(self.compared_files)}: as the suite and the records give them")
        return found

    @property
    def unproved(self) -> list[str]:
        """Return what these files cannot prove."""
        found = [
            "that the attacks cost what is recorded: passes, seconds, found, zero_gradients",
            "that the images came from these attacks, and what they reached before rounding",
            "what suite.json says of hardware, revision and dates, and of what a data set stands in for",
        ]
        if self.without:
            found.append(
                f"{_counted(self.without, 'record')} without a stored image: edited together with all "
                "checksums, they would not be noticed"
            )
        if self.errors:
            found.append(f"{_counted(self.errors, 'error')}: no attack was run again")
        if self.faults:
            found.append(
                f"{_counted(self.faults, 'fault')}: the image was judged before it was rounded and stored"
            )
        if self.near:
            found.append(
                f"{_counted(self.near, 'decision')} too near to the boundary for float32 to repeat them"
            )
        if self.unstamped:
            found.append(
                f"{_counted(self.unstamped, 'part')} without a checksum, as earlier versions wrote them: "
                "edits where no image is stored would not be noticed"
            )
        return found + list(dict.fromkeys(self.notes))

    @property
    def summary(self) -> str:
        """Return what was judged and how much differs, in one line."""
        records, files = len(self.of_records), len(self.of_files)
        differ = "1 differs from its record" if records == 1 else f"{records} differ from their records"
        line = f"{_counted(self.compared, 'adversarial')} judged again, {differ}"
        if files:
            line += f"; {_counted(files, 'difference')} in files"
        if self.without:
            line += f"; {_counted(self.without, 'record')} without a stored adversarial"
        return line

    def as_dict(self) -> dict[str, Any]:
        """Return the report as --json prints it."""
        return {
            "adversarials": self.compared,
            "without_adversarial": self.without,
            "parts": self.parts,
            "parts_without_checksum": self.unstamped,
            "differences": [
                {"place": one.place, "fault": " ".join(one.fault.split())}
                for one in (*self.of_files, *self.of_records)
            ],
            "missing": self.missing,
            "proved": self.proved,
            "not_proved": self.unproved,
        }


def shown(value: Any) -> str:
    """Return a value as a difference names it, in a few words."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}…"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else noun + 's'}"
