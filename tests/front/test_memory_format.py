"""bfloat16 passes arrange channels last where the module allows it; float32 ones are the judge's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import ModelError
from harness.handle import Handle, Meter
from harness.model import frozen


class Seen(nn.Module):
    """(B, 3, 8, 8) to (B, 2); remembers in what layout and precision it was asked."""

    def __init__(self, rows: bool) -> None:
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 2)
        self.rows = rows
        self.asked: list[tuple[bool, torch.dtype]] = []

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.convolution(x)
        self.asked.append((x.is_contiguous(memory_format=torch.channels_last), hidden.dtype))
        flat = hidden.view(len(x), -1) if self.rows else hidden.flatten(1)
        return self.last(flat)  # type: ignore[no-any-return]


def asked(rows: bool, compute: Any, times: int = 2) -> tuple[Seen, Meter, Tensor]:
    torch.manual_seed(0)
    module = Seen(rows).eval()
    model = harness.wrap_model(module)
    meter = Meter(3)
    handle = Handle(model, 3, compute=compute, meter=meter)
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with frozen(module):
        for _ in range(times):
            _, slope = handle.gradient(x, lambda outputs: outputs[:, 0])
    return module, meter, slope


def test_bfloat16_has_channels_last_and_float32_has_not() -> None:
    coarse, _, _ = asked(False, "bfloat16")
    assert coarse.asked == [(True, torch.bfloat16)] * 2
    exact, _, _ = asked(False, "float32")
    assert exact.asked == [(False, torch.float32)] * 2


def test_a_module_that_calls_view_is_asked_in_rows_and_not_tried_again() -> None:
    module, meter, slope = asked(True, "bfloat16", times=3)
    assert [last for last, _ in module.asked] == [True, False, False, False]
    assert meter.forwards.tolist() == [3, 3, 3]
    assert meter.backwards.tolist() == [3, 3, 3]
    _, _, expected = asked(True, "float32")
    assert torch.allclose(slope, expected, atol=0.02)


def test_slopes_come_in_the_layout_of_images() -> None:
    _, _, slope = asked(False, "bfloat16")
    assert slope.is_contiguous()


def test_other_errors_are_not_taken_for_a_layout() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no weights")

    handle = Handle(harness.wrap_model(Broken().eval()), 1, compute="bfloat16")
    with pytest.raises(ModelError, match="the model failed: RuntimeError: no weights"):
        handle(torch.zeros(1, 3, 8, 8))
