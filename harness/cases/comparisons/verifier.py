"""A verifier is a model on the comparisons of a data set: its references, distances and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harness.cases.comparisons.distances import PAIRS, Distance, Measure, distances, mean_distances, paired
from harness.cases.comparisons.drawn import Drawn, Person, Rows, Split
from harness.cases.comparisons.thresholds import (
    FEW_FALSE_MATCHES,
    FEWEST,
    Distances,
    OperatingPoint,
    allowed,
    share_below,
    share_not_below,
    threshold_at,
)
from harness.errors import ModelError
from harness.goals import twice
from harness.model import Model, cosine_distance, squared_euclidean

Answers = Callable[[Rows], Tensor]
"""Returns a model's outputs on rows of the data set, each computed once."""


@dataclass(frozen=True, eq=False)
class Block:
    """A block is some clean comparisons."""

    probes: Rows  # (K,)
    references: Rows  # (K,)
    same: npt.NDArray[np.bool_]  # (K,)
    folds: npt.NDArray[np.int64] | None  # (K,)
    distances: Distances  # (K,)


@dataclass(frozen=True, eq=False)
class Verifier:
    """A verifier answers with embeddings, which are computed once per image, and mirror, and kept."""

    model: Model
    """As it is attacked: with mirroring, it answers with the embeddings of image and mirror image."""
    distance: Distance
    """Of its plain embeddings."""
    drawn: Drawn
    answers: Answers
    place: str
    """Where the suite names the model; errors begin with it."""

    @property
    def mirrored(self) -> bool:
        """Say whether probes are compared together with their mirror images."""
        return self.drawn.settings.mirror

    def anchors(self, rows: Rows) -> Tensor:
        """Return the anchors (B, outputs) of reference images: they are not mirrored."""
        plain = self._plain(self.answers(rows))
        return twice(plain) if self.mirrored else plain

    def references(self, split: Split, person: Person) -> Rows:
        """Return the reference images of a person of a split: the nearest first, or those that come first.

        The nearest has the least mean distance to the person's other images, none of them mirrored.
        """
        key = split.name, person.name
        if key not in self._references:
            count, settings = self.drawn.settings.references, self.drawn.settings
            order = np.arange(len(person.rows))
            if settings.selection == "nearest" and len(person.rows) > count:
                plain = self._plain(self.answers(person.rows))
                apart = distances(self.distance, plain, plain).fill_diagonal_(0).sum(1)
                order = np.argsort(apart.cpu().numpy(), kind="stable")
            self._references[key] = person.rows[order[:count]]
        return self._references[key]

    def genuine(self, split: Split, person: Person, count: int | None) -> Rows:
        """Return other images of a person than the references, at most so many, as they are drawn."""
        others = np.setdiff1d(person.rows, self.references(split, person), assume_unique=True)
        return self.drawn.order(person, others)[:count]

    def intruders(self, split: Split, person: Person, count: int | None) -> Rows:
        """Return images of others, at most so many, as they are drawn."""
        return self.drawn.order(person, self.drawn.others(split, person))[:count]

    def clean(self, split: Split, measure: Measure = "own") -> Iterator[Block]:
        """Yield all clean comparisons of a split, at most some million at a time.

        Args:
            measure: how far apart: the model's own distance, or one that all models have.
        """
        yield from self._listed(split, measure) if split.listed else self._grid(split, measure)

    @cached_property
    def points(self) -> tuple[OperatingPoint, ...]:
        """Return the operating points; attacks are run at the first.

        Raises:
            ModelError: embeddings are not finite, so that there is no threshold.
        """
        calibration, drawn = self.drawn.calibration, self.drawn
        impostors, genuine = self._sorted(calibration)
        squared, cosine = (self._sorted(calibration, each)[0] for each in ("squared_euclidean", "cosine"))
        here, own = self._sorted(drawn.attacked)
        if not len(impostors):
            raise ModelError(f"{self.place}: there are no impostor comparisons to choose a threshold by")
        given = [] if drawn.settings.threshold is None else [(None, drawn.settings.threshold)]
        wanted = [(fmr, threshold_at(impostors, allowed(fmr, len(impostors)))) for fmr in drawn.settings.fmr]
        points = []
        for fmr, threshold in [*given, *wanted]:
            matches = int(np.count_nonzero(impostors < threshold))
            # The same impostors are as many as the rate allows, or as the given threshold accepts.
            among = matches if fmr is None else allowed(fmr, len(impostors))
            point = OperatingPoint(
                fmr=fmr,
                threshold=threshold,
                squared_euclidean=threshold_at(squared, among),
                cosine=1 - threshold_at(cosine, among),
                false_matches=matches,
                impostors=len(impostors),
                genuine=len(genuine),
                identities=len({drawn.people[int(row)] for row in calibration.pool}),
                empirical_fmr=matches / len(impostors),
                empirical_fnmr=share_not_below(genuine, threshold),
                fmr_here=share_below(here, threshold),
                fnmr_here=share_not_below(own, threshold),
                flag=FEW_FALSE_MATCHES if matches < FEWEST else "",
            )
            if not np.isfinite(threshold):
                raise ModelError(f"{self.place}: its embeddings are not finite, so it has no threshold")
            points.append(point)
        return tuple(points)

    @property
    def threshold(self) -> float:
        """Return the threshold at which attacks are run."""
        given = self.drawn.settings.threshold
        return self.points[0].threshold if given is None else given

    @cached_property
    def _references(self) -> dict[tuple[str, str], Rows]:
        return {}

    def _plain(self, outputs: Tensor) -> Tensor:
        """Return the embeddings of the images themselves, without those of their mirror images."""
        return outputs[:, : outputs.shape[1] // 2] if self.mirrored else outputs

    def _sorted(self, split: Split, measure: Measure = "own") -> tuple[Distances, Distances]:
        """Return the distances of the impostor and of the genuine comparisons of a split, ascending."""
        none = np.zeros(0, np.float32)
        impostors, genuine = [none], [none]
        for block in self.clean(split, measure):
            impostors.append(block.distances[~block.same])
            genuine.append(block.distances[block.same])
        return np.sort(np.concatenate(impostors)), np.sort(np.concatenate(genuine))

    def _measure(self, measure: Measure) -> Distance:
        if measure == "own":
            return self.distance
        return squared_euclidean if measure == "squared_euclidean" else cosine_distance

    def _grid(self, split: Split, measure: Measure) -> Iterator[Block]:
        """Yield the comparisons of references with the images of a split, some references at a time."""
        pool = split.pool
        probes = self.answers(pool)
        size = max(1, PAIRS // max(len(pool) * self.drawn.settings.references, 1))
        for start in range(0, len(split.targets), size):
            people = split.targets[start : start + size]
            enrolled = [self.references(split, person) for person in people]
            rows = np.concatenate(enrolled)
            apart = mean_distances(
                self._measure(measure), probes, self._plain(self.answers(rows)), mirrored=self.mirrored
            )
            found, column = apart.T.cpu().numpy(), 0
            for person, own in zip(people, enrolled, strict=True):
                at, same = self._compared(split, person)
                for row in own:
                    yield Block(pool[at], np.full(len(at), row), same, None, found[column, at])
                    column += 1

    def _compared(self, split: Split, person: Person) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return the places (K,) in the pool of a reference's probes, and which of them are the person."""
        if split.clean_intruders is None and split.clean_genuine is None:
            kept, same = np.ones(len(split.pool), np.bool_), np.zeros(len(split.pool), np.bool_)
            kept[np.searchsorted(split.pool, self.references(split, person))] = False
            same[np.searchsorted(split.pool, person.rows)] = True
            return np.flatnonzero(kept), same[kept]
        genuine = self.genuine(split, person, split.clean_genuine)
        if split.clean_intruders is None:
            others = self.drawn.others(split, person)
        else:
            others = self.intruders(split, person, split.clean_intruders)
        rows = np.sort(np.concatenate([genuine, others]))
        return np.searchsorted(split.pool, rows), np.isin(rows, genuine, assume_unique=True)

    def _listed(self, split: Split, measure: Measure) -> Iterator[Block]:
        """Yield the comparisons of a file, some of them at a time."""
        assert split.listed is not None
        pairs, distance = split.listed, self._measure(measure)
        size = max(1, PAIRS // 256)
        for start in range(0, len(pairs.probes), size):
            part = pairs.part(slice(start, start + size))
            probes, references = self.answers(part.probes), self._plain(self.answers(part.references))
            half = references.shape[1]
            found = paired(distance, probes[:, :half], references)
            if self.mirrored:
                found = (found + paired(distance, probes[:, half:], references)) / 2
            apart = found.cpu().numpy()
            yield Block(part.probes, part.references, part.same, part.folds, apart)
