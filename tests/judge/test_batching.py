"""Batches that fit: sizes halve where memory is short, and nothing else is swallowed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import Untargeted
from harness.judge import batching
from harness.judge.batching import BatchSize, fitting, in_batches
from harness.model import out_of_memory
from harness.threat import Linf


def short() -> RuntimeError:
    """As torch's CPU allocator puts it."""
    try:
        torch.empty(2**60, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError("there is an exabyte of memory")


def test_knows_what_short_memory_looks_like() -> None:
    assert out_of_memory(short())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_halves_until_it_fits_and_stays_there() -> None:
    asked: list[int] = []

    def work(rows: slice) -> list[int]:
        size = rows.stop - rows.start
        asked.append(size)
        if size > 3:
            raise short()
        return list(range(rows.start, rows.stop))

    size = BatchSize(16)
    done = [case for part in in_batches(10, size, work) for case in part]
    assert done == list(range(10))
    assert asked == [10, 8, 4, 2, 2, 2, 2, 2]
    assert size.cases == 2


def test_one_case_that_does_not_fit_raises() -> None:
    def work(rows: slice) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        list(in_batches(5, BatchSize(4), work))


def test_other_errors_are_not_halved() -> None:
    asked = []

    def work(rows: slice) -> None:
        asked.append(rows)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(in_batches(5, BatchSize(4), work))
    assert len(asked) == 1


class Wide(nn.Module):
    """(B, 3, 8, 8) to (B, 2) through a hidden layer of so many units, each of which backward needs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(192, width), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x.flatten(1))))  # type: ignore[no-any-return]


def test_fits_what_the_graph_keeps_into_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    width = 50_000
    model = harness.wrap_model(Wide(width).eval())
    for images in (1, 3, 40, 100_000):
        # The hidden layer dominates: width numbers of four bytes an image.
        monkeypatch.setattr(batching, "free_memory", lambda device, n=images: int(2.2 * n * width * 4))
        found = fitting(model, (3, 8, 8)).cases
        assert found == min(256, 1 << (images.bit_length() - 1))
    assert batching.free_memory(torch.device("cpu")) > 0


def test_a_model_without_gradients_gets_a_plain_size() -> None:
    class Stubborn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("numpy only")

    assert fitting(harness.wrap_model(Stubborn().eval()), (3, 8, 8)).cases == 64


@pytest.mark.parametrize("batch_size", [8, "auto"])
def test_an_attack_survives(batch_size: Any) -> None:
    """The same outcome, whatever memory allows at once."""
    x = torch.round(torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255) / 255
    torch.manual_seed(0)
    model = harness.wrap_model(Wide(20).eval())
    labels = model.scores(x).argmax(1)
    sizes = []

    def hungry(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any, most: int = 100) -> Tensor:
        sizes.append(len(x))
        if len(x) > most:
            raise short()
        _, slope = model.gradient(x, objective.margin)
        return threat.project(x + rng.uniform(x.shape[1:], 0, 1) * threat.eps * slope.sign(), x)

    settings: dict[str, Any] = {"goal": Untargeted(labels), "threat": Linf(0.1), "batch_size": batch_size}
    free = harness.attack(hungry, model, x, **settings)
    assert sizes == [7]
    tight = harness.attack(hungry, model, x, most=2, **settings)
    assert max(sizes[-3:]) <= 2
    assert torch.equal(free.adversarials, tight.adversarials)
    assert tight.forwards.tolist() == [1] * 7


def test_no_batch_of_none() -> None:
    with pytest.raises(AttackError, match="batch_size = 0"):
        harness.attack(
            "noise",
            harness.wrap_model(Wide(2).eval()),
            torch.zeros(1, 3, 8, 8),
            goal=Untargeted(torch.zeros(1, dtype=torch.long)),
            threat=Linf(0.1),
            batch_size=0,
        )
