"""What counts is computed in true float32, whatever the process allows; afterwards all is as before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import Untargeted
from harness.handle import Handle
from harness.model import exact
from harness.shards.records import measured
from harness.threat import Linf, Threat
from harness_similarity.perceptual import perceptual_similarity
from harness_similarity.structural import structural_similarity

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
NAMED = hasattr(torch.backends, "fp32_precision")
newer = pytest.mark.skipif(not NAMED, reason="torch before 2.9 has no names of operations")


def settings() -> list[Any]:
    """All that says how products of float32 may round, as far as torch tells."""
    found: list[Any] = [cudnn.benchmark, cudnn.deterministic]
    readers: list[Callable[[], Any]] = [
        torch.get_float32_matmul_precision,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: cudnn.allow_tf32,
    ]
    backends = torch.backends
    if NAMED:
        parts = (backends.cuda.matmul, cudnn.conv, cudnn.rnn, backends.mkldnn.matmul, backends.mkldnn.conv)
        readers += [lambda part=part: part.fp32_precision for part in (*parts, cudnn, backends)]  # type: ignore[misc]
    for read in readers:
        try:
            found.append(read())
        except RuntimeError as error:
            found.append(type(error))
    return found


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    parts = []
    if NAMED:
        backends = torch.backends
        parts = [backends, backends.cuda.matmul, cudnn.conv, cudnn.rnn, backends.mkldnn.matmul]
        parts += [backends.mkldnn.conv, backends.mkldnn.rnn]
    before = [(part, part.fp32_precision) for part in parts]
    yield
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = True, False, False
    for part, precision in before:
        part.fp32_precision = precision


def older_names() -> None:
    torch.set_float32_matmul_precision("medium")
    cudnn.allow_tf32, cudnn.benchmark = True, True


def tf32_products() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True


def everything() -> None:
    torch.backends.fp32_precision = "tf32"  # type: ignore[attr-defined]


def everything_coarse() -> None:
    torch.backends.fp32_precision = "bf16"  # type: ignore[attr-defined]


def one_operation() -> None:
    cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def both_names_in_dispute() -> None:
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.matmul.fp32_precision = "ieee"


def as_torch_begins() -> None:
    """TF32 in convolutions on GPUs."""


ALLOWED = [
    as_torch_begins,
    older_names,
    tf32_products,
    *(
        pytest.param(allow, marks=newer)
        for allow in (everything, everything_coarse, one_operation, both_names_in_dispute)
    ),
]


class Seen(nn.Module):
    """(B, 3, 16, 16) to (B, 4), by a convolution and a product; keeps the settings that it ran under."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 8, 3), nn.Linear(8 * 14 * 14, 4)
        self.under: list[list[Any]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.under.append(settings())
        return self.last(torch.relu(self.convolution(x)).flatten(1))  # type: ignore[no-any-return]


def model() -> harness.Model:
    torch.manual_seed(0)
    return harness.wrap_model(Seen().eval())


def images() -> Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("allow", ALLOWED)
def test_nothing_rounds_inside_and_all_is_as_before_afterwards(allow: Callable[[], None]) -> None:
    allow()
    before = settings()
    with exact(CPU):
        inside = settings()
        assert inside[:5] == [False, True, "highest", False, False]
        assert set(inside[5:]) <= {"none", "ieee"}
        with exact(CPU):
            assert settings() == inside
        assert settings() == inside
        with cudnn.flags(enabled=cudnn.enabled):  # as models do around recurrent layers
            pass
        assert settings()[2:5] == inside[2:5]
    assert settings() == before


def test_the_settings_of_a_new_process_are_as_before_too() -> None:
    """What torch begins with cannot be set, so it is tried where nothing was set before."""
    lines = (
        "import torch",
        "from harness.precision import exact",
        "from tests.front.test_precision import settings",
        "before = settings()",
        "with exact(torch.device('cpu')): assert settings() != before",
        "assert settings() == before, (before, settings())",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=True)


@newer
def test_what_was_inherited_still_is_afterwards() -> None:
    everything()
    with exact(CPU):
        pass
    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]
    assert torch.backends.mkldnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"


