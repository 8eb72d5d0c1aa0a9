"""Ranks from sums over clusters are those of the cases themselves, and hold few arrays."""

from __future__ import annotations

import numpy as np
import pytest

from harness.leaderboard.ranking import Scores, clearly_better, rank, scores_of, standing, with_keys_of
from harness.metrics.outcomes import Codebook, Outcomes

IMAGES, TARGETS = 60, 4


@pytest.fixture
def codebook() -> Codebook:
    """Sixty images of twenty persons."""
    people = {f"{image}.png": image % 20 for image in range(IMAGES)}
    made = Codebook(people)
    made.samples.update({f"{image}.png": image for image in range(IMAGES)})
    return made


def cases(rng: np.random.Generator, share: float, *, shuffled: bool = False) -> Outcomes:
    """Random outcomes of some attack, in the order of images or in another one."""
    keys = (np.repeat(np.arange(IMAGES), TARGETS) << 32) | np.tile(np.arange(TARGETS), IMAGES)
    if shuffled:
        keys = rng.permutation(keys)
    covered = rng.random(keys.size) < 0.9
    known = np.ones(keys.size, np.bool_)
    return Outcomes(keys, keys >> 32, covered, known, known, covered & (rng.random(keys.size) < share), {})


@pytest.mark.parametrize("shuffled", [False, True])
def test_ranks_are_those_of_pairwise_comparisons(codebook: Codebook, shuffled: bool) -> None:
    rng = np.random.default_rng(0)
    shares = (0.1, 0.12, 0.5, 0.52, 0.9)
    attacked = [cases(rng, share, shuffled=shuffled and at == 2) for at, share in enumerate(shares)]
    rows = [scores_of(one, one.success, one.open) for one in attacked]
    better = [[clearly_better(one, other, codebook) for other in rows] for one in rows]
    assert rank(rows, codebook) == standing(np.array(better))
    assert len(set(rank(rows, codebook)[0])) > 1


def test_each_case_once_is_held_as_flags(codebook: Codebook) -> None:
    rng = np.random.default_rng(1)
    one, other = (cases(rng, 0.5), cases(rng, 0.5, shuffled=True))
    plain = scores_of(one, one.success, one.open)
    assert plain.least.dtype == plain.most.dtype == np.bool_
    sorted_ = scores_of(other, other.success, other.open)
    order = np.argsort(other.keys)
    np.testing.assert_array_equal(sorted_.keys, other.keys[order])
    np.testing.assert_array_equal(sorted_.least, other.success[order])
    shared = with_keys_of(Scores(plain.keys.copy(), plain.least, plain.most), plain)
    assert shared is not None
    assert shared.keys is plain.keys
    assert with_keys_of(plain, Scores(plain.keys[1:], plain.least[1:], plain.most[1:])) is plain
