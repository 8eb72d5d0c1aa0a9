"""Random numbers belong to cases: neither the batch nor who left it changes them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from harness.randomness import CaseRandom, derived_seed, seed_torch

KINDS = {
    "uniform": lambda random, shape: random.uniform(shape, -1, 3),
    "normal": lambda random, shape: random.normal(shape),
    "integers": lambda random, shape: random.integers(1000, shape),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_do_not_depend_on_the_batch(kind: str) -> None:
    draw = KINDS[kind]
    together = draw(CaseRandom(5, ["a", "b", "c"]), (2, 3))
    assert torch.equal(draw(CaseRandom(5, ["c", "a"]), (2, 3)), together[[2, 0]])
    assert torch.equal(draw(CaseRandom(5, ["b"]), (2, 3)), together[1:2])


@settings(deadline=None, max_examples=40)
@given(
    keys=st.lists(st.text(max_size=5), min_size=1, max_size=6, unique=True),
    calls=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4),
    position=st.integers(0, 5),
)
def test_a_sequence_of_calls_gives_each_case_the_same(
    keys: list[str], calls: list[str], position: int
) -> None:
    chosen = keys[position % len(keys)]
    together, alone = CaseRandom(1, keys), CaseRandom(1, [chosen])
    for kind in calls:
        drawn = KINDS[kind](together, (3,))
        assert torch.equal(drawn[keys.index(chosen)], KINDS[kind](alone, (3,))[0])


@pytest.mark.parametrize(
    "active", [torch.tensor([0, 2]), torch.tensor([True, False, True])], ids=["numbers", "bool"]
)
def test_cases_that_leave_change_nobody_elses_numbers(active: Tensor) -> None:
    whole, parted = CaseRandom(0, "abc"), CaseRandom(0, "abc")
    whole.uniform((4,))
    parted.uniform((4,))
    left = parted.take(active)
    assert len(left) == 2
    assert torch.equal(left.uniform((4,)), whole.uniform((4,))[[0, 2]])


def test_taken_streams_go_on_where_they_were() -> None:
    random, reference = CaseRandom(0, "ab"), CaseRandom(0, "ab")
    first, second, third = (reference.uniform(()) for _ in range(3))
    assert torch.equal(random.take(torch.tensor([1])).uniform(()), first[1:])
    assert random.uniform(()).tolist() == [first[0], second[1]]
    assert random.take(torch.tensor([1, 1])).uniform(()).tolist()[0] == third[1]


def test_candidates_of_one_case_differ() -> None:
    drawn = CaseRandom(0, "ab").take(torch.tensor([0, 0, 1])).uniform((8,))
    assert not torch.equal(drawn[0], drawn[1])


def test_seeds_and_keys_differ() -> None:
    rows = [CaseRandom(seed, [key]).uniform((8,))[0] for seed in (0, 1) for key in ("a", "b", "")]
    rows += [CaseRandom(0, ["1"]).uniform((8,))[0], CaseRandom(10, [""]).uniform((8,))[0]]
    for one in range(len(rows)):
        assert not any(torch.equal(rows[one], other) for other in rows[:one])


def test_numbers_stay_what_they_are() -> None:
    # Published results hold only as long as these do.
    assert CaseRandom(0, ["a"]).integers(10**6, (3,)).tolist() == [[678937, 321145, 514353]]
    assert derived_seed(0, "a") == 8617095791668180470


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-0.03, 0.03), (5.0, 5.001), (1e4, 1e4 + 0.01), (2.0, 2.0)]
)
def test_uniform_is_in_its_range(low: float, high: float) -> None:
    drawn = CaseRandom(0, "ab").uniform((20_000,), low, high)
    assert drawn.dtype == torch.float32
    below = torch.tensor(high) if low == high else torch.nextafter(torch.tensor(high), torch.tensor(low))
    assert drawn.min() >= torch.tensor(low)
    assert drawn.max() <= below
    assert drawn.mean().item() == pytest.approx((low + high) / 2, abs=0.01 * (high - low) + 1e-7 * abs(high))


def test_uniform_fills_its_range_evenly() -> None:
    counts = torch.histc(CaseRandom(0, "abcd").uniform((25_000,), -2, 6), 10, -2, 6)
    assert ((counts - 10_000).abs() < 400).all()  # four standard deviations


def test_normal_has_the_moments_of_a_normal() -> None:
    drawn = CaseRandom(0, "abcd").normal((25_000,))
    moments = [(drawn**power).mean().item() for power in (1, 2, 3, 4)]
    assert drawn.dtype == torch.float32
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.08)


def test_integers_reach_all_and_only_what_is_below() -> None:
    drawn = CaseRandom(0, "abc").integers(5, (400,))
    assert drawn.dtype == torch.int64
    assert drawn.unique().tolist() == [0, 1, 2, 3, 4]
    assert CaseRandom(0, "abc").integers(1).tolist() == [0, 0, 0]


def test_no_cases_and_no_shape() -> None:
    nobody = CaseRandom(0, ())
    assert nobody.uniform((2, 3)).shape == nobody.normal((2, 3)).shape == (0, 2, 3)
    assert nobody.integers(5, (2,)).shape == (0, 2)
    assert CaseRandom(0, "ab").uniform(()).shape == (2,)
    assert CaseRandom(0, "ab").take(torch.tensor([], dtype=torch.long)).normal((3,)).shape == (0, 3)


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1, derived_seed("seed")])
def test_seeding_is_that_of_torch(seed: int) -> None:
    drawn = []
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        for sow in (torch.manual_seed, seed_torch):
            torch.rand(7)
            sow(seed)
            drawn.append(torch.rand(5))
    assert torch.equal(*drawn)
