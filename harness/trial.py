"""A trial: one attack on one batch, guarded while it runs and judged when it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import ContractError
from harness.goals import Goal, Objective
from harness.judge import Verdict, judge
from harness.model import Handle, Meter, Model, frozen
from harness.randomness import CaseRandom, derived_seed
from harness.specs import Compute
from harness.threat import Threat

AttackFunction = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of an attack on a batch."""

    x: Tensor  # (B, C, H, W) originals, on the grid
    clean: Tensor  # clean outputs of the victim
    objective: Objective
    verdict: Verdict
    forwards: Tensor  # (B,) passes that the attack made
    backwards: Tensor  # (B,)
    seconds: float  # of the attack alone, for the whole batch


def attempt(
    model: Model,
    attack: AttackFunction,
    images: Tensor,
    goal: Goal,
    threat: Threat,
    *,
    seed: int,
    keys: Sequence[str],
    parameters: Mapping[str, Any],
    compute: Compute = "float32",
    batch_size: int = 256,
    surrogate: Model | None = None,
    clean: Tensor | None = None,
) -> Trial:
    """Let an attack work on a batch and judge the outcome on ``model``.

    Args:
        images: (B, C, H, W) in [0, 1]; rounded to the threat's grid first.
        keys: (B,) names of the cases; with the seed they decide each case's random numbers.
        surrogate: the model that the attack sees, where it is another than the victim.
        clean: (B, M) the victim's outputs on the images, where they are known already.

    Raises:
        ContractError: the attack changed its input, the model's mode or weights, or returned no images.
    """
    seen = surrogate or model
    x = threat.round(images.to(model.device, torch.float32))
    clean = model.scores(x, batch_size=batch_size) if clean is None else clean
    objective = goal.objective(model, clean)
    pursued = objective if seen is model else goal.objective(seen, seen.scores(x, batch_size=batch_size))
    meter = Meter(len(x))
    handle = Handle(seen, len(x), access=threat.access, compute=compute, meter=meter)
    lent = x.clone()
    before = fingerprint(seen.module)
    with frozen(seen.module), _own_randomness(derived_seed(seed, *keys[:1])):
        start = time.perf_counter()
        x_adv = attack(handle, lent, pursued, threat, rng=CaseRandom(seed, keys), **parameters)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        seconds = time.perf_counter() - start
        if any(part.training for part in seen.module.modules()):
            raise ContractError("the attack left the model in train mode")
        if fingerprint(seen.module) != before:
            raise ContractError("the attack changed the model's weights or buffers")
        if not torch.equal(lent, x):
            raise ContractError("the attack changed its input in place")
    verdict = judge(model, objective, threat, x, x_adv, batch_size=batch_size)
    return Trial(x, clean, objective, verdict, meter.forwards, meter.backwards, seconds)


def fingerprint(module: nn.Module) -> int:
    """A checksum of all parameters and buffers, at memory speed: equal unless somebody wrote to them."""
    total = 0
    with torch.no_grad():
        for position, tensor in enumerate((*module.parameters(), *module.buffers()), start=1):
            if tensor.numel() and not tensor.is_meta:
                words = tensor.detach().contiguous().view(-1).view(torch.uint8)
                words = words.view(torch.int32) if words.numel() % 4 == 0 else words
                total ^= position * int(words.sum(dtype=torch.int64))
    return total


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Global generators seeded inside, restored outside: attacks that use them repeat."""
    numpy_state = np.random.get_state()  # noqa: NPY002  (the global generator is what third parties use)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