def test_the_settings_come_back_after_an_error() -> None:
    older_names()
    before = settings()
    with pytest.raises(ZeroDivisionError), exact(CPU):
        raise ZeroDivisionError
    assert settings() == before


@pytest.mark.parametrize("allow", ALLOWED)
def test_the_judges_outputs_do_not_depend_on_what_is_allowed(allow: Callable[[], None]) -> None:
    plain = model().scores(images())
    allow()
    assert torch.equal(model().scores(images()), plain)


def test_an_attacks_gradients_are_exact_too() -> None:
    """The backward pass runs after the model has returned, and after the handle's own settings."""
    under: list[list[Any]] = []

    class Slope(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> Tensor:
            under.append(settings())
            return slope

    class Watched(Seen):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(Slope.apply(x))  # type: ignore[no-untyped-call]

    def step(model: Handle, x: Tensor, objective: Any, threat: Threat, *, rng: Any) -> Tensor:
        start = x.clone().requires_grad_()
        objective.margin(model(start)).sum().backward()
        model.gradient(x, objective.margin)
        return x

    older_names()
    seen = harness.wrap_model(Watched().eval())
    labels = seen.decide(seen.scores(images()))
    under.clear()
    harness.attack(step, seen, images(), goal=Untargeted(labels), threat=Linf(8 / 255))
    assert [settings[2:4] for settings in under] == [["highest", False]] * 2


def test_distances_are_exact_too() -> None:
    asked: list[list[Any]] = []

    def distance(a: Tensor, b: Tensor) -> Tensor:
        asked.append(settings())
        return (a - b).norm(dim=1)

    def still(model: Handle, x: Tensor, objective: Any, threat: Threat, *, rng: Any) -> Tensor:
        return x

    older_names()
    embedding = harness.wrap_model(Seen().eval(), "embedding", distance=distance, threshold=1.0)
    goal = harness.goals.Evade(torch.zeros(1, 4))
    harness.attack(still, embedding, images(), goal=goal, threat=Linf(8 / 255))
    assert asked
    assert {(*each[2:4],) for each in asked} == {("highest", False)}


def test_measures_are_exact_too_and_may_return_tensors() -> None:
    asked: list[list[Any]] = []

    def measure(x_adv: Tensor, x: Tensor) -> Tensor:
        asked.append(settings())
        return (x_adv - x).flatten(1).sum(1).requires_grad_()

    x = images()
    success = torch.tensor([True, False, True, True, False, True])
    entry = SimpleNamespace(call=lambda run, *pair, values: measure(*pair), spec=SimpleNamespace(run=""))
    trial = SimpleNamespace(x=x, verdict=SimpleNamespace(success=success, adversarials=x + 1))
    older_names()
    found = measured(SimpleNamespace(entry=entry, parameters={}), trial)  # type: ignore[arg-type]
    assert [value is not None for value in found] == success.tolist()
    assert [(*each[2:4],) for each in asked] == [("highest", False)]


@pytest.mark.parametrize("measure", [perceptual_similarity, structural_similarity])
def test_similarity_is_exact_where_it_is_called_by_hand(
    monkeypatch: pytest.MonkeyPatch, measure: Callable[[Tensor, Tensor], Any]
) -> None:
    asked: list[list[Any]] = []
    convolve = F.conv2d

    def seen(*given: Any, **more: Any) -> Tensor:
        asked.append(settings())
        return convolve(*given, **more)

    monkeypatch.setattr(F, "conv2d", seen)
    x = images()
    older_names()
    measure((x + 0.01).clamp(0, 1), x)
    assert asked
    assert {(*each[2:4],) for each in asked} == {("highest", False)}
