"""The table [dataset.comparisons] says which images verifiers compare, and which of them are attacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Gt, Lt

from harness.errors import ManifestError, nearest
from harness.manifest import Table
from harness.parameters import Parameter, check

Part = Literal["train", "validation", "test", "all"]
Share = Annotated[float, Gt(0), Lt(1)]
Count = Annotated[int, Ge(1)]
CountFromNone = Annotated[int, Ge(0)]
All = Literal["all"]
TripletRole = Literal["positive", "anchor", "copy"]

KEY = "comparisons"
OPERATING = 0.1
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "paper": {
        "targets": 27,
        "references": 1,
        "intruders": 64,
        "genuine": 9,
        "clean_intruders": 128,
        "clean_genuine": 9,
        "calibration_targets": 100,
        "selection": "nearest",
        "mirror": True,
    },
}
"""Named values of keys. "paper": Arvinte et al. draw 30 persons and skip those with fewer than 10 images,
which leaves 27; each is compared with 64 attacked and 128 clean intruders, and with 9 other images of the
person. Here thresholds come from 100 persons who are never attacked."""


@dataclass(frozen=True)
class Comparisons:
    """Comparisons are drawn from the persons of a data set, or read from a file."""

    file: str | None = None
    """A file of pairs; None: they are drawn."""
    fold: int | None = None
    """Of a file with folds: the one that is attacked, by default the last; the others give thresholds."""
    protocol: Literal["drawn"] = "drawn"
    attacked: Part = "test"
    """The partition whose persons are attacked."""
    calibration: Part = "validation"
    """The partition whose persons decide the thresholds."""
    targets: Count | All = 10
    """So many persons are impersonated, and evade."""
    references: Count = 1
    """Enrolled images per person."""
    intruders: CountFromNone = 8
    """Images of others, per reference, that are to be accepted."""
    genuine: CountFromNone = 8
    """Other images of the person, per reference, that are to be rejected."""
    clean_intruders: CountFromNone | All = "all"
    """Images of others per reference that are compared without attack."""
    clean_genuine: CountFromNone | All = "all"
    """Other images of the person that are compared without attack."""
    calibration_targets: Count | All = "all"
    """Persons of the calibration whose references are compared."""
    exact: tuple[Literal["targets", "calibration_targets"], ...] = ()
    """Which of the two numbers of persons are met exactly, or refused; of the others, fewer are accepted."""
    selection: Literal["nearest", "first"] = "nearest"
    """Which image is the reference: the one nearest to the person's others, or the first."""
    cases: Count | None = None
    """At most so many cases of each goal are attacked; None: all."""
    triplets: CountFromNone = 0
    """So many images of each attacked person make a triplet with another one and an image of others, for
    attacks whose ``goals`` name "triplet"."""
    margin: Annotated[float, Ge(0)] = 0.2
    """By how much the negative of a triplet is to be farther than the positive, in the model's distance."""
    triplet_attacks: TripletRole = "positive"
    """Which image of a triplet is attacked; "copy" is a copy of the anchor in place of the positive."""
    mirror: bool = False
    """Whether a distance is the mean over the probe and its mirror image."""
    fmr: tuple[Share, ...] = (OPERATING, 0.01, 0.001)
    """False match rates at which thresholds are chosen; attacks are run at the first."""
    threshold: float | None = None
    """The threshold at which attacks are run, in the model's distance, in place of a chosen one."""

    @property
    def table(self) -> dict[str, Any]:
        """Return the table that gives these comparisons, with nothing left to default."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        foreign = _DRAWN if self.file else ("fold",)
        if not self.triplets:
            foreign = (*foreign, *TRIPLETS)
        return {key: value for key, value in given.items() if value is not None and key not in foreign}


COUNTED = ("targets", "calibration_targets")
"""Keys that are numbers of persons."""
TRIPLETS = ("triplets", "margin", "triplet_attacks")
"""Keys that say nothing where there are no triplets."""
_DRAWN = (
    *TRIPLETS,
    *("protocol", "attacked", "calibration", "targets", "references", "intruders", "genuine"),
    *("clean_intruders", "clean_genuine", "calibration_targets", "exact", "selection"),
)
"""Keys that say how comparisons are drawn, and nothing of those of a file."""


@cache
def _parameters() -> dict[str, Parameter]:
    hints = get_type_hints(Comparisons, include_extras=True)
    found = {each.name: Parameter(each.name, hints[each.name], each.default) for each in fields(Comparisons)}
    return found | {"preset": Parameter("preset", str, "quick")}


def comparisons_of(table: Table, *, stand_in: bool = False) -> Comparisons | None:
    """Return the comparisons of a data set's table; None where it has none.

    Numbers of persons that the table itself gives are met exactly. A preset's number, and any number on a
    stand-in, was not written for this data set: there, fewer persons are accepted, and told.

    Args:
        stand_in: the data set stands in for another. It has none of that one's files, so that comparisons are
            drawn in place of those of a file.

    Raises:
        ManifestError: a key is unknown, or a value is wrong.
    """
    given = table.values.get(KEY)
    if given is None:
        return None
    place = f"{table.place}.{KEY}"
    if not isinstance(given, Mapping):
        raise ManifestError(f"{place} = {given!r} must be a table: write [dataset.{KEY}] below the data set")
    if stand_in and "file" in given:
        given = {key: value for key, value in given.items() if key not in ("file", "fold")}
    preset = given.get("preset", "quick")
    if preset not in PRESETS:
        raise ManifestError(f'{place}: preset "{preset}" is unknown; {nearest(str(preset), PRESETS)}')
    values = {**PRESETS[preset], **given}
    if isinstance(values.get("fmr"), int | float | str):
        values["fmr"] = [values["fmr"]]
    if not stand_in:
        values.setdefault("exact", [key for key in COUNTED if isinstance(given.get(key), int)])
    found = check(place, values, _parameters(), ManifestError)
    found.pop("preset")
    _refuse_contradictions(place, given, found)
    return Comparisons(**found)


def _refuse_contradictions(place: str, given: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse keys that say nothing of these comparisons, and values that leave nothing to compare."""
    if found["file"] is not None:
        for key in (*_DRAWN, "preset"):
            if key in given:
                raise ManifestError(f"{place}.{key}: the comparisons of a file are not drawn; leave it out")
    elif found["fold"] is not None:
        raise ManifestError(f"{place}.fold = {found['fold']}: only files have folds; leave it out")
    for key in TRIPLETS[1:]:
        if key in given and not found["triplets"]:
            raise ManifestError(f"{place}.{key}: there are no triplets; write triplets = 8, or leave it out")
    if not found["fmr"]:
        raise ManifestError(f"{place}.fmr = [] is empty; give at least one false match rate, such as 0.01")
    if len(set(found["fmr"])) < len(found["fmr"]):
        raise ManifestError(f"{place}.fmr = {list(found['fmr'])} names a rate twice; leave one out")
    if not found["intruders"] and not found["genuine"] and not found["triplets"]:
        raise ManifestError(f"{place}: intruders and genuine are both 0, so nothing is attacked; raise one")
