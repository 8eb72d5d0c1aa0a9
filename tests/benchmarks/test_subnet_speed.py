"""41 subnets as one batched computation against a loop over them, at the size of the quick preset.

pytest tests/benchmarks/test_subnet_speed.py --benchmark-enable
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor

from harness_paw.layers import Design
from harness_paw.subnet import Subnet
from harness_paw.subnets import Subnets


@dataclass(frozen=True)
class Sizes:
    """How many subnets there are, and images for each of them."""

    subnets: int
    attributes: int
    images: int


FULL = Sizes(subnets=41, attributes=40, images=4)
TINY = Sizes(subnets=3, attributes=2, images=2)
ROUNDS, BAR = 7, 4.0
SIDE = Design().crop_side(88, 72)


@pytest.fixture(scope="module")
def subnets(sizes: Sizes) -> tuple[Subnets, list[Subnet]]:
    """The same weights twice, in eval mode and frozen, as attacks find them."""
    torch.manual_seed(0)
    layers = Design().subnet_layers(sizes.attributes)
    loop = [Subnet(3, layers, sizes.attributes).eval() for _ in range(sizes.subnets)]
    batched = Subnets(sizes.subnets, 3, layers, sizes.attributes).eval()
    batched.put([single.state_dict() for single in loop])
    for module in (batched, *loop):
        module.requires_grad_(False)
    return batched, loop


def passes(scores: Callable[[Tensor], Tensor], crops: Tensor, *, mixed: bool) -> tuple[Tensor, Tensor]:
    """Return scores (B, G, M), and the gradient at the crops of their sum."""
    x = crops.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        found = scores(x)
    (gradient,) = torch.autograd.grad(found.float().sum(), x)
    return found.detach(), gradient


@pytest.mark.benchmark(group="41 subnets, forward and backward")
@pytest.mark.parametrize("training", [False, True], ids=["attacked", "trained"])
def test_batched_subnets_are_four_times_as_fast(
    timed: Any, report: Any, sizes: Sizes, subnets: tuple[Subnets, list[Subnet]], training: bool
) -> None:
    batched, loop = subnets
    for module in (batched, *loop):
        module.train(training).requires_grad_(training)
    crops = torch.rand(sizes.images, sizes.subnets, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))

    def by_loop(x: Tensor) -> Tensor:
        return torch.stack([single(x[:, place]) for place, single in enumerate(loop)], 1)

    for ours, theirs in zip(
        passes(batched, crops, mixed=False), passes(by_loop, crops, mixed=False), strict=True
    ):
        assert (ours - theirs).abs().max() <= 1e-5
    looped: dict[bool, list[float]] = {False: [], True: []}

    def before() -> None:
        # By turns, so that both see the same machine.
        for mixed, seconds in looped.items():
            start = time.perf_counter()
            _step(by_loop, crops, mixed, loop)
            seconds.append(time.perf_counter() - start)

    _, ours = timed(
        lambda: _step(batched, crops, True, [batched]), setup=before, rounds=ROUNDS, warmup_rounds=1
    )
    fastest = min(median(seconds) for seconds in looped.values())  # the loop may choose its precision
    name = "trained" if training else "attacked"
    report(f"a loop / batched subnets, {name}", fastest / median(ours), "times as long", at_least=BAR)
    report(f"batched subnets, {name}", median(ours) / sizes.images * 1e3, "ms an image")


def _step(scores: Callable[[Tensor], Tensor], crops: Tensor, mixed: bool, modules: list[Any]) -> None:
    """Make a forward and a backward pass, to the weights where they are trained, else to the crops."""
    weights = [parameter for module in modules for parameter in module.parameters()]
    trained = weights[0].requires_grad
    x = crops if trained else crops.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        value = scores(x).float().sum()
    torch.autograd.grad(value, weights if trained else [x])
