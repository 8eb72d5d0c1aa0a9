"""Clean and adversarial images are normalised by batch-norm sets of their own while a network learns.

Statistics of attacked images differ from those of clean ones, so that one set for both fits neither (Xie et
al. 2020; Kim et al. 2020, θ and θ_adv of algorithms 1 and 2). Both sets share every convolution. A network
that is judged has one set: ``judged`` takes it out of the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn

from harness.training import StateDict

NormSet = Literal["clean", "adversarial"]
SETS: tuple[NormSet, ...] = ("clean", "adversarial")
BatchNorm = type[nn.BatchNorm1d] | type[nn.BatchNorm2d]


class TwoNorms(nn.Module):
    """TwoNorms has a batch norm for clean passes and one for adversarial passes; one of them is in use."""

    def __init__(self, kind: BatchNorm, channels: int) -> None:
        super().__init__()
        self.clean, self.adversarial = kind(channels), kind(channels)
        self.chosen: NormSet = "clean"

    def forward(self, x: Tensor) -> Tensor:
        chosen: nn.Module = getattr(self, self.chosen)
        normed: Tensor = chosen(x)
        return normed


@contextmanager
def using(net: nn.Module, chosen: NormSet) -> Iterator[None]:
    """Let every batch norm of a network use one set, and afterwards the one that it used before."""
    norms = [part for part in net.modules() if isinstance(part, TwoNorms)]
    before = [norm.chosen for norm in norms]
    try:
        for norm in norms:
            norm.chosen = chosen
        yield
    finally:
        for norm, was in zip(norms, before, strict=True):
            norm.chosen = was


def with_two_norms(net: nn.Module) -> nn.Module:
    """Replace each batch norm of a network by two, both of which begin as it is; return the network."""
    for name, part in list(net.named_children()):
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            both = TwoNorms(type(part), part.num_features)
            for chosen in SETS:
                getattr(both, chosen).load_state_dict(part.state_dict())
            setattr(net, name, both)
        else:
            with_two_norms(part)
    return net


def judged(state: StateDict, chosen: NormSet) -> StateDict:
    """Return the weights of the network that has one set of two, under the names that it has with one."""
    others = [f".{name}." for name in SETS if name != chosen]
    return {
        name.replace(f".{chosen}.", "."): tensor
        for name, tensor in state.items()
        if not any(other in name for other in others)
    }
