"""No attack keeps a graph, or a copy per iteration, that grows with its iterations."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.catalog import catalog
from harness.goals import Impersonate, Untargeted
from harness.threat import Linf, Minimal

STEPS = (8, 24)
LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "pgd": ("steps", {"early_stop": False}),
    "cw-l2": ("iterations", {"searches": 1, "rescues": 0, "abort_early": False}),
    "gradient-descent": ("iterations", {"step_size": 1e-4}),
    "component-gradient": ("iterations", {"step_size": 1e-4}),
    "fgs": ("max_iterations", {"search": "iterative"}),
    "noise": ("draws", {}),
    "eyeglasses": ("iterations", {"restarts": 1}),
    "square": ("iterations", {"search_iterations": 1, "restarts": 1}),
    "universal-patch": ("iterations", {}),
    "distal": ("iterations", {}),
    "apgd": ("steps", {"early_stop": False}),
    "fab": ("steps", {"targets": 1}),
    "ddn": ("steps", {}),
    "fmn": ("steps", {}),
    "square-attack": ("queries", {}),
    "standard": ("steps", {"targets": 1, "queries": 8}),
    "eyeglasses-eot": ("iterations", {"views": 2}),
    "square-eot": ("iterations", {"search_iterations": 1, "views": 2}),
}
"""What makes each of them longer, and what else they are given."""
BEFORE = {"eyeglasses-eot": 4, "square-eot": 4}
"""What the graph of a pass keeps of the images' transformation before the module is called."""


class Watched(nn.Module):
    """(B, 3, 16, 16) to (B, 4); notes at each call what is alive: what graphs keep, and tensors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(784, 4)
        self.kept: weakref.WeakSet[Any] = weakref.WeakSet()
        self.graphs: list[int] = []
        self.tensors: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.graphs.append(len(self.kept))
        self.tensors.append(sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()))
        # Nothing brings an image out of the first class, so that no attack ends before its time.
        scores = self.two(torch.tanh(self.one(x)).flatten(1)) / 100
        return scores + torch.tensor([50.0, 0, 0, 0])  # type: ignore[no-any-return]


class Kept:
    """What a graph keeps of a forward pass, until it is freed."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def test_all_iterative_attacks_are_watched() -> None:
    ours = {name for name, entry in catalog().attacks.items() if entry.plugin.name == "attacks"}
    # ffa is for attributes, and its steps are those of fgs; random-eyeglasses asks many draws in one call
    assert ours - {"ffa", "random-eyeglasses"} == set(LONG)


@pytest.mark.parametrize("name", sorted(LONG))
def test_nothing_grows_with_iterations(name: str) -> None:
    most = []
    for steps in STEPS:
        module = Watched().eval()
        key, more = LONG[name]
        watched(name, module, {key: steps, **more})
        assert len(module.graphs) >= steps
        assert max(module.graphs) <= BEFORE.get(name, 0), "a graph is still alive when the next pass begins"
        most.append(max(module.tensors))
    assert most[1] <= most[0] + 2


def watched(name: str, module: Watched, params: dict[str, Any]) -> None:
    """Run an attack on four images, keeping account of what its graphs keep."""
    embeds = name == "distal"  # which looks for images of a person
    model = harness.wrap_model(module, "embedding" if embeds else "classes")
    far = Impersonate(torch.full((1, 4), 1e3), threshold=1.0)
    goal = far if embeds else Untargeted(torch.zeros(4, dtype=torch.long))
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    spec = catalog().attacks[name].spec
    limited = Linf(1e-3, levels=None) if spec.budget == "fixed" else Minimal("l2")
    threat = None if spec.region or not spec.norms else Minimal("linf") if name == "fgs" else limited

    def pack(tensor: Tensor) -> Kept:
        kept = Kept(tensor)
        module.kept.add(kept)
        return kept

    gc.collect()
    gc.freeze()  # what was there before is not looked at again, nor by later tests: see tests/conftest.py
    gc.disable()  # what only a collection frees has grown
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            harness.attack(name, model, x, goal=goal, threat=threat, **params)
    finally:
        gc.enable()
